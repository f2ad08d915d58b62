"""The working directory: which run has it, and folders in it where files are made before they have their names.

Such folders are those of jobs, in .snakemake/classlens/work, and those of results that are about to be placed, beside
their destinations. Each holds a lock, which falls with its process; who finds it free may remove the folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from classlens.cache import CACHE
from classlens.store.disk_errors import going_on_if_denied
from classlens.store.lock import are_locks_used, take, wait

LOOK_VARIABLE = "CLASSLENS_LOOK"
"""Environment variable: where it is set, a dry run links nothing."""
RUN_LOCK = CACHE / "run.lock"
WORK = CACHE / "work"
PLACING = ".placing-"
"""How names of folders in results/ begin that hold what is about to be there."""
IN_USE = ".lock"

_held: list[int] = []
"""The lock of a run that this process is."""


def hold() -> bool:
    """Hold the working directory until this process ends: no other run sets its files aside or replaces them.

    Snakemake takes its own lock only when it has planned, which is after stored results are placed, and does not lose
    it when it is killed. Returns False where another run holds it, or Snakemake's lock lies there; a dry run has it
    for as long as it links what is stored, and is waited for.
    """
    if not _held:
        CACHE.mkdir(parents=True, exist_ok=True)
        handle = wait(RUN_LOCK, only_for_shared=True)
        if handle is None:
            return False
        if _is_locked_by_snakemake():
            os.close(handle)
            return False
        _held.append(handle)
    return True


@contextmanager
def free() -> Iterator[bool]:
    """Keep runs out of the working directory for an instant, without waiting; give False where one holds it."""
    handle = None
    with going_on_if_denied():
        if not _held:
            CACHE.mkdir(parents=True, exist_ok=True)
            handle = take(RUN_LOCK, shared=True)
    try:
        yield bool(_held) or (handle is not None and not _is_locked_by_snakemake())
    finally:
        if handle is not None:
            os.close(handle)


def _is_locked_by_snakemake() -> bool:
    return any(Path(".snakemake/locks").glob("*.lock"))


@contextmanager
def temporary(parent: Path, prefix: str = "") -> Iterator[Path]:
    """Give a new folder in another one, which is made; the new one is gone afterwards."""
    parent.mkdir(parents=True, exist_ok=True)
    handle = None
    while handle is None:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        with suppress(FileNotFoundError):  # who clears came before its lock
            handle = take(folder / IN_USE)
    try:
        yield folder
    finally:
        _remove(folder, handle)


def clear_work() -> None:
    """Remove what processes that are gone left in the working directory, also of what they were about to place.

    Without locks it cannot be told from what others use, and stays.
    """
    # Unlike a glob, `os.walk` goes on where a folder vanishes meanwhile.
    found = [Path(at, name) for at, names, _ in os.walk("results") for name in names]
    placing = [folder for folder in found if folder.name.startswith(PLACING)]
    for folder in [*WORK.glob("*"), *placing] if are_locks_used() else []:
        with suppress(OSError):  # gone meanwhile, no folder, or of another user who works here
            if (handle := take(folder / IN_USE)) is not None:
                _remove(folder, handle)


def _remove(folder: Path, handle: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(handle)
    with suppress(OSError):  # a network file system keeps an open file, and with it the folder, until it is closed
        folder.rmdir()
