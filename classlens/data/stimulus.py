"""Stimuli: which images a data set gives, in which split, and the table that lists them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
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
    numbers = {split: count() for split in SPLITS}
    write_rows(
        path,
        COLUMNS,
        (
            (item.split, next(numbers[item.split]), item.class_index, item.class_id, item.class_name, item.file, digest)
            for item, digest in zip(stimuli, digests, strict=True)
        ),
    )


def read_stimuli(path: Path | str, split: str) -> list[Listed]:
    """Return the rows of one split of stimuli.csv, in order."""
    return [
        Listed(split, int(row["class_index"]), row["class_id"], row["file"], row["sha256"])
        for row in read_rows(path)
        if row["split"] == split
    ]


def class_names(stimuli: str) -> dict[int, str]:
    """Return the names of the classes that a stimuli.csv has images of, by class index."""
    return {int(row["class_index"]): row["class_name"] for row in read_rows(stimuli)}


def write_mask_digests(images: Sequence[Listed], digests: Iterable[str], path: Path | str) -> None:
    """Write masks.csv: the digest of what each evaluation image's mask follows from."""
    files = [item.file for item in images]
    write_rows(path, ("image", "file", "sha256"), zip(range(len(files)), files, digests, strict=True))


def read_mask_digests(path: Path | str) -> list[str]:
    """Return the digests of masks.csv, in the order of the evaluation images."""
    return [row["sha256"] for row in read_rows(path)]


def read_rows(path: Path | str) -> Iterator[dict[str, str]]:
    """Yield the rows of a table that a job wrote, by column."""
    with open(path, newline="") as file:
        yield from csv.DictReader(file)


def write_rows(path: Path | str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
