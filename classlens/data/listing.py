"""List a data set's images and masks with the digests of their raw contents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classlens.data.raw import open_raw
from classlens.data.select import select
from classlens.data.stimulus import read_stimuli, write_mask_digests, write_stimuli
from classlens.data.threads import in_order


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
    listed = in_order(lambda item: raw.digest(item.file), stimuli, threads, "listing")
    write_stimuli(stimuli, (digest for _, digest in listed), path)


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
    listed = in_order(lambda item: raw.mask_digest(item.file, item.class_id), images, threads, "listing masks")
    write_mask_digests(images, (digest for _, digest in listed), path)
