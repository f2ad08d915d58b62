"""The digits of scikit-learn: which there are, how they are split, and ink as the mask."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from classlens.data.digits import Digits
from classlens.data.mask import CLASS, CONTEXT

DIGITS = Digits(None)
LISTED = DIGITS.stimuli({})
ORIGINAL = load_digits()


def row(item):
    return int(item.file.rpartition("#")[2])


def test_every_digit_is_listed_once_with_its_class_and_every_fifth_of_a_class_held_out():
    assert len(LISTED) == 1797
    assert {row(item): item.class_index for item in LISTED} == dict(enumerate(ORIGINAL.target))
    assert {(item.class_index, item.class_id) for item in LISTED} == {(i, str(i)) for i in range(DIGITS.class_count())}
    assert {item.class_name for item in LISTED if item.class_index == 7} == {"seven"}
    assert [item.class_index for item in LISTED] == sorted(ORIGINAL.target)
    held_out = {row(item) for item in LISTED if item.split == "evaluation"}
    for index in range(10):
        rows = np.flatnonzero(ORIGINAL.target == index)
        assert held_out & set(rows) == set(rows[::5])
    assert {row(item) for item in LISTED if item.split == "training"} == set(range(1797)) - held_out


def test_images_are_bright_ink_on_black_and_ink_is_the_mask():
    assert DIGITS.has_masks
    for item in LISTED[::50]:
        values = ORIGINAL.images[row(item)]
        pixels = np.asarray(DIGITS.image(item.file, DIGITS.digest(item.file)))
        assert pixels.shape == (8, 8, 3)
        assert np.array_equal(pixels[..., 0], np.round(values / 16 * 255))
        assert (pixels == pixels[..., :1]).all()
        assert np.array_equal(DIGITS.mask(item.file, item.class_id), np.where(values >= 8, CLASS, CONTEXT))


def test_all_come_from_one_file_and_digests_tell_them_apart():
    assert len({DIGITS.digest(item.file) for item in LISTED[:300]}) == 300
    assert DIGITS.image_files(LISTED) == DIGITS.mask_files(LISTED)
    (path,) = DIGITS.image_files(LISTED)
    assert Path(path).is_file()
