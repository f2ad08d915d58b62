"""Explain a file of the workflow: from what it was made, and whether it would be made again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from classlens.errors import InputError
from classlens.store.folder import Record
from classlens.store.job import provenance
from classlens.store.key import JobKey
from classlens.store.store import Store

KeyNow = Callable[[Record], JobKey]
"""The key that a recorded job has as code, versions and config are now, without its inputs."""


@dataclass(frozen=True)
class Verdict:
    """What a run would do for a file."""

    path: str
    state: str
    """"fresh", "stored" (its key changed, and the store has the result) or "compute"."""
    reasons: list[str]
    """Which part of the key differs."""
    upstream: list[Verdict]
    """Inputs that are not fresh themselves."""
    record: Record
    """How it was made."""
    now: JobKey
    """Its key as a run would have it."""


class _Past:
    """What a working directory shows of a store, read once."""

    def __init__(self, store: Store) -> None:
        self._store, self._files, self._find = store, store.placed(), cache(store.find)
        self._placed = self._files.all()

    def has(self, path: str) -> bool:
        """Tell whether a file came from the store; its record may have been collected since."""
        return self._files.name(path) in self._placed

    def record(self, path: str) -> Record | None:
        """Return the record of the job that made a file, None if the store has none."""
        return self._find(self._placed[self._files.name(path)].key) if self.has(path) else None

    def require(self, path: str) -> Record:
        """Return the record of the job that made a file; an InputError tells if the store knows nothing of it."""
        if (record := self.record(path)) is None:
            raise InputError(f"{path} was not made through the store {self._store.root}; run snakemake for it first")
        return record


def provenance_lines(path: str, store: Store, *, every: bool = False) -> list[str]:
    """Describe how a file came to be, down to raw data: a line per file, indented by depth.

    If not `every` raw file is to be named, several of one input are counted. Raises an InputError where the store knows
    nothing of the file.
    """
    past, seen = _Past(store), set()
    past.require(path)

    def lines(file: str, digest: str, indent: str) -> Iterator[str]:
        record = past.record(file)
        if record is None:
            kind = "made, but its record was collected" if past.has(file) else "raw"
            yield f"{indent}{file}  {kind}  {digest[:12]}"
            return
        again = "  (see above)" if record.key in seen else ""
        yield f"{indent}{file}  by {record.job}, {_made(record.provenance)}{again}"
        if again:
            return
        seen.add(record.key)
        versions = ", ".join(f"{name} {version}" for name, version in record.parts["libraries"].items())
        yield f"{indent}    key {record.key[:12]}, {versions}"
        if told := record.provenance.get("certificate"):
            yield f"{indent}    {told['text']}"
        for by in record.provenance.get("accepted", []):
            keys = f"from {by['from'][:12]} to {by['to'][:12]}"
            yield f"{indent}    accepted by {by['user']}, {by['started'][:19]}Z, {keys}"
        for name, sources in record.sources.items():
            digests = dict(zip(sources, record.parts["inputs"][name], strict=True))
            raw = [source for source in digests if not past.has(source)]
            counted = len(raw) > 1 and not every
            if counted:
                yield f"{indent}  {name}: {len(raw):,} raw files, first {raw[0]}  {digests[raw[0]][:12]}"
            for source, content in digests.items():
                if not counted or past.has(source):
                    yield from lines(source, content, f"{indent}  ")

    return list(lines(path, "", ""))


def _made(how: Mapping[str, Any]) -> str:
    """Return when and where a job ran, and on which code."""
    node = how.get("node") if how.get("node") != how["host"] else None
    said = {" (node {})": node, " in job {}": how.get("batch_job"), " {}": how.get("device")}
    said[", CUDA_VISIBLE_DEVICES={}"] = how.get("visible_devices")
    where = "".join(text.format(value) for text, value in said.items() if value)
    commit = (how["commit"] or "none")[:13]
    return f"{how['started'][:19]}Z, {how['seconds']} s, on {how['host']}{where}, commit {commit}"


def explain(path: str, store: Store, key_now: KeyNow) -> Verdict:
    """Tell whether a run would compute a file, and which part of its key differs from when it was made.

    Raises an InputError where the store knows nothing of the file.
    """
    past = _Past(store)
    known: dict[str, Verdict | None] = {}

    def verdict(file: str) -> Verdict:
        record = past.require(file)
        if record.key not in known:
            known[record.key] = None
            sources = sorted(set(chain(*record.sources.values())))
            upstream = [one for source in sources if past.record(source) and (one := verdict(source)).state != "fresh"]
            now = replace(key_now(record), outputs=record.parts["outputs"], inputs={})
            for name, paths in record.sources.items():
                now.inputs[name] = _digests_now(paths, record.parts["inputs"][name], past, store)
            reasons = [*_reasons(record, now), *(f"input {one.path} would be made again first" for one in upstream)]
            computes = any(one.state == "compute" for one in upstream) or store.find(now.digest) is None
            state = "fresh" if not reasons else "compute" if computes else "stored"
            known[record.key] = Verdict(file, state, reasons, upstream, record, now)
        if (found := known[record.key]) is None:
            raise InputError(f"the record {record.key} says that {file} was made from itself; remove it")
        return replace(found, path=file)

    return verdict(path)


def _digests_now(paths: list[str], before: list[str], past: _Past, store: Store) -> list[str]:
    """Return the digests of a job's inputs; one that a run deletes after use counts with the digest that it had."""
    there = [path for path in paths if os.path.isfile(path)]
    now = dict(zip(there, store.digests(there), strict=True))
    return [now.get(path, old if past.has(path) else "missing") for path, old in zip(paths, before, strict=True)]


def _reasons(record: Record, now: JobKey) -> Iterator[str]:
    before, after = record.parts, asdict(now)
    for part in ("modules", "functions", "libraries", "config"):
        yield from differences(before[part], after[part], f"{'code' if part == 'modules' else part} ")
    for name, sources in record.sources.items():
        inputs = zip(sources, before["inputs"][name], after["inputs"][name], strict=True)
        yield from (f"input {source} has another content" for source, old, new in inputs if old != new)


def differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Describe where two nested tables differ, a line for each leaf."""
    for key in sorted({*before, *after}):
        where, old, new = f"{path}{key}", before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{where}.")
        elif key not in after:
            yield f"{where} is gone (was {old})"
        elif key not in before:
            yield f"{where} is new ({new})"
        elif old != new:
            yield f"{where}: {old} -> {new}"


def accept(path: str, store: Store, key_now: KeyNow) -> list[Verdict]:
    """Take the stored results of a file, and of what it was made from, for those of the code as it is now.

    For an edit that changed no number: nothing computes, and the records say who accepted what. Returned is what was
    accepted, upstream first. Raises an InputError where the store knows nothing of the file, or more than code and
    versions changed.
    """
    accepted: dict[str, Verdict] = {}
    files = store.placed()

    def visit(verdict: Verdict) -> None:
        for upstream in verdict.upstream:
            visit(upstream)
        record, now = verdict.record, verdict.now
        if now.digest == record.key or record.key in accepted:
            return
        if any(record.parts[part] != asdict(now)[part] for part in ("config", "inputs", "functions")):
            raise InputError(
                f"{verdict.path} cannot be accepted: more than code changed ({'; '.join(verdict.reasons)}); "
                f"run snakemake for it"
            )
        by = {"from": record.key, "to": now.digest, **provenance(Path.cwd(), time.time())}
        notes = {**record.provenance, "accepted": [*record.provenance.get("accepted", []), by]}
        store.own.write(replace(record, key=now.digest, parts=asdict(now), provenance=notes))
        with files.held():
            entries = files.all().items()
            files.append({path: replace(one, key=now.digest) for path, one in entries if one.key == record.key})
        accepted[record.key] = verdict

    visit(explain(path, store, key_now))
    return list(accepted.values())
