"""List a data set's images and masks with the digests of their raw contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from classlens.data.select import select
from classlens.data.source import Source
from classlens.data.stimulus import read_stimuli, write_mask_digests, write_stimuli
from classlens.data.threads import in_order


def list_stimuli(
    *,
    raw: Sequence[str],
    table: str,
    source: type[Source],
    selection: Mapping[str, Any],
    root: str | None,
    mask_root: str | None,
    threads: int,
) -> None:
    """Select a data set's images, digest their raw contents in parallel, and write stimuli.csv.

    Args:
        raw: the data set's files, which the workflow watches.
        table: the table to write.
        source: kind of data set.
        selection: the keys of the data set's config that choose images.
        root, mask_root: its folders.
        threads: images that are read at a time.
    """
    images = source(root, mask_root)
    stimuli = select(images, selection)
    listed = in_order(lambda item: images.digest(item.file), stimuli, threads, "listing")
    write_stimuli(stimuli, (digest for _, digest in listed), table)


def list_masks(
    *,
    stimuli: str,
    raw: Sequence[str],
    table: str,
    source: type[Source],
    root: str | None,
    mask_root: str | None,
    threads: int,
) -> None:
    """Digest what the masks of a data set's evaluation images follow from, in parallel, and write masks.csv.

    Args:
        stimuli: stimuli.csv.
        raw: the masks' files, which the workflow watches.
        table: the table to write.
        source: kind of data set.
        root, mask_root: its folders.
        threads: masks that are read at a time.

    Raises:
        InputError: an image has no mask.
    """
    images, masks = read_stimuli(stimuli, "evaluation"), source(root, mask_root)
    listed = in_order(lambda item: masks.mask_digest(item.file, item.class_id), images, threads, "listing masks")
    write_mask_digests(images, (digest for _, digest in listed), table)
