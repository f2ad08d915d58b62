"""The digits of scikit-learn: which there are, how they are split, and ink as the mask."""

from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_digits

from classlens.data import digits
from classlens.data.raw import CLASS, CONTEXT, open_raw
from classlens.errors import InputError


@pytest.fixture(scope="module")
def original():
    return load_digits()


@pytest.fixture(scope="module")
def listed():
    return digits.stimuli({}, "digits")


@pytest.fixture
def raw():
    return open_raw("digits", None)


def row(item):
    return int(item.file.rpartition("#")[2])


def of_split(stimuli, split):
    return {row(item) for item in stimuli if item.split == split}


def test_every_digit_is_listed_once_with_its_class(listed, original):
    assert len(listed) == 1797
    assert {row(item): item.class_index for item in listed} == dict(enumerate(original.target))
    assert {(item.class_index, item.class_id) for item in listed} == {(i, str(i)) for i in range(10)}
    assert {item.class_name for item in listed if item.class_index == 7} == {"seven"}
    assert [item.class_index for item in listed] == sorted(original.target)


def test_every_fifth_digit_of_a_class_is_held_out(listed, original):
    held_out = of_split(listed, "evaluation")
    for index in range(10):
        rows = np.flatnonzero(original.target == index)
        assert held_out & set(rows) == set(rows[::5])
    sizes = Counter(item.split for item in listed)
    assert sizes == {"evaluation": sum(-(-n // 5) for n in Counter(original.target).values()), "training": 1433}


def test_held_out_digits_are_not_trained_on(listed):
    evaluation, training = of_split(listed, "evaluation"), of_split(listed, "training")
    assert not evaluation & training
    assert len(evaluation | training) == 1797


def test_images_are_bright_ink_on_black(listed, original, raw):
    for item in listed[::97]:
        pixels = np.asarray(raw.image(item.file, raw.digest(item.file)))
        assert pixels.shape == (8, 8, 3)
        assert np.array_equal(pixels[..., 0], np.round(original.images[row(item)] / 16 * 255))
        assert (pixels == pixels[..., :1]).all()


def test_ink_is_the_mask(listed, original, raw):
    for item in listed:
        expected = np.where(original.images[row(item)] >= 8, CLASS, CONTEXT)
        assert np.array_equal(raw.mask(item.file, item.class_id), expected)
        assert {CONTEXT, CLASS} == set(expected.flat)


def test_digests_tell_digits_apart(listed, raw):
    assert len({raw.digest(item.file) for item in listed[:300]}) == 300


def test_a_digit_with_another_digest_is_refused(listed, raw):
    with pytest.raises(InputError, match=r"digits\.csv\.gz#0 changed"):
        raw.image("digits.csv.gz#0", raw.digest("digits.csv.gz#1"))


def test_scikit_learn_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(digits, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install scikit-learn"):
        digits.source()
