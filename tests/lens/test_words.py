"""Words of heads from Python: those of the workflow, of any directions, and what they are for."""

import numpy as np
import pandas as pd
import pytest
from refusals import refused
from tiny_transformers import random_images, transformer

from classlens import Lens

NAMES = ["cat", "dog, hound", "hen", "pig", "cow", "owl", "ape"]


@pytest.fixture(scope="module")
def lens():
    return Lens(transformer("LayerScale"), NAMES, batch_size=4)


def test_classes_are_words(lens):
    view = lens(random_images(9))
    words = view.words(draws=199)
    assert words.columns.tolist() == [
        *("block", "head", "place", "word", "share", "cumulative", "null", "p_value", "p_corrected", "name"),
    ]
    assert set(words["word"]) <= set(NAMES)
    first = words[words["place"] == 1]
    assert first[["block", "head"]].to_numpy().tolist() == [[b, h] for b in range(2) for h in range(3)]
    rows = dict(zip(NAMES, 3 * lens.model.head.weight, strict=True))
    pd.testing.assert_frame_equal(view.words(rows, draws=199), words)


def test_other_directions_are_words(lens):
    view = lens(random_images(9))
    directions = {f"axis {place}": row for place, row in enumerate(np.eye(24))}
    words = view.words(directions, per_head=2, draws=99)
    assert words["word"].str.startswith("axis").all()
    assert words["place"].max() == 2
    refused("direction of 'short' is no 24 numbers", lambda: view.words({"short": np.ones(3)}))
    refused("a vocabulary maps words to directions", lambda: view.words(["water"]))


def test_heads_of_a_word_can_be_silenced(lens):
    view = lens(images := random_images(9))
    words = view.words(draws=99)
    word = words["word"].iloc[0]
    heads = view.heads_of(word, least=0.1)
    expected = words[(words["word"] == word) & (words["share"] >= 0.1)]
    assert heads == list(map(tuple, expected[["block", "head"]].to_numpy().tolist()))
    with lens.ablate(heads=heads):
        refused("words are of the model itself", lens(images).words)
    refused("no class of the model is called 'dodo'", lambda: view.heads_of("dodo"))
    message = "no word 'dodo' in the vocabulary; take one of its 1 words"
    refused(message, lambda: view.heads_of("dodo", vocabulary={"axis": np.eye(24)[0]}))
    assert view.heads_of("hound", 0) == view.heads_of(1, 0) == view.heads_of("dog, hound", 0)


def test_heads_are_silenced_by_their_word(lens):
    images = random_images(9)
    view = lens(images)
    shares = view.words(draws=1).groupby("word")["share"].max()
    word, weakest = shares.idxmax(), shares.idxmin()
    with lens.ablate(heads=view.heads_of(word, 0.1), value=1.0):
        expected = lens(images).output
    with lens.ablate(words=word, view=view, least=0.1, value=1.0):
        assert np.array_equal(lens(images).output, expected)
    assert not np.allclose(expected, view.output)
    vocabulary = {"x": np.eye(24)[0], "y": np.eye(24)[1]}
    with lens.ablate(heads=view.heads_of("y", 0, vocabulary)):
        expected = lens(images).output
    with lens.ablate(words="y", view=view, least=0, vocabulary=vocabulary):
        assert np.array_equal(lens(images).output, expected)
    # Between the two shares, the larger one's word alone has heads.
    between = (shares.nlargest(2).sum()) / 2
    said = rf"no head has the word '{weakest}' with a share of .*; words that have heads, and how many: '{word}' \(1\)$"
    refused(said, lambda: lens.ablate(words=weakest, view=view, least=between))
    refused("how many: none", lambda: lens.ablate(words=word, view=view, least=1.1))


def test_words_to_silence_need_pictures(lens):
    view = lens(random_images(2))
    for asked in ({"words": "cat"}, {"heads": [(0, 0)], "view": view}, {"tokens": [0], "block": 0, "view": view}):
        refused("words are of heads on pictures", lambda asked=asked: lens.ablate(**asked))
    refused("ablate takes heads, words or tokens", lambda: lens.ablate(words="cat", view=view, heads=[(0, 0)]))


def test_one_image_and_heads_that_are_not_linear_have_no_words(lens):
    refused("look at two images at least", lens(random_images(1)).words)
    refused("attention pool has an MLP", Lens(transformer("attention pool"))(random_images(2)).words)
