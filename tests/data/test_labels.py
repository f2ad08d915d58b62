"""Labels of tokens: by the majority of their pixels, and as the published code takes them."""

from collections import Counter

import h5py
import numpy as np
import pytest
from conftest import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_data import Made

from classlens.data.geometry import Geometry
from classlens.data.imagenet_s import ImageNetS
from classlens.data.labels import corner, majority, write_token_labels
from classlens.data.mask import CLASS, IGNORE
from classlens.data.stimulus import Listed, Stimulus, write_mask_digests, write_stimuli

VALUES = st.integers(0, 2)


@st.composite
def masks_and_grid(draw):
    count, rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    height, width = rows * draw(st.integers(1, 4)), columns * draw(st.integers(1, 4))
    return draw(arrays(np.uint8, (count, height, width), elements=VALUES)), (rows, columns)


def naive(mask, grid):
    """Count pixel by pixel; return label and share of each token. Ties go to the class and against ignoring."""
    height, width = len(mask) // grid[0], len(mask[0]) // grid[1]
    labels, shares = [], []
    for row in range(grid[0]):
        for column in range(grid[1]):
            inside = mask[row * height : (row + 1) * height, column * width : (column + 1) * width]
            pixels = Counter(inside.ravel().tolist())
            if 2 * pixels[CLASS] >= height * width:
                labels.append(1)
            elif 2 * pixels[IGNORE] > height * width:
                labels.append(-1)
            else:
                labels.append(0)
            shares.append(pixels[CLASS] / (height * width))
    return labels, shares


def require_majority(masks, grid):
    label, fraction = majority(masks, grid)
    assert (label.dtype, fraction.dtype) == (np.int8, np.float32)
    for i, mask in enumerate(masks):
        labels, shares = naive(mask, grid)
        assert label[i].tolist() == labels
        assert fraction[i] == pytest.approx(shares)


@settings(deadline=None, max_examples=60)
@given(masks_and_grid())
def test_majority_agrees_with_a_count_pixel_by_pixel(case):
    require_majority(*case)


def test_every_tie_of_four_pixels_is_as_counted():
    every_mask = np.stack(np.meshgrid(*[np.arange(3, dtype=np.uint8)] * 4), -1).reshape(-1, 2, 2)
    require_majority(every_mask, (1, 1))


@settings(deadline=None, max_examples=50)
@given(
    mask=st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda s: arrays(np.uint8, s, elements=VALUES)),
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_corner_takes_the_pixel_at_the_floor(mask, grid):
    height, width = mask.shape
    expected = [
        int(mask[row * height // grid[0], column * width // grid[1]] == CLASS)
        for row in range(grid[0])
        for column in range(grid[1])
    ]
    found = corner(mask, grid)
    assert found.dtype == np.int8
    assert found.tolist() == expected


@pytest.fixture(scope="module")
def golden_files(tmp_path_factory):
    """Arguments of `write_token_labels` for the golden images."""
    made = Made(tmp_path_factory.mktemp("masks"), ImageNetS, GOLDEN / "imagenet_s")
    made.list(per_class=5, train_per_class=0).masks(Geometry(224, "squash", 1.0, "bilinear")).close()
    files = {"stimuli": made.stimuli, "digests": made.digests, "masks": made.out}
    return {**files, "grid": [7, 7], **made.place}


def test_files_of_golden_images_follow_the_contract(golden_files, golden, tmp_path):
    for name, mode in (("one", "majority"), ("two", "majority"), ("corner", "corner")):
        write_token_labels(**golden_files, labels=str(tmp_path / name), mode=mode)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with h5py.File(golden_files["masks"]) as masks:
        expected, shares = majority(masks["mask"][:], (7, 7))
    for name, labels in (("one", expected), ("corner", golden["token_label/corner"])):
        with h5py.File(tmp_path / name) as file:
            assert set(file) == {"label", "class_fraction"}
            label, fraction = file["label"], file["class_fraction"]
            assert (label.shape, label.dtype) == ((30, 49), np.int8)
            assert (fraction.shape, fraction.dtype) == ((30, 49), np.float32)
            assert dict(label.attrs) == {"description": "1 class, 0 context, -1 ignore", "unit": "label"}
            said = {"description": "share of class pixels among the token's pixels", "unit": "1"}
            assert dict(fraction.attrs) == said
            assert np.array_equal(label, labels)
            assert np.array_equal(fraction, shares)  # of the moved mask in both modes


class Bits:
    """A data set whose masks spell the number of their image."""

    def __init__(self, root, mask_root):
        pass

    def mask(self, file, class_id, digest):
        assert (class_id, digest) == ("a", f"digest {file}")
        return (int(file) >> np.arange(12) & 1).astype(np.uint8).reshape(3, 4)


@pytest.mark.parametrize("count", [1, 512, 1100])
def test_masks_are_those_of_their_images(tmp_path, count):
    paths = {name: str(tmp_path / name) for name in ("stimuli", "digests", "masks", "labels")}
    files = [str(i) for i in range(count)]
    write_stimuli([Stimulus("evaluation", 0, "a", "a", file) for file in files], files, paths["stimuli"])
    listed = [Listed("evaluation", 0, "a", file, "") for file in files]
    write_mask_digests(listed, [f"digest {file}" for file in files], paths["digests"])
    with h5py.File(paths["masks"], "w") as file:
        file["mask"] = np.zeros((count, 3, 4), np.uint8)
    write_token_labels(**paths, grid=[3, 4], mode="corner", source=Bits, root=None, mask_root=None)
    with h5py.File(paths["labels"]) as file:
        assert (file["label"][:] @ (1 << np.arange(12))).tolist() == list(range(count))
