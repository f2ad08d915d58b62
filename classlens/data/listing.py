"""List a data set's images and masks with the digests of their raw contents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from classlens.data.order import as_stored
from classlens.data.select import digest_of_choice, few_training_images, images_per_class, select
from classlens.data.source import Place, Source
from classlens.data.stimulus import Listed, Stimulus, read_stimuli, write_mask_digests, write_stimuli
from classlens.data.threads import in_order
from classlens.errors import InputError

Item = TypeVar("Item", Stimulus, Listed)

log = logging.getLogger(__name__)


def list_stimuli(
    *,
    raw: Sequence[str],
    table: str,
    source: type[Source],
    selection: Mapping[str, Any],
    threads: int,
    chosen: str | None = None,
    **place: Unpack[Place],
) -> None:
    """Select a data set's images, digest their raw contents in parallel, and write stimuli.csv.

    Args:
        raw: the data set's files, which the workflow watches.
        table: the table to write.
        source: kind of data set.
        selection: the keys of the data set's config that choose images.
        threads: images that are read at a time.
        chosen: digest of what they must choose, if given, see `digest_of_choice`: files tell neither their names nor
            their folders.
        place: see `Place`.

    Raises:
        InputError: other images are chosen than when the job was planned.
    """
    images = source(**place)
    stimuli = select(images, selection)
    if chosen not in (None, digest_of_choice(stimuli)):
        raise InputError(f"datasets.{images.name}: images or classes changed since the run was planned; run again")
    for note in images.notes():
        log.info("datasets.%s: %s", images.name, note)
    log.info("datasets.%s: %s", images.name, images_per_class(images, stimuli, selection))
    if warning := few_training_images(images, stimuli, selection):
        log.warning("%s", warning)
    write_stimuli(stimuli, _digests(lambda item: images.digest(item.file), stimuli, threads, "listing"), table)


def list_masks(
    *, stimuli: str, raw: Sequence[str], table: str, source: type[Source], threads: int, **place: Unpack[Place]
) -> None:
    """Digest what the masks of a data set's evaluation images follow from, in parallel, and write masks.csv.

    Args:
        stimuli: stimuli.csv.
        raw: the masks' files, which the workflow watches.
        table: the table to write.
        source: kind of data set.
        threads: masks that are read at a time.
        place: see `Place`.

    Raises:
        InputError: an image has no mask.
    """
    images, masks = read_stimuli(stimuli, "evaluation"), source(**place)
    digests = _digests(lambda item: masks.mask_digest(item.file, item.class_id), images, threads, "listing masks")
    write_mask_digests(images, digests, table)


def _digests(digest: Callable[[Item], str], items: Sequence[Item], threads: int, what: str) -> list[str]:
    """Return the digest of each item, found in the order in which they are stored."""
    order = as_stored([item.file for item in items])
    found = dict(in_order(lambda index: digest(items[index]), order, threads, what))
    return [found[index] for index in range(len(items))]
