"""Link what the store has before a run is planned, so that a stored result is no job.

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
from classlens.store.placed import Placed
from classlens.store.store import Store

MOST_PASSES = 9
"""Over the times of results. One is the rule, and one more for equal results at several places."""


@dataclass(frozen=True, eq=False)
class SchedulerJob:
    """What a scheduler plans at once: a rule with its wildcards, which runs one job or several.

    Attributes:
        rule: its name.
        inputs, outputs: paths; among the inputs is a stand-in for raw files.
        temporary: outputs that are deleted when they were read.
        jobs: returns its jobs, each with the code part of its key.
        note: tells the scheduler that an output, a path, was linked, and of which record it is.
    """

    rule: str
    inputs: list[str]
    outputs: list[str]
    temporary: frozenset[str]
    jobs: Callable[[], Iterable[tuple[Job, JobKey]]]
    note: Callable[[str, Record], None]


@dataclass
class Prelinked:
    """What a run will do.

    Attributes:
        linked: results that were linked, by their paths.
        compute: rules of the tasks that compute, as often as they do.
        may_compute: the same of tasks whose keys depend on what others will have computed.
        unlinked: results that a run would link, which a look leaves undone.
        untimely: results that a run would give a newer time alone.
    """

    linked: list[str] = field(default_factory=list)
    compute: Counter[str] = field(default_factory=Counter)
    may_compute: Counter[str] = field(default_factory=Counter)
    unlinked: list[str] = field(default_factory=list)
    untimely: list[str] = field(default_factory=list)


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

    Results of the working directory are expected to be as the store placed them (`classlens.store.workdir`). Of an
    empty store nothing is told: following thousands of jobs takes as long as a fifth of planning them.

    Args:
        targets: paths below the working directory.
        producer: returns what makes a path, None for a raw file; for every output of a task the same one.
        newest: time (ns) that results must not be older than, beside those of their inputs.
        link: anything at all.
        look: link to places where nothing is, and change nothing that is there; a run replaces results of other keys.

    Raises:
        InputError: a result may not be written, or its disk is full.
    """
    with explained_disk_errors(store.root):
        if next(store.records(), None) is None:
            return Prelinked()
        here = _PlacedHere(store)
        chain = _Chain(producer, store, here)
        for path in targets:
            chain.digest(path)
        read = {path for task in chain.order if task not in chain.records for path in task.inputs}
        found = Prelinked()
        for task in list(chain.records):
            if task.temporary and task.temporary.isdisjoint(read):
                continue  # what it makes is deleted when it was read, and no task that may compute reads it
            linked = _link(task, chain, here, store, replace=not look) if link else []
            found.linked += linked
            left = [path for path in task.outputs if path not in linked and here.key(path) != chain.keys[task][path]]
            if left and link and not look:
                del chain.records[task]  # its content went meanwhile
            found.unlinked += left
        if found.linked:
            here = _PlacedHere(store)
        found.untimely = _order_times(chain, here, store, newest, set(found.linked) if look or not link else None)
    for task in _running(targets, chain, here):
        (found.compute if task in chain.keys else found.may_compute)[task.rule] += 1
    return found


class _Chain:
    """The tasks that targets are made by, and the records of those that are stored, from raw files on."""

    def __init__(self, producer: Callable[[str], SchedulerJob | None], store: Store, here: _PlacedHere) -> None:
        self._producer, self._store, self._shown = producer, store, here
        self.makers: dict[str, SchedulerJob | None] = {}
        self._digests: dict[str, str | None] = {}
        self.order: list[SchedulerJob] = []
        """Jobs of the scheduler, each after those that it reads from."""
        self.keys: dict[SchedulerJob, dict[str, str]] = {}
        """Of tasks whose inputs are known: the key of each output."""
        self.records: dict[SchedulerJob, list[tuple[Job, Record]]] = {}
        """Of tasks that are stored as a whole."""

    def digest(self, path: str) -> str | None:
        """Return the digest of a file as it will be, None where that cannot be known; "" for a raw file."""
        if path in self._digests:
            return self._digests[path]
        task = self.makers[path] = self._producer(path)
        self._digests[path] = "" if task is None and os.path.exists(path) else None
        if task is not None:
            for output in task.outputs:
                self.makers[output], self._digests[output] = task, None
            known = [self.digest(name) is not None for name in task.inputs]
            self.order.append(task)
            if all(known):
                self._look_up(task)
        return self._digests[path]

    def _look_up(self, task: SchedulerJob) -> None:
        keys = self.keys[task] = {}
        jobs, records = list(task.jobs()), []
        for job, code in jobs:
            key = key_with(job, code, self._contents).digest
            keys |= dict.fromkeys(flatten(job.outputs).values(), key)
            record = self._store.find(key)
            if record and self._is_whole(job, record):
                records.append((job, record))
        if len(records) < len(jobs):
            return
        self.records[task] = records
        for job, record in records:
            self._digests |= {flatten(job.outputs)[output.name]: output.digest for output in record.outputs}

    def _is_whole(self, job: Job, record: Record) -> bool:
        """Tell whether all outputs are in the working directory or in the store."""
        paths = flatten(job.outputs)
        return {output.name for output in record.outputs} == set(paths) and all(
            self._shown.at(paths[output.name]) == Placed(record.key, output.digest)
            or self._store.has(output.digest, output.size)
            for output in record.outputs
        )

    def _contents(self, paths: Sequence[str]) -> list[str]:
        raw = [path for path in paths if not self._digests.get(path)]
        read = dict(zip(raw, self._store.memory.digests(raw), strict=True))
        return [read[path] if path in read else self._digests[path] or "" for path in paths]


class _PlacedHere:
    """What was placed in the working directory and is there."""

    def __init__(self, store: Store) -> None:
        self._placed = store.placed().all()

    def at(self, path: str) -> Placed | None:
        """Return what was placed at a path, None where nothing of the store is."""
        return self._placed.get(os.path.normpath(path)) if os.path.isfile(path) else None

    def key(self, path: str) -> str | None:
        """Return the key under which a result was made, None where none is."""
        return placed.key if (placed := self.at(path)) else None


def _link(task: SchedulerJob, chain: _Chain, here: _PlacedHere, store: Store, *, replace: bool) -> list[str]:
    """Link what is missing of a stored task's results, and return what was linked.

    If not to `replace` results of other keys, a job's results are left alone where one of them is there.
    """
    linked: list[str] = []
    for job, record in chain.records[task]:
        paths = flatten(job.outputs)
        missing = [path for path in paths.values() if here.key(path) != record.key]
        if not missing or (not replace and any(map(os.path.lexists, missing))):
            continue
        if store.restore(record, {name: Path(path) for name, path in paths.items()}, replace=replace):
            for path in missing if not replace else paths.values():
                task.note(path, record)
                linked.append(path)
    return linked


def _order_times(chain: _Chain, here: _PlacedHere, store: Store, newest: int, only: set[str] | None) -> list[str]:
    """Make no result of a stored task older than its inputs, or a scheduler that goes by times would make it anew.

    Equal results are one file, with one time, so a link may have made inputs newer than what was made from them.
    Where `only` some may be given a time, the others that should have been given one are returned.
    """
    now = time.time_ns()
    untimely: list[str] = []
    for _ in range(MOST_PASSES):
        times: dict[str, int] = {}
        changed = False
        untimely.clear()
        for task in chain.order:
            oldest = max([newest, *(times.get(path) or _time(path) for path in task.inputs)])
            if task in chain.records:
                for path in task.outputs:
                    placed = here.at(path)
                    if not placed or placed.key != chain.keys[task][path] or _time(path) >= oldest:
                        continue
                    if only is not None and path not in only:
                        untimely.append(path)
                        times[path] = max(now, oldest)
                    else:
                        # Of another user's file it cannot be done: its job is started, and finds the result.
                        with suppress(PermissionError):
                            os.utime(path, ns=(max(now, oldest),) * 2, follow_symlinks=False)
                            store.memory.remember(path, placed.digest)
                            changed = True
            # What is not there is as old as what it would be made from.
            times |= {path: _time(path) or oldest for path in task.outputs if path not in times}
        if not changed:
            break
    return untimely


def _running(targets: Sequence[str], chain: _Chain, here: _PlacedHere) -> list[SchedulerJob]:
    """Return the tasks that a scheduler will run: what is missing or outdated, and what is made from that."""
    outdated: set[SchedulerJob] = set()
    for task in chain.order:
        if task in chain.records:
            continue
        another = any(here.key(path) not in (None, key) for path, key in chain.keys.get(task, {}).items())
        if another or any(chain.makers.get(path) in outdated for path in task.inputs):
            outdated.add(task)
    running: dict[SchedulerJob, None] = {}
    waiting = list(targets)
    while waiting:
        path = waiting.pop()
        maker = chain.makers.get(path)
        if maker is None or maker in running or maker in chain.records:
            continue
        if maker in outdated or not os.path.exists(path):
            running[maker] = None
            waiting += maker.inputs
    return list(running)


def _time(path: str) -> int:
    """Return a file's modification time (ns), 0 where it is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0
