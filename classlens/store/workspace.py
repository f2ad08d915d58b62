"""Where jobs compute: in the working directory, which is its owner's alone.

In a shared store somebody could put links into the folder of a job under way, for it to write through.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from classlens.cache import CACHE

STALE = 7 * 86_400.0
"""Age in seconds of its newest file after which work of another host counts as abandoned."""
PLACING = ".placing-"
"""How names of folders in results/ begin that hold what is about to be there."""
_NAME = re.compile(rf"({re.escape(PLACING)})?(?P<host>.+)-(?P<process>\d{{1,9}})-[^-]+")


def work_folder() -> Path:
    """Return where the jobs of the current working directory compute; it need not be there."""
    return Path.cwd() / CACHE / "work"


@contextmanager
def workspace() -> Iterator[Path]:
    """Give a folder that is gone afterwards."""
    work_folder().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=work_folder(), prefix=own_prefix()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def own_prefix() -> str:
    """Return how names of this process's folders begin, so that what a killed one left can be told from others."""
    return f"{this_host()}-{os.getpid()}-"


@cache
def this_host() -> str:
    """Return a name of where process numbers mean what they mean here: this machine since its start, this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{socket.gethostname()}.{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # not Linux
        return socket.gethostname()


def clear_work(working: Path) -> None:
    """Remove what killed processes left in a working directory, also of what they were about to place in results/."""
    for folder in (*(working / CACHE / "work").glob("*"), *_placing(working / "results")):
        made_by = _NAME.fullmatch(folder.name)
        if made_by is None or not folder.is_dir():
            continue
        abandoned = _last_change(folder) < time.time() - STALE
        if abandoned or (made_by["host"] == this_host() and not _alive(int(made_by["process"]))):
            shutil.rmtree(folder, ignore_errors=True)


def _placing(results: Path) -> list[Path]:
    # Unlike a glob, `os.walk` goes on where a folder vanishes meanwhile.
    return [Path(at, name) for at, names, _ in os.walk(results) for name in names if name.startswith(PLACING)]


def _last_change(folder: Path) -> float:
    """Return when anything in a folder changed last; what vanishes meanwhile changes now."""
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
