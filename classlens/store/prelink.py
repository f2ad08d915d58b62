"""Link what the store has before a run is planned, so that a stored result is no job.

A scheduler plans by the files that it finds, and starting a job takes time even where the job only finds its result.
A key holds the digests of inputs, and a record those of outputs. So where a chain of jobs is stored, every key in it
follows from the records and the raw files, and no job needs to run for its result to be known.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from classlens.store.folder import Output, Record
from classlens.store.job import Job, flatten, key_of
from classlens.store.key import JobKey
from classlens.store.store import Store
from classlens.store.workdir import Placed

MOST_PASSES = 9
"""How often the times of results are gone through. Once is the rule, twice for equal results at several places."""


@dataclass(eq=False)
class SchedulerJob:
    """What a scheduler plans at once, a rule with its wildcards, and what the store has of it."""

    rule: str
    inputs: list[str]
    """Paths, among them a stand-in for raw files."""
    outputs: list[str]
    temporary: frozenset[str]
    """Outputs that are deleted once they have been read."""
    job: Callable[[], tuple[Job, JobKey]]
    """What it runs, with the code part of its key."""
    note: Callable[[str, Record], None]
    """Tells the scheduler that an output, a path, was linked, and of which record it is."""
    key: str = ""
    """Of its results, once its inputs are known."""
    record: Record | None = None
    """Where the store has it as a whole."""
    stored: dict[str, Output] = field(default_factory=dict)
    """The same by its outputs' paths."""
    is_outdated: bool = False
    """It is not stored, and what is there is of another key, or made from such results."""


@dataclass
class Prelinked:
    """What a run will do."""

    linked: list[str] = field(default_factory=list)
    """Paths of results that were linked."""
    compute: Counter[str] = field(default_factory=Counter)
    """Rules of the scheduler's jobs that compute, as often as they do."""
    may_compute: Counter[str] = field(default_factory=Counter)
    """The same of those whose keys depend on what others will have computed."""
    left: list[str] = field(default_factory=list)
    """Paths of results that a run would link, or give a newer time, which a look leaves undone."""


def prelink(
    targets: Sequence[str],
    producer: Callable[[str], SchedulerJob | None],
    store: Store,
    newest: int = 0,
    *,
    link: bool = True,
    look: bool = False,
) -> Prelinked:
    """Link the stored results that targets are made from, and tell what is left to compute.

    Results of the working directory are expected to be as the store placed them (`classlens.store.verify`). Of an
    empty store nothing is told: following thousands of jobs takes as long as a fifth of planning them.

    Args:
        producer: returns what makes a path, None for a raw file.
        newest: time (ns) that results must not be older than, beside those of their inputs.
        link: anything at all.
        look: link to places where nothing is, and change nothing that is there; a run replaces results of other keys.

    Raises:
        InputError: a result may not be written, or its disk is full.
    """
    found = Prelinked()
    if next(store.records(), None) is None:
        return found
    chain = _Chain(producer, store)
    running = chain.running(targets)
    # What is deleted when it was read is linked only for a job that may compute.
    read = {path for job in chain.jobs if not job.stored for path in job.inputs}
    for job in chain.jobs:
        missing = chain.missing(job) if not job.temporary or job.temporary & read else []
        if missing and job.record:
            is_linked = link and chain.link(job, job.record, missing, replace=not look)
            (found.linked if is_linked else found.left).extend(missing)
    found.left += chain.order_times(newest, set(found.linked) if look or not link else chain.makers.keys())
    for job in running:
        (found.compute if job.key else found.may_compute)[job.rule] += 1
    return found


class _Chain:
    """The scheduler's jobs that targets are made by, from raw files on."""

    def __init__(self, producer: Callable[[str], SchedulerJob | None], store: Store) -> None:
        self._producer, self._store, self._placed = producer, store, store.placed().all()
        self.makers: dict[str, SchedulerJob | None] = {}
        """By paths; None for a raw file."""
        self.jobs: list[SchedulerJob] = []
        """Each after those that it reads from."""

    def _maker(self, path: str) -> SchedulerJob | None:
        """Return what makes a file, looked up after all that it is made from."""
        if path not in self.makers:
            job = self.makers[path] = self._producer(path)
            if job:
                self.makers |= dict.fromkeys(job.outputs, job)
                inputs = {name: self._maker(name) for name in job.inputs}
                if all(maker.stored if maker else os.path.exists(name) for name, maker in inputs.items()):
                    self._look_up(job)
                keys = {placed.key for output in job.outputs if (placed := self._at(output))}
                is_another = bool(job.key and keys - {job.key})
                makes_anew = is_another or any(maker.is_outdated for maker in inputs.values() if maker)
                job.is_outdated = makes_anew and not job.stored
                self.jobs.append(job)
        return self.makers[path]

    def _look_up(self, planned: SchedulerJob) -> None:
        job, code = planned.job()
        paths, planned.key = flatten(job.outputs), key_of(job, self._digests, code).digest
        record = self._store.find(planned.key)
        if record and {output.name for output in record.outputs} == set(paths):
            stored = {paths[output.name]: output for output in record.outputs}
            if all(self._is_there(path, record.key, one) or self._store.has(one) for path, one in stored.items()):
                planned.record, planned.stored = record, stored

    def _digests(self, paths: Sequence[str]) -> list[str]:
        """Return the digests that files will have."""
        raw = [path for path in paths if not self.makers.get(path)]
        read = dict(zip(raw, self._store.digests(raw), strict=True))
        return [maker.stored[path].digest if (maker := self.makers.get(path)) else read[path] for path in paths]

    def _at(self, path: str) -> Placed | None:
        """Return what was placed at a path, None where nothing of the store is."""
        return self._placed.get(os.path.normpath(path)) if os.path.isfile(path) else None

    def _is_there(self, path: str, key: str, output: Output) -> bool:
        return self._at(path) == Placed(key, output.digest)

    def missing(self, job: SchedulerJob) -> list[str]:
        """Return those stored outputs of a job that are not in their places."""
        return [path for path, output in job.stored.items() if not self._is_there(path, job.key, output)]

    def link(self, job: SchedulerJob, record: Record, paths: Collection[str], *, replace: bool) -> bool:
        """Link stored outputs, unless something is at a place that is not to be replaced; tell whether it was done."""
        destinations = {job.stored[path].name: Path(path) for path in paths}
        is_free = replace or not any(map(os.path.lexists, paths))
        if not is_free or not self._store.restore(record, destinations, replace=replace):
            return False
        for path in paths:
            self._placed[os.path.normpath(path)] = Placed(record.key, job.stored[path].digest)
            job.note(path, record)
        return True

    def order_times(self, newest: int, only: Collection[str]) -> list[str]:
        """Make no stored result older than its inputs, or a scheduler that goes by times would make it anew.

        Equal results are one file, with one time, so a link may have made inputs newer than what was made from them,
        and a new time of one may make another one late. Where `only` some may be given a time, the others that should
        have been given one are returned.
        """
        now = time.time_ns()
        for _ in range(MOST_PASSES):
            times, late, touched = dict[str, int](), dict[str, str](), dict[Path, str]()
            for job in self.jobs:
                oldest = max([newest, *(times.get(path) or _time(path) for path in job.inputs)])
                for path in job.outputs:
                    times[path] = _time(path) or oldest  # what is not there is as old as what it would be made from
                    stored = job.stored.get(path)
                    if times[path] < oldest and stored and self._is_there(path, job.key, stored):
                        times[path], late[path] = max(now, oldest), stored.digest
            for path in late.keys() & only:
                with suppress(PermissionError):  # another user's: its job is started, and finds the result
                    os.utime(path, ns=(times[path],) * 2, follow_symlinks=False)
                    touched[Path(path)] = late[path]
            self._store.remember(touched)
            if not touched:
                break
        return [path for path in late if path not in only]

    def running(self, targets: Iterable[str]) -> list[SchedulerJob]:
        """Return what the scheduler will run: what is missing or outdated, and what is made from that."""
        running: dict[SchedulerJob, None] = {}
        waiting = list(targets)
        for path in waiting:
            job = self._maker(path)
            if job and job not in running and not job.stored and (job.is_outdated or not os.path.exists(path)):
                running[job] = None
                waiting += job.inputs
        return list(running)


def _time(path: str) -> int:
    """Return a file's modification time (ns), 0 where it is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0
