"""Run a job through the store: look its key up, else compute, check, keep, place."""

from __future__ import annotations

import copy
import logging
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from classlens.digest import digest_json, write_atomically
from classlens.errors import InputError
from classlens.shipped import CACHE
from classlens.store.disk_errors import explained_disk_errors, user_name
from classlens.store.folder import Record
from classlens.store.key import JobKey, code_key
from classlens.store.store import Store
from classlens.store.workdir import WORK, temporary

Files = Mapping[str, str | list[str]]
Compute = Callable[[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]], dict[str, Any] | None]
"""compute(inputs, outputs, config, local) -> further provenance, e.g. the device."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job as the workflow asks for it."""

    name: str
    functions: dict[str, str]
    """What it calls, see `JobKey`, imported from the folder `root` of the project."""
    root: Path
    config: dict[str, Any]
    """Part of the config that shapes the result; part of the key."""
    local: dict[str, Any]
    """What does not shape the result (threads, device, where raw data lies); not part of the key."""
    inputs: Files
    outputs: Files
    wildcards: dict[str, str] = field(default_factory=dict)
    """For the record only, as is `declared`: the settings and functions that a job was declared with."""
    declared: dict[str, Any] = field(default_factory=dict)


def job_of(params: Mapping[str, Any], inputs: Mapping[str, Any], outputs: Mapping[str, Any], root: Path) -> Job:
    """Return a job of a rule.

    Args:
        params: from `describe`; `raw_files`, by the name of a rule's input, are what the job reads in its place.
        inputs, outputs: the rule's files by name (`items()` gives them).
        root: the checkout.
    """
    read = {**dict(inputs.items()), **params.get("raw_files", {})}
    plain = [
        {name: str(files) if isinstance(files, str) else list(map(str, files)) for name, files in table.items()}
        for table in (read, outputs)
    ]
    own = {name: params[name] for name in ("name", "functions", "config", "local", "wildcards", "declared")}
    return Job(root=root, inputs=plain[0], outputs=plain[1], **own)


def run_job(
    job: Job,
    compute: Compute,
    store: Store,
    code: JobKey | None = None,
    take_device: Callable[[str], str] | None = None,
) -> bool:
    """Leave a job's outputs at their places; return whether they were computed, as the store did not have them.

    Args:
        code: the code part of its key, if it was found before any of its code was imported (`code_key`).
        take_device: gives a job that runs on a device one of its own, and may wait for it.

    Raises:
        InputError: an output was not written, the code or an input changed while the job ran, its device is not
            there, a file may not be read or written, or a disk is full. Nothing is kept then.
    """
    destinations = {name: Path(path) for name, path in flatten(job.outputs).items()}

    def stored() -> bool:
        record = store.find(key.digest)
        if record is None or not store.restore(record, destinations):
            return False
        log.info("%s: from the store (%s)", job.name, key.digest[:12])
        return True

    with explained_disk_errors(store.root):
        key = key_of(job, store.digests, code)
        if stored():  # without the lock, which a store that may only be read does not grant
            return False
        if take_device is not None and "device" in job.local:
            with store.lock(key.digest):
                if stored():
                    return False
            # Not under the lock: whoever has the device may want this key next.
            job = replace(job, local={**job.local, "device": take_device(job.local["device"])})
            if key_of(job, store.digests).digest != key.digest:  # the device may have taken hours to get
                raise InputError(f"{job.name}: its code or an input changed while it waited; run again")
        with store.lock(key.digest):
            if stored():
                return False
            log.info("%s: computing (%s)", job.name, key.digest[:12])
            record = _computed(job, key, compute, store)
            store.own.write(record)
            if not store.restore(record, destinations):
                raise InputError(f"{job.name}: its results vanished from the store {store.root} at once; run again")
    return True


def is_stored(job: Job, store: Store, code: JobKey) -> bool:
    """Tell whether the store has a job's results; of one whose inputs are not all there yet it has none.

    Finding the `code` part of a key is most of the work, and it is the same for all jobs of a rule.
    """
    try:
        record = store.find(key_of(job, store.digests, code).digest)
        return record is not None and all(map(store.has, record.outputs))
    except OSError:  # what may not be read is said by the job
        return False


def key_of(job: Job, digests: Callable[[Sequence[str]], list[str]], code: JobKey | None = None) -> JobKey:
    """Return a job's key, with the `digests` of its input files; its `code` part is found anew if not given."""
    inputs = {name: digests([path] if isinstance(path, str) else path) for name, path in job.inputs.items()}
    outputs = [name + Path(path).suffix for name, path in flatten(job.outputs).items()]
    return replace(code or code_key(job.functions, job.root), config=job.config, inputs=inputs, outputs=outputs)


def flatten(files: Files) -> dict[str, str]:
    """Flatten lists: {"layers": [a, b]} becomes {"layers/0": a, "layers/1": b}."""
    flat = {}
    for name, path in files.items():
        if isinstance(path, str):
            flat[name] = path
        else:
            flat |= {f"{name}/{index}": item for index, item in enumerate(path)}
    return flat


def digest_of_raw(paths: Iterable[str], store: Store) -> str:
    """Return a digest of raw inputs, "" for none; unchanged files are not read.

    By it a scheduler that goes by time stamps sees also that a file was replaced by one with an older time.
    """
    there = [path for path in paths if os.path.isfile(path)]
    return digest_json(store.digests(there)) if there else ""


def list_raw(name: str, paths: Sequence[str], store: Store) -> tuple[str, str]:
    """Return the `digest_of_raw` of files by the thousand, and the one small file that a scheduler watches for them.

    Snakemake names every input of a job on one line and keeps a checksum of each. So rules that read a data set's files
    have a manifest as input, below the working directory: it counts the files and holds the digest. It gets a new time
    when a content changes, and no other.

    Raises:
        InputError: files are missing.
    """
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        more = f" and {len(missing) - 1:,} more of {len(paths):,}" if len(missing) > 1 else ""
        raise InputError(f"{missing[0]}{more}: there is no such file; restore it, or take it out of the data set")
    # In a folder of its own: Snakemake looks over a folder once, and misses what is written there afterwards. Other
    # files have another manifest: a look with another config leaves that of a run under way alone.
    digest, manifest = (
        digest_of_raw(paths, store),
        CACHE / "raw" / f"{name}-{digest_json(list(paths))[:12]}/manifest.txt",
    )
    before, text = manifest.read_text() if manifest.is_file() else None, f"{len(paths):,} files\n{digest}\n"
    if before != text:
        write_atomically(manifest, text)
    if before is None:
        # Nothing is known of a change: as old as what it stands for, or all would look out of date.
        newest = max((os.stat(path).st_mtime_ns for path in paths), default=0)
        os.utime(manifest, ns=(newest, newest))
    return digest, str(manifest)


def _computed(job: Job, key: JobKey, compute: Compute, store: Store) -> Record:
    """Compute into a workspace, check, and move the outputs into the store."""
    started = time.time()
    work = Path.cwd() / WORK
    with explained_disk_errors(store.root, work), temporary(work) as folder:
        made = {name: _inside(folder, name, path) for name, path in job.outputs.items()}
        inputs = {name: path if isinstance(path, str) else list(path) for name, path in job.inputs.items()}
        notes = compute(inputs, made, copy.deepcopy(job.config), job.local)
        missing = [name for name, path in flatten(made).items() if not Path(path).is_file()]
        if missing:
            raise InputError(f"{job.name}: the job ended without writing {', '.join(missing)}")
        if key_of(job, store.digests).digest != key.digest:
            raise InputError(f"{job.name}: its code or an input changed while it ran; run again")
        outputs = [store.take(name, Path(path)) for name, path in flatten(made).items()]
    return Record(
        key=key.digest,
        job=job.name,
        wildcards=job.wildcards,
        parts=asdict(key),
        sources={name: [path] if isinstance(path, str) else list(path) for name, path in job.inputs.items()},
        outputs=outputs,
        provenance=provenance(job.root, started) | (notes or {}) | {"declared": job.declared},
    )


def _inside(folder: Path, name: str, path: str | list[str]) -> Any:
    """Return where an output is written first; base names are kept, since suffixes choose formats."""
    if not isinstance(path, str):
        return [_inside(folder, f"{name}-{index}", item) for index, item in enumerate(path)]
    place = folder / name / Path(path).name
    place.parent.mkdir(parents=True)
    return str(place)


def provenance(root: Path, started: float) -> dict[str, Any]:
    """Return how and when something was made: for the record, never for the result."""
    return {
        "commit": _commit(root),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds"),
        "seconds": round(time.time() - started, 3),
        "host": platform.node(),
        "user": user_name(os.getuid()),
        "platform": platform.platform(),
        "batch_job": os.environ.get("SLURM_JOB_ID"),
        "node": os.environ.get("SLURMD_NODENAME"),
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _commit(root: Path) -> str | None:
    """Return the checkout's commit, with "+" after it when files differ from it; None outside git."""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
