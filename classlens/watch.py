"""What the jobs of a working directory do, how far they are and when they end, from their logs.

It reads log files alone, so it works from another terminal, and for a cluster's jobs wherever the working directory is
seen.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TextIO

from classlens.logs import ENDED
from classlens.process import Process

LINE = re.compile(r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} [A-Z]+ (?P<logger>\S+): (?P<text>.*)")
BEGIN = re.compile(r"started by process (?P<number>\d+) \((?P<born>-?\d+)\) on (?P<host>\S+)")
PROGRESS = re.compile(r"(?P<what>.+): (?P<done>\d+) of (?P<total>\d+) (?P<unit>\S+), (?P<rate>[\d.e-]+)/s")
HEAD, TAIL = 1_000, 20_000
"""Bytes that are read of a log, which may be long."""
SILENT = timedelta(hours=1)
"""After which a job of another machine, which cannot be asked, may be gone."""
FORGOTTEN = timedelta(days=1)
"""After which a job that was killed is not mentioned any more."""
MOST_SHARE = 0.05
"""Of the time, that is spent with looking."""


@dataclass(frozen=True)
class JobState:
    """A job whose log has no end."""

    name: str
    """Rule and wildcards, as its log is called."""
    process: Process
    started: datetime
    heard: datetime
    """When it wrote its last line."""
    doing: str
    ends: datetime | None
    """If it goes on as fast; None where it has not said how far it is."""

    @property
    def is_gone(self) -> bool:
        """Whether its process is known to have been killed."""
        return self.process.is_here and not self.process.is_alive

    def line(self, now: datetime) -> str:
        """Say what it does."""
        ends = "" if self.ends is None else f", ends about {_clock(self.ends, now)}"
        silent = not self.process.is_here and now - self.heard > SILENT
        unsure = f", silent since {_clock(self.heard, now)} on {self.process.host}" if silent else ""
        return f"{self.doing}{ends}, began {_clock(self.started, now)}{unsure}"


class Watch:
    """The logs of a working directory; a log that did not change is not read again.

    Args:
        logs: the folder of the logs.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._known: dict[str, tuple[tuple[int, int, int], JobState | None]] = {}

    def jobs(self) -> list[JobState]:
        """Return the jobs that have begun and not ended, by name."""
        found = {}
        for path, seen in _files(self._logs):
            known = self._known.get(path)
            state = known[1] if known and known[0] == seen else read_log(Path(path), self._logs)
            found[path] = (seen, state)
        self._known = found
        return sorted((state for _, state in found.values() if state), key=lambda state: state.name)

    def lines(self, now: datetime | None = None) -> list[str]:
        """Say what each running job does, a line each, and which were killed within the last day."""
        now = now or datetime.now()
        jobs = self.jobs()
        gone = [job for job in jobs if job.is_gone]
        running = [job for job in jobs if job not in gone]
        width = max((len(job.name) for job in running), default=0)
        told = [f"{job.name:{width}}  {job.line(now)}" for job in running] or ["no job runs"]
        killed = [job.name for job in gone if now - job.heard < FORGOTTEN]
        if killed:
            more = f" and {len(killed) - 5} more" if len(killed) > 5 else ""
            told.append(f"killed before their end: {', '.join(killed[:5])}{more}")
        return ["".join(sign if sign.isprintable() else "?" for sign in line) for line in told]


def read_log(path: Path, logs: Path) -> JobState | None:
    """Return the state of a job by its log; None where it has ended, or the file is no job's log."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            tail = file.read()
    except OSError:  # replaced meanwhile
        return None
    first = LINE.match(head.decode(errors="replace"))
    began = first and BEGIN.fullmatch(first["text"])
    lines = [found for text in tail.decode(errors="replace").splitlines() if (found := LINE.fullmatch(text))]
    if not first or not began or not lines or (lines[-1]["logger"], lines[-1]["text"]) == ("classlens", ENDED):
        return None
    progress, ends = None, None
    for line in reversed(lines):
        if progress := PROGRESS.fullmatch(line["text"]):
            left, rate = int(progress["total"]) - int(progress["done"]), float(progress["rate"])
            ends = _time(line) + timedelta(seconds=left / rate) if left and rate else None
            break
    doing, heard = _doing(progress, lines[-1]["text"]), _time(lines[-1])
    process = Process(int(began["number"]), int(began["born"]), began["host"])
    name = path.relative_to(logs).with_suffix("")
    return JobState(" ".join([name.parts[0], *name.parts[1:]]), process, _time(first), heard, doing, ends)


def _doing(progress: re.Match[str] | None, last: str) -> str:
    if progress is None or progress["done"] == progress["total"]:  # what comes next has not said how far it is
        return "begins" if BEGIN.fullmatch(last) else last
    done, total = int(progress["done"]), int(progress["total"])
    return f"{progress['what']}: {done:,} of {total:,} {progress['unit']} ({done / total:.0%}), {progress['rate']}/s"


def _time(line: re.Match[str]) -> datetime:
    return datetime.fromisoformat(line["time"])


def _clock(time: datetime, now: datetime) -> str:
    return f"{time:%H:%M}" if time.date() == now.date() else f"{time:%Y-%m-%d %H:%M}"


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield the logs below a folder with what changes when they do: inode, size, time."""
    for place, _, names in os.walk(folder):
        for path in (os.path.join(place, name) for name in names if name.endswith(".log")):
            with suppress(OSError):  # gone meanwhile
                found = os.stat(path)
                yield path, (found.st_ino, found.st_size, found.st_mtime_ns)


def follow(working: Path, *, every: float = 2.0, once: bool = False, out: TextIO | None = None) -> None:
    """Print what the jobs of a working directory do, again and again until Ctrl-C.

    A terminal shows the present state alone; elsewhere lines are printed when they change.

    Args:
        working: the working directory, with its logs/.
        every: seconds between two looks; more, with very many logs on a slow disk, so that looking takes little time.
        once: print once and end.
        out: where to; default: standard output.
    """
    out = out or sys.stdout
    watch, shown = Watch(working / "logs"), list[str]()
    with suppress(KeyboardInterrupt):
        while True:
            began = time.monotonic()
            lines = watch.lines()
            looking = time.monotonic() - began
            if out.isatty():
                width = shutil.get_terminal_size().columns - 1
                back = f"\x1b[{len(shown)}F\x1b[J" if shown else ""
                print(back + "\n".join(line[:width] for line in lines), file=out, flush=True)
            elif lines != shown:
                print("\n".join(lines), file=out, flush=True)
            if once:
                return
            shown = lines
            time.sleep(max(every, looking / MOST_SHARE))
