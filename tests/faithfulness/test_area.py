"""Areas under removal curves."""

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classlens.measures.faithfulness_auc import area, area_as_published, faithfulness_auc
from classlens.statistics.resampling import Resampling

RESAMPLING = Resampling(199, 0.9, 0)
ACCURACIES = st.lists(st.floats(0, 1), min_size=2, max_size=60)


def test_area_of_known_curves():
    removed = [0, 10, 40, 48]
    assert area(removed, np.full((3, 4), 0.7)) == pytest.approx([0.7] * 3)
    assert area(removed, 1 - np.array(removed) / 48) == pytest.approx(0.5)
    assert area([0], np.array([0.4])) == 0.4


@settings(max_examples=20, deadline=None)
@given(ACCURACIES)
def test_published_area(accuracies):
    """The sum over kept tokens as the published code writes it; a curve starts with all P tokens."""
    kept = accuracies[1:]
    tokens = len(accuracies)
    expected = sum(kept) / (max(kept) * tokens) if max(kept) > 0 else float("nan")
    found = area_as_published(range(tokens), np.array(accuracies), tokens)
    assert found == pytest.approx(expected, nan_ok=True)


def test_published_area_interpolates():
    # P = 5 with n = 5, 3, 1 tried: accuracies at n = 4 and 2 lie half-way.
    assert area_as_published([0, 2, 4], np.array([1.0, 0.8, 0.4]), 5) == pytest.approx(
        (0.9 + 0.8 + 0.6 + 0.4) / (0.9 * 5)
    )
    assert np.isnan(area_as_published([0], np.array([1.0]), 1))


def test_table(tmp_path):
    random = np.random.default_rng(0)
    files = {}
    for method, level in (("good", 0.8), ("bad", 0.4), ("never", 0.0)):
        files[method] = tmp_path / f"{method}.h5"
        with h5py.File(files[method], "w") as file:
            file.attrs["n_removed"] = np.arange(9)
            file.attrs["image_tokens"] = 9
            file["negative"] = (random.random((200, 9)) < level).astype(np.float32)
            file["positive"] = (random.random((200, 9)) < level / 2).astype(np.float32)
    faithfulness_auc(list(files.values()), tmp_path / "table.csv", methods=list(files), resampling=RESAMPLING)
    table = pd.read_csv(tmp_path / "table.csv").set_index(["method", "direction"])
    assert (table["images"] == 200).all()
    good = table.loc[("good", "negative")]
    with h5py.File(files["good"]) as file:
        accuracy = file["negative"][:].mean(0)
    assert good["auc"] == pytest.approx(area(range(9), accuracy), abs=1e-5)
    assert good["unperturbed_accuracy"] == pytest.approx(accuracy[0], abs=1e-5)
    assert good["auc_ratio"] == pytest.approx(good["auc"] / accuracy[0], abs=1e-4)
    assert good["auc_published"] == pytest.approx(area_as_published(range(9), accuracy, 9), abs=1e-5)
    assert good["ci_low"] < good["auc"] < good["ci_high"]
    # 200 images of which 80 % are right at each of nine steps: the area is known to a few percent.
    assert 0.005 < good["ci_high"] - good["ci_low"] < 0.05
    never = table.loc[("never", "positive")]
    assert never["auc"] == 0
    assert np.isnan(never["auc_ratio"])
    assert np.isnan(never["auc_published"])


def test_without_the_whole_image_there_is_no_ratio(tmp_path):
    with h5py.File(tmp_path / "right.h5", "w") as file:
        file.attrs["n_removed"] = np.array([4, 8])
        file.attrs["image_tokens"] = 9
        file["negative"] = file["positive"] = np.ones((3, 2), np.float32)
    files = [tmp_path / "right.h5"]
    faithfulness_auc(files, tmp_path / "table.csv", methods=["gradient"], resampling=RESAMPLING)
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["auc"].tolist() == [1, 1]
    assert table[["unperturbed_accuracy", "auc_ratio"]].isna().all(axis=None)
