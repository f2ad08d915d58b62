"""Labels of tokens: by the majority of their pixels, and as the published code takes them."""

from collections import Counter

import h5py
import numpy as np
import pytest
from conftest import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classlens.data.geometry import Geometry
from classlens.data.labels import corner, majority, write_token_labels
from classlens.data.listing import list_stimuli
from classlens.data.pixels import write_masks
from classlens.data.raw import open_raw
from classlens.data.stimulus import read_stimuli

CONTEXT, CLASS, IGNORE = 0, 1, 2
VALUES = st.integers(0, 2)
CHOICE = {"per_class": 5, "train_per_class": 0, "exclude_classes": [], "too_few": "error", "masks": None}


@st.composite
def masks_and_grid(draw):
    count, rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    height, width = rows * draw(st.integers(1, 4)), columns * draw(st.integers(1, 4))
    return draw(arrays(np.uint8, (count, height, width), elements=VALUES)), (rows, columns)


def naive(mask, grid):
    """Count pixel by pixel; return label and share of each token."""
    height, width = len(mask) // grid[0], len(mask[0]) // grid[1]
    labels, shares = [], []
    for row in range(grid[0]):
        for column in range(grid[1]):
            pixels = Counter()
            for y in range(row * height, (row + 1) * height):
                for x in range(column * width, (column + 1) * width):
                    pixels[int(mask[y][x])] += 1
            if 2 * pixels[CLASS] >= height * width:
                labels.append(1)
            elif 2 * pixels[IGNORE] > height * width:
                labels.append(-1)
            else:
                labels.append(0)
            shares.append(pixels[CLASS] / (height * width))
    return labels, shares


@settings(deadline=None, max_examples=200)
@given(masks_and_grid())
def test_majority_agrees_with_a_count_pixel_by_pixel(case):
    masks, grid = case
    label, fraction = majority(masks, grid)
    assert (label.dtype, fraction.dtype) == (np.int8, np.float32)
    for i, mask in enumerate(masks):
        labels, shares = naive(mask, grid)
        assert label[i].tolist() == labels
        assert fraction[i] == pytest.approx(shares)


@pytest.mark.parametrize(
    ("pixels", "label", "share"),
    [
        ([1, 1, 0, 0], 1, 0.5),
        ([1, 0, 0, 0], 0, 0.25),
        ([1, 1, 2, 2], 1, 0.5),
        ([2, 2, 0, 0], 0, 0.0),
        ([2, 2, 1, 0], 0, 0.25),
        ([2, 2, 2, 1], -1, 0.25),
        ([2, 2, 2, 2], -1, 0.0),
    ],
)
def test_ties_go_to_the_class_and_against_the_ignore_label(pixels, label, share):
    found, fraction = majority(np.array(pixels, np.uint8).reshape(1, 2, 2), (1, 1))
    assert (found.tolist(), fraction.tolist()) == ([[label]], [[share]])


def test_tokens_run_along_rows():
    mask = np.zeros((1, 4, 6), np.uint8)
    mask[0, :2, 4:] = CLASS
    assert majority(mask, (2, 3))[0].tolist() == [[0, 0, 1, 0, 0, 0]]
    assert corner(mask[0], (2, 3)).tolist() == [0, 0, 1, 0, 0, 0]


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


def test_corner_counts_ignored_pixels_as_context():
    assert corner(np.full((4, 4), IGNORE, np.uint8), (2, 2)).tolist() == [0, 0, 0, 0]


@pytest.fixture(scope="module")
def golden_masks(tmp_path_factory):
    """Stimuli, raw access and mask file of the golden images."""
    folder, root = tmp_path_factory.mktemp("masks"), str(GOLDEN / "imagenet_s")
    list_stimuli("imagenet_s", root, CHOICE, folder / "stimuli.csv", 2)
    stimuli, raw = read_stimuli(folder / "stimuli.csv", "evaluation"), open_raw("imagenet_s", root)
    digests = [raw.mask_digest(item.file, item.class_id) for item in stimuli]
    write_masks(stimuli, digests, raw, Geometry(224, "squash", 1.0, "bilinear"), folder / "masks.h5", 2)
    return stimuli, raw, folder / "masks.h5"


def test_golden_corner_labels(golden_masks, golden, tmp_path):
    stimuli, raw, masks = golden_masks
    write_token_labels(
        masks,
        tmp_path / "labels.h5",
        grid=(7, 7),
        rows=30,
        original=lambda i: raw.mask(stimuli[i].file, stimuli[i].class_id),
    )
    with h5py.File(tmp_path / "labels.h5") as file, h5py.File(masks) as mask_file:
        assert np.array_equal(file["label"], golden["token_label/corner"])
        # The share of class pixels is that of the moved mask in both modes.
        assert np.array_equal(file["class_fraction"], majority(mask_file["mask"][:], (7, 7))[1])


def test_golden_majority_labels(golden_masks, tmp_path):
    write_token_labels(golden_masks[2], tmp_path / "labels.h5", grid=(7, 7), rows=30)
    with h5py.File(tmp_path / "labels.h5") as file, h5py.File(golden_masks[2]) as masks:
        for i, mask in enumerate(masks["mask"][:4]):
            labels, shares = naive(mask.tolist(), (7, 7))
            assert file["label"][i].tolist() == labels
            assert file["class_fraction"][i] == pytest.approx(shares)


def test_files_follow_the_contract(golden_masks, tmp_path):
    for name in ("one.h5", "two.h5"):
        write_token_labels(golden_masks[2], tmp_path / name, grid=(7, 7), rows=30)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    with h5py.File(tmp_path / "one.h5") as file:
        assert set(file) == {"label", "class_fraction"}
        label, fraction = file["label"], file["class_fraction"]
        assert (label.shape, label.dtype) == ((30, 49), np.int8)
        assert (fraction.shape, fraction.dtype) == ((30, 49), np.float32)
        assert dict(label.attrs) == {"description": "1 class, 0 context, -1 ignore", "unit": "label"}
        assert dict(fraction.attrs) == {"description": "share of class pixels among the token's pixels", "unit": "1"}


@pytest.mark.parametrize("count", [1, 512, 1100])
def test_originals_are_asked_for_by_the_image_s_number(tmp_path, count):
    with h5py.File(tmp_path / "masks.h5", "w") as file:
        file["mask"] = np.zeros((count, 3, 4), np.uint8)

    def bits(i):
        return np.array([[i >> (4 * row + column) & 1 for column in range(4)] for row in range(3)], np.uint8)

    write_token_labels(tmp_path / "masks.h5", tmp_path / "labels.h5", grid=(3, 4), rows=count, original=bits)
    with h5py.File(tmp_path / "labels.h5") as file:
        assert (file["label"][:] @ (1 << np.arange(12))).tolist() == list(range(count))
