"""List a data set's images and masks with the digests of their raw contents."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from classlens.data.raw import open_raw
from classlens.data.select import select
from classlens.data.stimulus import Listed, Stimulus, read_stimuli, write_mask_digests, write_stimuli
from classlens.progress import Progress


def list_stimuli(
    kind: str, root: str | None, selection: Mapping[str, Any], path: Path | str, threads: int, masks: str | None = None
) -> None:
    """Select a data set's images, digest their raw contents in parallel, and write stimuli.csv.

    Args:
        kind: of data set.
        root, masks: its folders.
        selection: the keys of the data set's config that choose images.
        path: the table to write.
        threads: files that are read at a time.
    """
    stimuli = select({"kind": kind, "root": root, "masks": masks, **selection})
    raw = open_raw(kind, root, masks)
    with Progress(len(stimuli), "listing") as progress, ThreadPoolExecutor(threads) as pool:

        def digest(item: Stimulus) -> str:
            found = raw.digest(item.file)
            progress.advance()
            return found

        write_stimuli(stimuli, pool.map(digest, stimuli), path)


def list_masks(
    kind: str, root: str | None, stimuli: Path | str, path: Path | str, threads: int, masks: str | None = None
) -> None:
    """Digest what the masks of a data set's evaluation images follow from, in parallel, and write masks.csv.

    Args:
        kind: of data set.
        root, masks: its folders.
        stimuli: stimuli.csv.
        path: the table to write.
        threads: files that are read at a time.

    Raises:
        InputError: an image has no mask.
    """
    images = read_stimuli(stimuli, "evaluation")
    raw = open_raw(kind, root, masks)
    with Progress(len(images), "listing masks") as progress, ThreadPoolExecutor(threads) as pool:

        def digest(item: Listed) -> str:
            found = raw.mask_digest(item.file, item.class_id)
            progress.advance()
            return found

        write_mask_digests(images, pool.map(digest, images), path)
