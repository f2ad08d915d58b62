"""Explain a file of the workflow: from what it was made, and whether it would be made again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from classlens.errors import InputError
from classlens.store.job import named
from classlens.store.key import JobKey, differences
from classlens.store.store import Record, Store

StaticPart = Callable[[str, dict[str, str]], JobKey]
"""static_part(job, wildcards): the key of a job as code, versions and config are now, without its inputs."""


@dataclass(frozen=True)
class Verdict:
    """What a run would do for a file."""

    path: str
    job: str
    state: str
    """"fresh", "stored" (its key changed, and the store has the result) or "compute"."""
    reasons: list[str]
    """Which part of the key differs."""
    upstream: list[Verdict] = field(default_factory=list)
    """Inputs that are not fresh themselves."""


def record_of(path: str, store: Store, working: Path) -> Record:
    """Return the record of the job that made a file.

    Raises:
        InputError: the store knows nothing of the file.
    """
    root = store.roots(working).get(path)
    record = store.find(root.key) if root else None
    if record is None:
        raise InputError(f"{path} was not made through the store {store.root}; run snakemake for it first")
    return record


def provenance_lines(path: str, store: Store, working: Path) -> list[str]:
    """Describe how a file came to be, down to raw data: a line per file, indented by depth."""
    lines: list[str] = []
    seen: set[str] = set()

    def visit(file: str, digest: str | None, depth: int) -> None:
        root = store.roots(working).get(file)
        record = store.find(root.key) if root else None
        indent = "  " * depth
        if record is None:
            lines.append(f"{indent}{file}  raw  {(digest or '')[:12]}")
            return
        made = record.provenance
        again = record.key in seen
        lines.append(
            f"{indent}{file}  by {record.job}, {made['started'][:19]}Z, {made['seconds']} s, on {made['host']}"
            f"{' ' + made['device'] if made.get('device') else ''}, commit {(made['commit'] or 'none')[:13]}"
            f"{'  (see above)' if again else ''}"
        )
        if again:
            return
        seen.add(record.key)
        versions = ", ".join(f"{name} {version}" for name, version in record.parts["libraries"].items())
        lines.append(f"{indent}    key {record.key[:12]}, {versions}")
        sources = named(dict(record.sources))
        digests = named(dict(record.parts["inputs"]))
        for name, source in sources.items():
            visit(source, digests[name], depth + 1)

    visit(path, None, 0)
    return lines


def explain(path: str, store: Store, working: Path, static_part: StaticPart) -> Verdict:
    """Tell whether a run would compute a file, and which part of its key differs from when it was made.

    Raises:
        InputError: the store knows nothing of the file.
    """
    record = record_of(path, store, working)
    upstream = [
        verdict
        for source in sorted({source for sources in record.sources.values() for source in sources})
        if store.roots(working).get(source) is not None
        and (verdict := explain(source, store, working, static_part)).state != "fresh"
    ]
    now = static_part(record.job, record.wildcards)
    inputs = {
        name: [_digest_now(source, digest, store, working) for source, digest in zip(sources, digests, strict=True)]
        for (name, sources), digests in zip(record.sources.items(), record.parts["inputs"].values(), strict=True)
    }
    now = replace(now, inputs=inputs, outputs=record.parts["outputs"])
    reasons = _reasons(record, now)
    reasons += [f"input {verdict.path} would be made again first" for verdict in upstream]
    if not reasons:
        return Verdict(path, record.job, "fresh", [])
    stored = not any(verdict.state == "compute" for verdict in upstream) and store.find(now.digest) is not None
    return Verdict(path, record.job, "stored" if stored else "compute", reasons, upstream)


def _digest_now(source: str, before: str, store: Store, working: Path) -> str:
    """Return an input's digest; one that a run deletes after use counts with the digest that it had."""
    file = working / source
    if file.is_file():
        return store.memory.digest(file)
    return before if store.roots(working).get(source) else "missing"


def _reasons(record: Record, now: JobKey) -> list[str]:
    before, after = record.parts, asdict(now)
    reasons = (
        [f"code {line}" for line in differences({"": before["definitions"]}, {"": after["definitions"]})]
        if before["code"] != after["code"]
        else []
    )
    for part in ("libraries", "config"):
        reasons += [f"{part} {line}" for line in differences(before[part], after[part])]
    for name, sources in record.sources.items():
        changed = [
            source
            for source, old, new in zip(sources, before["inputs"][name], now.inputs[name], strict=True)
            if old != new
        ]
        reasons += [f"input {source} has another content" for source in changed]
    return reasons
