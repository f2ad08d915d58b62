"""Look over a working directory's files from the store before a run: what was changed or damaged is set aside."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from classlens.store.store import Store

CHANGED_SUFFIX = ".changed"

log = logging.getLogger(__name__)


def sweep(root: Path, working: Path) -> list[Path]:
    """Check every file that the store placed in a working directory; unchanged ones cost one look at their time stamps.

    A file with another content than the store gave it (edited, cut off, overwritten) would be taken for a result. It
    is moved to NAME.changed, so that a scheduler makes it anew and an edit is not lost; where it shares its bytes
    with the store, the damaged blob goes too.

    Args:
        root: the store's folder.
        working: the working directory.

    Returns:
        the files that were set aside, under their former names.
    """
    if not root.exists():
        return []
    store = Store(root)
    roots = store.roots(working)
    present = roots.present()
    found = store.memory.digests([working / path for path in present])
    aside = []
    for (path, placed), digest in zip(present.items(), found, strict=True):
        if digest == placed.digest:
            continue
        file = working / path
        log.warning("%s was changed since it was made: set aside as %s%s", file, file.name, CHANGED_SUFFIX)
        os.replace(file, f"{file}{CHANGED_SUFFIX}")
        store.intact(placed.digest)  # names and drops the blob if it is the same damaged file
        aside.append(file)
    for leftover in (working / "results").glob("**/.placing-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    roots.compact()
    return aside
