"""A vocabulary for the words of heads: directions of words in the space that a model's head reads (docs/method.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.hdf5 import describe
from classlens.sources.find import load
from classlens.sources.texts import Templates, pulled, tower_of


def write_vocabulary(
    files: Sequence[str],
    words: str,
    vocabulary: str,
    *,
    templates: Templates,
    published: Sequence[str],
    brought: str,
    tower: str = "",
) -> None:
    """Write the directions of words, as the text tower of a model has them.

    Args:
        files: of model and tower; nothing where a library or a hub has them.
        words: file with a word or sentence in each line; empty ones and those that begin with # are none.
        vocabulary: the file to write: word (M), direction (M, R), see `classlens.sources.texts.pulled`.
        templates: see `classlens.sources.texts.TextTower.directions`.
        published: SOURCEs that a library or a hub has, so that they are part of the key.
        brought: SOURCE of the model.
        tower: of the text tower, if it is another.

    Raises:
        InputError: there are no words; otherwise as `load`, `tower_of`, `TextTower.directions` and `pulled`.
    """
    lines = (line.strip() for line in Path(words).read_text(encoding="utf-8").splitlines())
    listed = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not listed:
        raise InputError(f"words.vocabulary: {words} has no words; write one in each line")
    directions, _ = pulled(load(brought), tower_of(tower or brought).directions(listed, templates))
    with h5py.File(vocabulary, "w") as file:
        describe(file.create_dataset("word", data=listed, dtype=h5py.string_dtype()), "words")
        text = "their directions in what the model's head reads"
        describe(file.create_dataset("direction", data=directions.float().cpu().numpy()), text)
