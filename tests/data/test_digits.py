"""The digits of scikit-learn: which there are, how they are split, and ink as the mask."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from classlens.data.digits import Digits
from classlens.data.mask import CLASS, CONTEXT
from classlens.errors import InputError

DIGITS = Digits(None)


@pytest.fixture(scope="module")
def original():
    return load_digits()


@pytest.fixture(scope="module")
def listed():
    return DIGITS.stimuli({})


def row(item):
    return int(item.file.rpartition("#")[2])


def test_every_digit_is_listed_once_with_its_class(listed, original):
    assert len(listed) == 1797
    assert {row(item): item.class_index for item in listed} == dict(enumerate(original.target))
    assert {(item.class_index, item.class_id) for item in listed} == {(i, str(i)) for i in range(DIGITS.class_count())}
    assert {item.class_name for item in listed if item.class_index == 7} == {"seven"}
    assert [item.class_index for item in listed] == sorted(original.target)


def test_every_fifth_digit_of_a_class_is_held_out(listed, original):
    held_out = {row(item) for item in listed if item.split == "evaluation"}
    for index in range(10):
        rows = np.flatnonzero(original.target == index)
        assert held_out & set(rows) == set(rows[::5])
    assert {row(item) for item in listed if item.split == "training"} == set(range(1797)) - held_out


def test_images_are_bright_ink_on_black(listed, original):
    for item in listed[::97]:
        pixels = np.asarray(DIGITS.image(item.file, DIGITS.digest(item.file)))
        assert pixels.shape == (8, 8, 3)
        assert np.array_equal(pixels[..., 0], np.round(original.images[row(item)] / 16 * 255))
        assert (pixels == pixels[..., :1]).all()


def test_ink_is_the_mask(listed, original):
    assert DIGITS.has_masks
    for item in listed:
        expected = np.where(original.images[row(item)] >= 8, CLASS, CONTEXT)
        assert np.array_equal(DIGITS.mask(item.file, item.class_id), expected)
        assert {CONTEXT, CLASS} == set(expected.flat)


def test_digests_tell_digits_apart(listed):
    assert len({DIGITS.digest(item.file) for item in listed[:300]}) == 300
    with pytest.raises(InputError, match=r"digits\.csv\.gz#0 changed"):
        DIGITS.image("digits.csv.gz#0", DIGITS.digest("digits.csv.gz#1"))


def test_all_digits_come_from_one_file(listed):
    assert DIGITS.image_files(listed) == DIGITS.mask_files(listed)
    (path,) = DIGITS.image_files(listed)
    assert Path(path).is_file()
