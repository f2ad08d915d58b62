"""The table of all measures of quality, with numbers worked out by hand."""

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from classlens.measures.explanation_quality import explanation_quality, rank_correlation
from classlens.statistics.resampling import Resampling

RESAMPLING = Resampling(resamples=199, confidence=0.9, seed=0)


def write_right(path, negative, positive, **attributes):
    with h5py.File(path, "w") as file:
        file["negative"], file["positive"] = np.array(negative, np.float32), np.array(positive, np.float32)
        file.attrs.update(attributes)
    return str(path)


@pytest.fixture
def table(tmp_path):
    random = np.random.default_rng(0)
    removed = {"n_removed": np.array([0, 2, 4], np.int32)}
    tokens = [
        write_right(tmp_path / "a.h5", [[1, 1, 1], [1, 1, 0]], [[1, 0, 0], [1, 0, 0]], **removed),
        write_right(tmp_path / "b.h5", [[1, 1, 1], [1, 0, 0]], [[1, 1, 0], [1, 0, 0]], **removed),
    ]
    pixels = [
        write_right(tmp_path / f"{name}_pixels.h5", np.ones((2, 10)), np.eye(2, 10)[[0, 0]]) for name in ("a", "b")
    ]
    maps = random.normal(size=(2, 4, 9)).astype(np.float32)  # of four images; of the intact model and the control
    with h5py.File(tmp_path / "intact.h5", "w") as file:
        file["importance"] = maps[0]
    with h5py.File(tmp_path / "randomised.h5", "w") as file:
        file["images"], file["blocks"] = [0, 2, 3], [1, 2]
        flat = np.zeros((3, 9), np.float32)
        file["cascade"] = np.stack(
            [maps[0][[0, 2, 3]] * 3 + 1, np.where([[True], [True], [False]], flat, -maps[0, 3])], 1
        )
        file["control"] = maps[1][[0, 2, 3]]
    scores = pd.DataFrame(
        {"method": ["a"], "score": ["iou"], "images": [2], "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6}
    )
    scores.to_csv(tmp_path / "scores.csv", index=False)
    explanation_quality(
        tokens,
        pixels,
        [str(tmp_path / "scores.csv")],
        [str(tmp_path / "intact.h5")],
        [str(tmp_path / "randomised.h5")],
        str(tmp_path / "table.csv"),
        methods=["a", "b"],
        randomised_methods=["a"],
        resampling=RESAMPLING,
    )
    return pd.read_csv(tmp_path / "table.csv"), maps


def test_removal(table):
    rows = table[0].set_index(["method", "measure", "part"])["value"]
    # Trapezoids over 0, 1/2, 1: (1, 1, 1) has 1, (1, 1, 0) has 0.75, (1, 0, 0) has 0.25.
    assert rows["a", "tokens", "negative"] == pytest.approx(0.875)
    assert rows["a", "tokens", "positive"] == pytest.approx(0.25)
    assert rows["a", "tokens", "gap"] == pytest.approx(0.625)
    assert rows["b", "tokens", "gap"] == pytest.approx(0.125)
    assert rows["a", "tokens", "behind_best"] == 0
    assert rows["b", "tokens", "behind_best"] == pytest.approx(0.5)
    # In % x share: 90 where the curve never falls, 5 where nothing is left after the first step.
    assert rows["a", "pixels", "negative"] == pytest.approx(90)
    assert rows["a", "pixels", "positive"] == pytest.approx(5)
    assert rows["b", "pixels", "behind_best"] == 0


def test_intervals_of_differences_are_paired(table):
    row = table[0].set_index(["method", "measure", "part"]).loc[("b", "tokens", "behind_best")]
    # Per image the differences are 0.5 and 0.5, so nothing varies.
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(0.5), pytest.approx(0.5))


def test_randomisation_and_scores(table):
    numbers, maps = table
    rows = numbers[numbers["measure"] == "randomisation"]
    assert rows["blocks_reset"].tolist()[:2] == [1, 2]
    assert rows["part"].tolist() == ["cascade", "cascade", "control"]
    assert rows["value"].tolist()[:2] == [pytest.approx(1), pytest.approx(-1)]
    assert rows["images"].tolist() == [3, 1, 3]  # two maps of equal numbers have no ranks
    expected = np.mean([spearmanr(maps[0, image], maps[1, image]).statistic for image in (0, 2, 3)])
    assert rows["value"].iloc[-1] == pytest.approx(expected, abs=1e-5)
    score = numbers[numbers["measure"] == "segmentation"].iloc[0]
    assert (score["part"], score["value"], score["ci_low"], score["ci_high"]) == ("iou", 0.5, 0.4, 0.6)


def test_rank_correlation_has_mean_ranks_of_equals():
    first, second = np.array([[1.0, 1, 2, 3]]), np.array([[4.0, 2, 2, 9]])
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first[0], second[0]).statistic)
