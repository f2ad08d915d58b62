"""Segmentation scores against scikit-learn on maps that are really drawn."""

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, jaccard_score

from classlens.errors import InputError
from classlens.measures.segmentation_scores import SCORES, score_images, segmentation_scores
from classlens.statistics.resampling import Resampling


def drawn(importance, mask, grid):
    """The scores of one image, pixel by pixel."""
    cell = (mask.shape[0] // grid[0], mask.shape[1] // grid[1])
    pixels = np.kron(importance.reshape(grid), np.ones(cell))
    row, column = np.argwhere(pixels == pixels.max())[0]
    counted = mask != 2
    truth, found = mask[counted] == 1, pixels[counted]
    called = found > importance.mean()
    return [
        float(mask[row + cell[0] // 2, column + cell[1] // 2] == 1),
        accuracy_score(truth, called),
        average_precision_score(truth, found),
        jaccard_score(truth, called, zero_division=0),
    ]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([(4, 4), (2, 3), (1, 5)]))
def test_counting_pixels_is_drawing_maps(seed, ties, grid):
    random = np.random.default_rng(seed)
    tokens = grid[0] * grid[1]
    importance = random.integers(-2, 3, (3, tokens)).astype(np.float32) if ties else random.normal(size=(3, tokens))
    masks = random.choice(3, (3, 3 * grid[0], 4 * grid[1]), p=[0.5, 0.3, 0.2]).astype(np.uint8)
    masks[:, 0, 0] = 1
    found = score_images(importance, masks, grid)
    assert found.shape == (3, len(SCORES))
    for scores, of_tokens, mask in zip(found, importance, masks, strict=True):
        assert scores == pytest.approx(drawn(of_tokens, mask, grid))


def test_images_without_the_class_and_edges_that_no_token_sees():
    masks = np.zeros((2, 9, 9), np.uint8)
    masks[1, 0, 0] = 1
    masks[:, 8] = 1
    found = score_images(np.eye(2, 16), masks, (4, 4))
    assert np.isnan(found[0]).all()
    # One class pixel of 64, which the four pixels that are called object miss; it is found with all others.
    assert found[1].tolist() == pytest.approx([0, 59 / 64, 1 / 64, 0])


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)
    masks = random.integers(0, 2, (20, 8, 8)).astype(np.uint8)
    masks[3] = 0
    with h5py.File(tmp_path / "masks.h5", "w") as file:
        file["mask"] = masks
    importance = {"good": masks.reshape(20, 4, 2, 4, 2).sum((2, 4)).reshape(20, 16), "bad": random.random((20, 16))}
    for method, values in importance.items():
        with h5py.File(tmp_path / f"{method}.h5", "w") as file:
            file["importance"] = values.astype(np.float32)
    return tmp_path, masks, importance


def test_table(files):
    folder, masks, importance = files
    explanations = [folder / f"{method}.h5" for method in ("good", "bad")]
    chosen = {"methods": ["good", "bad"], "grid": [4, 4], "resampling": Resampling(199, 0.9, 1)}
    segmentation_scores(folder / "masks.h5", explanations, folder / "table.csv", **chosen)
    table = pd.read_csv(folder / "table.csv")
    assert list(table.columns) == ["method", "score", "images", "mean", "ci_low", "ci_high"]
    assert table["score"].tolist() == [*SCORES, *SCORES]
    assert (table["images"] == 19).all()  # one image has nothing to be found
    for method, values in importance.items():
        expected = np.nanmean(score_images(values.astype(np.float32), masks, (4, 4)), axis=0)
        rows = table[table["method"] == method]
        assert rows["mean"].to_numpy() == pytest.approx(expected, rel=1e-5)
        assert (rows["ci_low"] <= rows["mean"]).all()
        assert (rows["mean"] <= rows["ci_high"]).all()
    means = table.pivot_table(index="score", columns="method", values="mean")
    assert (means["good"] > means["bad"]).all()


def test_no_image_with_the_class(files):
    folder, *_ = files
    with h5py.File(folder / "empty.h5", "w") as file:
        file["mask"] = np.zeros((20, 8, 8), np.uint8)
    chosen = {"methods": ["bad"], "grid": [4, 4], "resampling": Resampling(9, 0.9, 1)}
    segmentation_scores(folder / "empty.h5", [folder / "bad.h5"], folder / "table.csv", **chosen)
    table = pd.read_csv(folder / "table.csv")
    assert table["images"].tolist() == [0] * 4
    assert table[["mean", "ci_low", "ci_high"]].isna().all(axis=None)


@pytest.mark.parametrize(("shape", "grid"), [((2, 16), (4, 5)), ((3, 16), (4, 4))])
def test_what_does_not_fit_is_refused(shape, grid):
    with pytest.raises(InputError, match=r"do not fit a grid of 4 x \d tokens; take masks of the same images"):
        score_images(np.zeros(shape), np.zeros((2, 8, 8), np.uint8), grid)
