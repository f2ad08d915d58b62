"""Raw files by the thousand, and the one small file that a scheduler watches in their stead.

Snakemake names every input of a job on one line and keeps a checksum of each. So rules that read a data set's files
have a manifest as input: it counts the files and holds a digest of their contents.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from classlens.cache import CACHE
from classlens.digest import digest_json, write_atomically
from classlens.errors import InputError
from classlens.store.disk_errors import explained_disk_errors
from classlens.store.store import Store


def digest_of_raw(paths: Iterable[str], store: Store) -> str:
    """Return a digest of raw inputs, "" for none; unchanged files are not read.

    By it a scheduler that goes by time stamps sees also that a file was replaced by one with an older time.
    """
    there = [path for path in paths if os.path.isfile(path)]
    with explained_disk_errors(store.root):
        return digest_json(store.digests(there)) if there else ""


@dataclass(frozen=True)
class RawFiles:
    """Raw files of one kind of a data set."""

    paths: list[str]
    digest: str
    """See `digest_of_raw`."""
    manifest: str
    """Path below the working directory. It gets a new time when a content changes, and no other."""


def list_raw(name: str, paths: Sequence[str], store: Store) -> RawFiles:
    """Look over raw files and write their manifest; unchanged files are not read.

    Raises:
        InputError: files are missing or may not be read, or the manifest may not be written.
    """
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        more = f" and {len(missing) - 1:,} more of {len(paths):,}" if len(missing) > 1 else ""
        raise InputError(f"{missing[0]}{more}: there is no such file; restore it, or take it out of the data set")
    # In a folder of its own: Snakemake looks over a folder once, and misses what is written there afterwards. Other
    # files have another manifest: a look with another config leaves that of a run under way alone.
    digest, folder = digest_of_raw(paths, store), CACHE / "raw" / f"{name}-{digest_json(list(paths))[:12]}"
    text, manifest = f"{len(paths):,} files\n{digest}\n", folder / "manifest.txt"
    with explained_disk_errors(store.root, folder):
        before = manifest.read_text() if manifest.is_file() else None
        if before != text:
            write_atomically(manifest, text)
        if before is None:
            # Nothing is known of a change: as old as what it stands for, or all would look out of date.
            newest = max((os.stat(path).st_mtime_ns for path in paths), default=0)
            os.utime(manifest, ns=(newest, newest))
    return RawFiles(list(paths), digest, str(manifest))
