"""Explain a file of the workflow: from what it was made, and whether it would be made again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from classlens.errors import InputError
from classlens.store.folder import Record
from classlens.store.job import provenance
from classlens.store.key import JobKey, differences
from classlens.store.store import Store

KeyNow = Callable[[Record], JobKey]
"""The key that a recorded job has as code, versions and config are now, without its inputs."""


@dataclass(frozen=True)
class Verdict:
    """What a run would do for a file."""

    path: str
    job: str
    key: str
    """Of the record that made it; files of one job share it."""
    state: str
    """"fresh", "stored" (its key changed, and the store has the result) or "compute"."""
    reasons: list[str]
    """Which part of the key differs."""
    upstream: list[Verdict] = field(default_factory=list)
    """Inputs that are not fresh themselves."""
    record: Record | None = field(default=None, repr=False)
    """How it was made."""
    now: JobKey | None = field(default=None, repr=False)
    """Its key as a run would have it."""


class _Past:
    """What a working directory shows of a store, read once."""

    def __init__(self, store: Store, working: Path) -> None:
        self._store, self._files = store, store.placed(working)
        self._placed, self._find = self._files.all(), cache(store.find)

    def has(self, path: str) -> bool:
        """Tell whether a file came from the store; its record may have been collected since."""
        return self._files.name(path) in self._placed

    def record(self, path: str) -> Record | None:
        """Return the record of the job that made a file, None if the store has none."""
        placed = self._placed.get(self._files.name(path))
        return self._find(placed.key) if placed else None

    def require(self, path: str) -> Record:
        """Return the record of the job that made a file.

        Raises:
            InputError: the store knows nothing of the file.
        """
        record = self.record(path)
        if record is None:
            raise InputError(f"{path} was not made through the store {self._store.root}; run snakemake for it first")
        return record


def provenance_lines(path: str, store: Store, working: Path, *, every: bool = False) -> list[str]:
    """Describe how a file came to be, down to raw data: a line per file, indented by depth.

    If not `every` raw file is to be named, several of one input are counted.

    Raises:
        InputError: the store knows nothing of the file.
    """
    past = _Past(store, working)
    past.require(path)
    lines: list[str] = []
    seen: set[str] = set()

    def visit(file: str, digest: str, depth: int) -> None:
        record = past.record(file)
        indent = "  " * depth
        if record is None:
            kind = "made, but its record was collected" if past.has(file) else "raw"
            lines.append(f"{indent}{file}  {kind}  {digest[:12]}")
            return
        made = record.provenance
        again = record.key in seen
        lines.append(
            f"{indent}{file}  by {record.job}, {made['started'][:19]}Z, {made['seconds']} s, on {made['host']}"
            f"{_place(made)}, commit {(made['commit'] or 'none')[:13]}"
            f"{'  (see above)' if again else ''}"
        )
        if again:
            return
        seen.add(record.key)
        versions = ", ".join(f"{name} {version}" for name, version in record.parts["libraries"].items())
        lines.append(f"{indent}    key {record.key[:12]}, {versions}")
        for by in made.get("accepted", []):
            keys = f"from {by['from'][:12]} to {by['to'][:12]}"
            lines.append(f"{indent}    accepted by {by['user']}, {by['started'][:19]}Z, {keys}")
        for name, sources in record.sources.items():
            digests = dict(zip(sources, record.parts["inputs"][name], strict=True))
            raw = [source for source in digests if not past.has(source)]
            if len(raw) > 1 and not every:
                lines.append(f"{indent}  {name}: {len(raw):,} raw files, first {raw[0]}  {digests[raw[0]][:12]}")
            for source, digest in digests.items():
                if every or len(raw) < 2 or past.has(source):
                    visit(source, digest, depth + 1)

    visit(path, "", 0)
    return lines


def _place(made: Mapping[str, Any]) -> str:
    """Return what is known beside the host about where a job ran."""
    said = {
        "node": " (node {})",
        "batch_job": " in job {}",
        "device": " {}",
        "visible_devices": ", CUDA_VISIBLE_DEVICES={}",
    }
    known = {name: made.get(name) for name in said if name != "node" or made.get(name) != made["host"]}
    return "".join(said[name].format(value) for name, value in known.items() if value)


def explain(path: str, store: Store, working: Path, key_now: KeyNow) -> Verdict:
    """Tell whether a run would compute a file, and which part of its key differs from when it was made.

    Raises:
        InputError: the store knows nothing of the file.
    """
    past = _Past(store, working)
    known: dict[str, Verdict] = {}
    under_way: set[str] = set()

    def verdict(file: str) -> Verdict:
        record = past.require(file)
        if record.key in under_way:
            raise InputError(f"the record {record.key} says that {file} was made from itself; remove it")
        if record.key not in known:
            under_way.add(record.key)
            known[record.key] = judged(file, record)
            under_way.remove(record.key)
        return replace(known[record.key], path=file)

    def judged(file: str, record: Record) -> Verdict:
        sources = sorted({source for sources in record.sources.values() for source in sources})
        upstream = [one for source in sources if past.record(source) and (one := verdict(source)).state != "fresh"]
        digests = _digests_now(record, past, store, working)
        now = replace(key_now(record), inputs=digests, outputs=record.parts["outputs"])
        reasons = _reasons(record, now)
        reasons += [f"input {one.path} would be made again first" for one in upstream]
        state = "fresh"
        if reasons:
            stored = not any(one.state == "compute" for one in upstream) and store.find(now.digest) is not None
            state = "stored" if stored else "compute"
        return Verdict(file, record.job, record.key, state, reasons, upstream, record, now)

    return verdict(path)


def accept(path: str, store: Store, working: Path, key_now: KeyNow) -> list[Verdict]:
    """Take the stored results of a file, and of what it was made from, for those of the code as it is now.

    For an edit that changed no number: nothing computes, and the records say who accepted what.

    Returns:
        what was accepted, upstream first.

    Raises:
        InputError: the store knows nothing of the file, or more than code and versions changed.
    """
    accepted: dict[str, Verdict] = {}

    def visit(verdict: Verdict) -> None:
        for upstream in verdict.upstream:
            visit(upstream)
        record, now = verdict.record, verdict.now
        if record is None or now is None or now.digest == record.key or record.key in accepted:
            return
        before = record.parts
        if now.config != before["config"] or now.inputs != before["inputs"] or now.functions != before["functions"]:
            raise InputError(
                f"{verdict.path} cannot be accepted: more than code changed ({'; '.join(verdict.reasons)}); "
                f"run snakemake for it"
            )
        by = {"from": record.key, "to": now.digest, **provenance(working, time.time())}
        notes = {**record.provenance, "accepted": [*record.provenance.get("accepted", []), by]}
        store.require_own_folder()
        store.own.write(replace(record, key=now.digest, parts=asdict(now), provenance=notes))
        files = store.placed(working)
        of_record = {name: placed for name, placed in files.all().items() if placed.key == record.key}
        files.add({name: replace(placed, key=now.digest) for name, placed in of_record.items()})
        accepted[record.key] = verdict

    visit(explain(path, store, working, key_now))
    return list(accepted.values())


def _digests_now(record: Record, past: _Past, store: Store, working: Path) -> dict[str, list[str]]:
    """Return the digests of a job's inputs; one that a run deletes after use counts with the digest that it had."""
    found = {}
    for name, sources in record.sources.items():
        there = [source for source in sources if (working / source).is_file()]
        now = dict(zip(there, store.memory.digests([working / source for source in there]), strict=True))
        before = zip(sources, record.parts["inputs"][name], strict=True)
        found[name] = [now.get(source, digest if past.has(source) else "missing") for source, digest in before]
    return found


def _reasons(record: Record, now: JobKey) -> list[str]:
    before, after = record.parts, asdict(now)
    reasons = []
    if before["code"] != after["code"]:
        reasons += [f"code {line}" for line in differences({"": before["modules"]}, {"": after["modules"]})]
    for part in ("functions", "libraries", "config"):
        reasons += [f"{part} {line}" for line in differences(before[part], after[part])]
    for name, sources in record.sources.items():
        inputs = zip(sources, before["inputs"][name], now.inputs[name], strict=True)
        reasons += [f"input {source} has another content" for source, old, new in inputs if old != new]
    return reasons
