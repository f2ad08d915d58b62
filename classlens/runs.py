"""Which run has a working directory: who started it, and what to type when it left Snakemake's lock behind."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from classlens.digest import write_atomically
from classlens.process import Process, this_process
from classlens.shipped import CACHE
from classlens.watch import Watch

LAST = CACHE / "run.json"
LOCKS = Path(".snakemake/locks")
UNLOCK = "type the same command with --unlock, then again without it"


def note_run() -> None:
    """Note in the working directory that this process runs the workflow there."""
    note = {"process": asdict(this_process()), "started": f"{datetime.now():%Y-%m-%d %H:%M}"}
    write_atomically(LAST, json.dumps(note))


def lock_notice(working: Path) -> str | None:
    """Say whose lock lies in a working directory and what to do about it; None where there is none.

    Snakemake's locks name files, not who made them, and stay behind when a run is killed.
    """
    if not any((working / LOCKS).glob("*.lock")):
        return None
    try:
        note = json.loads((working / LAST).read_text())
        owner, started = Process(**note["process"]), str(note["started"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    run = f"the run that locked {working} (process {owner.number} on {owner.host}, started {started})"
    if not owner.is_here:
        return f"{run} can be looked for on {owner.host} alone; if it is gone, {UNLOCK}"
    if owner.is_alive:
        return f"{run} is under way; `classlens watch` shows its jobs"
    jobs = [job for job in Watch(working / "logs").jobs() if job.process.is_here and job.process.is_alive]
    if jobs:
        named = ", ".join(f"{job.name} (process {job.process.number})" for job in jobs)
        return f"{run} is gone, but jobs of it still run: {named}; wait for them or end them, then {UNLOCK}"
    return f"{run} is gone, and none of its jobs runs here; {UNLOCK}"
