"""Class and context tokens, against loops over images and tokens."""

import h5py
import numpy as np
import pandas as pd
import pytest
from layer_files import MODELS, agrees, box_of, extracted, mean, random_labels, tabled, write_labels

from classlens.columns import BOX_COLUMNS, LABELS
from classlens.measures.class_context_change import class_context_change
from classlens.measures.class_vs_context import class_vs_context
from classlens.statistics.correction import corrected
from classlens.statistics.resampling import Resampling

RESAMPLING = Resampling(100, confidence=0.9, seed=6)


def measure_identifiability(model, label, folder, correction="holm"):
    labels = write_labels(folder / "labels.h5", label)
    files = {"layers": model.layers, "labels": labels}
    return tabled(class_vs_context, folder, **files, resampling=RESAMPLING, correction=correction)


def measure_change(model, label, folder):
    labels = write_labels(folder / "labels.h5", label)
    return tabled(class_context_change, folder, layers=model.layers, labels=labels, resampling=RESAMPLING)


def compared(label):
    """Images with tokens of both kinds."""
    return [image for image, row in enumerate(label) if {0, 1} <= set(row.tolist())]


def group_means(model, label, value_at):
    """Mean of a value over the tokens of either kind, (n) each, images without both left out."""
    return {
        name: np.array(
            [
                mean(value_at(image, model.prefix + patch) for patch in range(model.patches) if row[patch] == number)
                for image, row in enumerate(label)
                if image in compared(label)
            ]
        )
        for name, number in LABELS.items()
    }


def compares(row, means):
    agrees(row, means["class"] - means["context"], RESAMPLING, "difference", test="two-sided")
    assert row["images"] == len(means["class"])
    for name, of_images in means.items():
        # Without an image there is no mean.
        expected = mean(of_images) if len(of_images) else np.nan
        assert row[f"{name}_mean"] == pytest.approx(expected, rel=2e-5, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("made", MODELS)
def test_both_tables(tmp_path, made):
    model = extracted(tmp_path, seed=5, **made)
    label = random_labels(5, model.images, model.patches)
    table = measure_identifiability(model, label, tmp_path)
    assert table["block"].tolist() == [0, 1, 2]
    for row in table.to_dict("records"):
        rank = model.rank["residual"][row["block"]]
        compares(row, group_means(model, label, lambda i, t, rank=rank: 1 - rank[i, t] / model.classes))
        for name, number in LABELS.items():
            boxes = [row[f"{name}_{part}"] for part in BOX_COLUMNS]
            chosen = np.argwhere(label[compared(label)] == number)
            scores = [model.classes - rank[compared(label)][i, model.prefix + patch] for i, patch in chosen]
            assert boxes == pytest.approx(np.array(box_of(scores)) / model.classes, rel=2e-5, nan_ok=True)
    table = measure_change(model, label, tmp_path)
    assert table["quantity"].tolist() == ["residual"] * 2 + ["attn"] * 2 + ["mlp"] * 2
    assert table["block"].tolist() == [1, 2] * 3
    for row in table.to_dict("records"):
        here, before = model.logit[row["quantity"]][row["block"]], model.logit["residual"][row["block"] - 1]
        change = here.astype(float) - before
        compares(row, group_means(model, label, lambda i, t, change=change: change[i, t]))


@pytest.mark.parametrize("correction", ["holm", "fdr_bh"])
def test_blocks_are_corrected_together(tmp_path, correction):
    model = extracted(tmp_path, blocks=6, images=12)
    label = random_labels(0, 12, model.patches)
    table = measure_identifiability(model, label, tmp_path, correction)
    assert table["p_value"].nunique() > 2
    expected = corrected(table["p_value"].to_numpy(), correction)
    assert table["p_corrected"].to_numpy() == pytest.approx(expected, rel=2e-5)
    assert table["significant"].tolist() == (expected < 0.1).tolist()


def test_ignored_tokens_belong_to_neither(tmp_path):
    """Values at tokens labelled -1 change nothing, and do not make an image take part."""
    model = extracted(tmp_path, blocks=2)
    label = np.array([[1, 0, -1, -1, -1], [1, 1, -1, -1, -1], [-1] * 5, [0, -1, 0, 0, 0]] + [[0, 1, 1, 0, -1]] * 3)
    tables = [measure_identifiability(model, label, tmp_path), measure_change(model, label, tmp_path)]
    assert all((table["images"] == 4).all() for table in tables)
    left_out = (label == -1) | ~np.isin(np.arange(7), compared(label))[:, None]
    for path in model.layers:
        with h5py.File(path, "r+") as file:
            for site in ("residual", "attn", "mlp"):
                for name, there, before in (("rank", 5, 5), ("logit", 1e6, -1e6)):
                    values = file[f"{site}/{name}"][:]
                    values[:, 1:][left_out], values[:, 0] = there, before
                    file[f"{site}/{name}"][...] = values
    again = [measure_identifiability(model, label, tmp_path), measure_change(model, label, tmp_path)]
    for before, after in zip(tables, again, strict=True):
        pd.testing.assert_frame_equal(before, after)


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_without_an_image_to_compare_rows_are_empty(tmp_path, label):
    model = extracted(tmp_path, blocks=3)
    labels = np.full((7, 5), label)
    for measure, rows in ((measure_identifiability, 3), (measure_change, 6)):
        table = measure(model, labels, tmp_path)
        assert len(table) == rows
        assert (table["images"] == 0).all()
        numbers = table.drop(columns=["images", "block", "quantity", "significant"], errors="ignore")
        assert numbers.isna().all(axis=None)
        assert not table.get("significant", pd.Series([False])).any()


def test_a_model_of_one_block_changes_nothing(tmp_path):
    model = extracted(tmp_path, blocks=1)
    table = measure_change(model, random_labels(0, 7, 5), tmp_path)
    assert table.empty
    assert {"quantity", "block", "difference", "p_value"} <= set(table)
