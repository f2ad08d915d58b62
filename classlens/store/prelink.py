"""Link what the store has before a run is planned, so that a stored result is no job.

A scheduler plans by the files that it finds, and starting a job takes time even where the job only finds its result.
A key holds the digests of inputs, and a record those of outputs. So where a chain of jobs is stored, every key in it
follows from the records and the raw files, and no job needs to run for its result to be known.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from classlens.store.disk_errors import explained_disk_errors
from classlens.store.folder import Record
from classlens.store.job import Job, flatten, key_with
from classlens.store.key import JobKey
from classlens.store.store import Store
from classlens.store.workdir import Placed

MOST_PASSES = 9
"""How often the times of results are gone through. Once is the rule, twice for equal results at several places."""


@dataclass(frozen=True, eq=False)
class SchedulerJob:
    """What a scheduler plans at once: a rule with its wildcards, which runs one job or several."""

    rule: str
    inputs: list[str]
    """Paths, among them a stand-in for raw files."""
    outputs: list[str]
    temporary: frozenset[str]
    """Outputs that are deleted once they have been read."""
    jobs: Callable[[], Iterable[tuple[Job, JobKey]]]
    """Its jobs, each with the code part of its key."""
    note: Callable[[str, Record], None]
    """Tells the scheduler that an output, a path, was linked, and of which record it is."""


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
        producer: returns what makes a path, None for a raw file; for every output of a task the same one.
        newest: time (ns) that results must not be older than, beside those of their inputs.
        link: anything at all.
        look: link to places where nothing is, and change nothing that is there; a run replaces results of other keys.

    Raises:
        InputError: a result may not be written, or its disk is full.
    """
    found = Prelinked()
    with explained_disk_errors(store.root):
        if next(store.records(), None) is None:
            return found
        chain = _Chain(producer, store)
        for path in targets:
            chain.digest(path)
        # What is deleted when it was read is linked only for a task that may compute.
        read = {path for task in chain.order if task not in chain.records for path in task.inputs}
        for task, records in chain.records.items():
            if not task.temporary or task.temporary & read:
                for job, record in records if link else ():
                    linked = chain.link(job, record, replace=not look)
                    found.linked += linked
                    for path in linked:
                        task.note(path, record)
                found.left += [path for path in task.outputs if not chain.is_there(path)]
        found.left += chain.order_times(newest, set(found.linked) if look or not link else None)
    for task in chain.running(targets):
        (found.compute if chain.keys.keys() >= set(task.outputs) else found.may_compute)[task.rule] += 1
    return found


class _Chain:
    """The tasks that targets are made by, and the records of those that are stored, from raw files on."""

    def __init__(self, producer: Callable[[str], SchedulerJob | None], store: Store) -> None:
        self._producer, self._store, self._placed = producer, store, store.placed().all()
        self._makers: dict[str, SchedulerJob | None] = {}
        self._digests: dict[str, str | None] = {}
        self.keys: dict[str, str] = {}
        """Of outputs of tasks whose inputs are known."""
        self.order: list[SchedulerJob] = []
        """Tasks, each after those that it reads from."""
        self.records: dict[SchedulerJob, list[tuple[Job, Record]]] = {}
        """Of tasks that are stored as a whole."""

    def digest(self, path: str) -> str | None:
        """Return the digest of a file as it will be, None where that cannot be known; "" for a raw file."""
        if path not in self._digests:
            task = self._makers[path] = self._producer(path)
            self._digests[path] = "" if task is None and os.path.exists(path) else None
            if task is not None:
                self._makers |= dict.fromkeys(task.outputs, task)
                self._digests |= dict.fromkeys(task.outputs)
                inputs = [self.digest(name) for name in task.inputs]
                self.order.append(task)
                if None not in inputs:
                    self._look_up(task)
        return self._digests[path]

    def _look_up(self, task: SchedulerJob) -> None:
        jobs, records, digests = list(task.jobs()), [], dict[str, str]()
        for job, code in jobs:
            paths, key = flatten(job.outputs), key_with(job, code, self._contents).digest
            self.keys |= dict.fromkeys(paths.values(), key)
            record = self._store.find(key)
            if record and {output.name for output in record.outputs} == set(paths):
                made = {paths[output.name]: output for output in record.outputs}
                if all(self._at(path) == Placed(key, one.digest) or self._store.has(one) for path, one in made.items()):
                    records.append((job, record))
                    digests |= {path: one.digest for path, one in made.items()}
        if len(records) == len(jobs):
            self.records[task] = records
            self._digests |= digests

    def _contents(self, paths: Sequence[str]) -> list[str]:
        raw = [path for path in paths if not self._digests.get(path)]
        read = dict(zip(raw, self._store.digests(raw), strict=True))
        return [read.get(path) or self._digests[path] or "" for path in paths]

    def _at(self, path: str) -> Placed | None:
        """Return what was placed at a path, None where nothing of the store is."""
        return self._placed.get(os.path.normpath(path)) if os.path.isfile(path) else None

    def is_there(self, path: str) -> bool:
        """Tell whether an output of a stored task is in its place."""
        return self._at(path) == self._wanted(path)

    def _wanted(self, path: str) -> Placed:
        return Placed(self.keys[path], self._digests[path] or "")

    def link(self, job: Job, record: Record, *, replace: bool) -> list[str]:
        """Link what is missing of a job's results, unless something is there that is not to be replaced."""
        missing = {name: path for name, path in flatten(job.outputs).items() if not self.is_there(path)}
        if not replace and any(map(os.path.lexists, missing.values())):
            return []
        destinations = {name: Path(path) for name, path in missing.items()}
        if not missing or not self._store.restore(record, destinations, replace=replace):
            return []
        self._placed |= {os.path.normpath(path): self._wanted(path) for path in missing.values()}
        return list(missing.values())

    def order_times(self, newest: int, only: set[str] | None) -> list[str]:
        """Make no result of a stored task older than its inputs, or a scheduler that goes by times would make it anew.

        Equal results are one file, with one time, so a link may have made inputs newer than what was made from them,
        and a new time of one may make another one late. Where `only` some may be given a time, the others that should
        have been given one are returned.
        """
        now, own, late = time.time_ns(), list[str](), list[str]()
        for _ in range(MOST_PASSES):
            times: dict[str, int] = {}
            late = []
            for task in self.order:
                oldest = max([newest, *(times.get(path) or _time(path) for path in task.inputs)])
                for path in task.outputs:
                    times[path] = _time(path) or oldest  # what is not there is as old as what it would be made from
                    if times[path] < oldest and task in self.records and self.is_there(path):
                        times[path] = max(now, oldest)
                        late.append(path)
            own = [path for path in late if only is None or path in only]
            touched = {}
            for path in own:
                with suppress(PermissionError):  # another user's: its job is started, and finds the result
                    os.utime(path, ns=(times[path],) * 2, follow_symlinks=False)
                    touched[Path(path)] = self._wanted(path).digest
            self._store.remember(touched)
            if not touched:
                break
        return [path for path in late if path not in own]

    def running(self, targets: Sequence[str]) -> list[SchedulerJob]:
        """Return the tasks that a scheduler will run: what is missing or outdated, and what is made from that."""
        outdated: set[SchedulerJob] = set()
        for task in self.order:
            shown = {path: placed.key for path in task.outputs if (placed := self._at(path))}
            another = any(key != self.keys.get(path, key) for path, key in shown.items())
            if task not in self.records and (another or any(self._makers[path] in outdated for path in task.inputs)):
                outdated.add(task)
        running: dict[SchedulerJob, None] = {}
        waiting = list(targets)
        while waiting:
            path = waiting.pop()
            maker = self._makers[path]
            if maker and maker not in self.records and (maker in outdated or not os.path.exists(path)):
                waiting += [] if maker in running else maker.inputs
                running[maker] = None
        return list(running)


def _time(path: str) -> int:
    """Return a file's modification time (ns), 0 where it is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0
