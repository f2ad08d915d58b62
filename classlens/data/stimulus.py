"""Stimuli: which images a data set gives, in which split, and the table that lists them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("evaluation", "training")
COLUMNS = ("split", "image", "class_index", "class_id", "class_name", "file", "sha256")


@dataclass(frozen=True)
class Stimulus:
    """One image. Paths are relative to the data set's root, so that they are the same for every user."""

    split: str
    """"evaluation" or "training"."""
    class_index: int
    class_id: str
    class_name: str
    file: str


@dataclass(frozen=True)
class Listed:
    """A row of stimuli.csv."""

    split: str
    class_index: int
    class_id: str
    file: str
    sha256: str


def write_stimuli(stimuli: Sequence[Stimulus], digests: Iterable[str], path: Path | str) -> None:
    """Write stimuli.csv; images count from 0 within their split.

    Args:
        stimuli: the images, evaluation split first.
        digests: SHA-256 of each image's raw content.
        path: the table to write.
    """
    counts = dict.fromkeys(SPLITS, 0)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for item, digest in zip(stimuli, digests, strict=True):
            image = counts[item.split]
            counts[item.split] += 1
            writer.writerow((item.split, image, item.class_index, item.class_id, item.class_name, item.file, digest))


def read_stimuli(path: Path | str, split: str) -> list[Listed]:
    """Return the rows of one split of stimuli.csv, in order."""
    with open(path, newline="") as file:
        return [
            Listed(row["split"], int(row["class_index"]), row["class_id"], row["file"], row["sha256"])
            for row in csv.DictReader(file)
            if row["split"] == split
        ]


def class_names(stimuli: str) -> dict[int, str]:
    """Return the names of the classes that a stimuli.csv has images of, by class index."""
    with open(stimuli, newline="") as file:
        return {int(row["class_index"]): row["class_name"] for row in csv.DictReader(file)}


def write_mask_digests(images: Sequence[Listed], digests: Iterable[str], path: Path | str) -> None:
    """Write masks.csv: the digest of what each evaluation image's mask follows from."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "file", "sha256"))
        writer.writerows(
            (image, item.file, digest) for image, (item, digest) in enumerate(zip(images, digests, strict=True))
        )


def read_mask_digests(path: Path | str) -> list[str]:
    """Return the digests of masks.csv, in the order of the evaluation images."""
    with open(path, newline="") as file:
        return [row["sha256"] for row in csv.DictReader(file)]
