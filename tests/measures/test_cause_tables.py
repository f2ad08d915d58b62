"""Tables of causes against plain loops over images."""

import h5py
import numpy as np
import pytest
from layer_files import agrees, extracted, mean, tabled
from scipy.stats import spearmanr

from classlens.ablation.sets import set_names
from classlens.columns import MODEL, TWIN
from classlens.csvfile import read_table
from classlens.figures.head_causes import draw
from classlens.measures.head_causes import head_causes
from classlens.measures.layers import read_layout
from classlens.measures.outlier_norms import norm_thresholds
from classlens.measures.outlier_tokens import outlier_tokens
from classlens.measures.token_causes import REFERENCES, token_causes
from classlens.statistics.resampling import Resampling

DRAWS = Resampling(300, 0.95, 0)
STATISTICS = {"resampling": DRAWS, "correction": "holm"}
N, B, H = 12, 3, 2


def write_heads(path, seed):
    generator = np.random.default_rng(seed)
    direct = generator.normal(size=(N, B, H)) + generator.normal(size=(B, H))
    effect = 0.5 * direct + generator.normal(size=(N, B, H))
    with h5py.File(path, "w") as file:
        file["direct"], file["effect"] = direct.astype(np.float32), effect.astype(np.float32)
        return str(path), file["direct"][:].astype(float), file["effect"][:].astype(float)


def compared_heads(folder, paths):
    agreement = str(folder / "agreement.csv")
    found = tabled(head_causes, folder, effects=paths[0], twin=paths[1:], agreement=agreement, **STATISTICS)
    return found, read_table(agreement)


@pytest.mark.parametrize("has_twin", [True, False])
def test_heads(tmp_path, has_twin):
    files = [write_heads(tmp_path / f"{seed}.h5", seed) for seed in (1, 2)][: 1 + has_twin]
    found, correlations = compared_heads(tmp_path, [path for path, *_ in files])
    assert len(found) == len(files) * B * H
    for of, (_, direct, effect) in zip((MODEL, TWIN), files, strict=False):
        rows = found[found["of"] == of].set_index(["block", "head"])
        for place in np.ndindex(B, H):
            assert rows.loc[place, "images"] == N
            for name, values in {"direct": direct, "effect": effect}.items():
                agrees(rows.loc[place], values[:, *place], DRAWS, name, f"{name}_")
            agrees(rows.loc[place], (effect - direct)[:, *place], DRAWS, "difference", "difference_", "two-sided")
        [row] = correlations[correlations["of"] == of].to_dict("records")
        expected = spearmanr(direct.mean(0).ravel(), effect.mean(0).ravel()).statistic
        assert (row["images"], row["heads"], row["spearman"]) == (N, B * H, pytest.approx(expected, rel=1e-5))
        assert row["ci_low"] < row["spearman"] < row["ci_high"]
    # Corrected over the table: Holm multiplies the least p-value by the number of tests.
    least = found["p_value"].idxmin()
    assert found.loc[least, "p_corrected"] == pytest.approx(min(1, found["p_value"].min() * len(found)), rel=1e-4)


def test_heads_without_direct_contributions(tmp_path):
    path, _, effect = write_heads(tmp_path / "heads.h5", 1)
    with h5py.File(path, "r+") as file:
        file["direct"][...] = np.nan
    found, agreement = compared_heads(tmp_path, [path])
    assert found["effect"].to_numpy() == pytest.approx(effect.mean(0).ravel(), rel=1e-5)
    assert found[["effect_ci_low", "effect_ci_high"]].notna().all(axis=None)
    absent = [name for name in found if name.startswith(("direct", "difference", "p_"))]
    assert len(absent) == 8
    assert found[absent].isna().all(axis=None)
    assert not found["significant"].any()
    assert agreement["spearman"].isna().all()
    draw(found, agreement, "a model")


def write_tokens(path, seed, has_labels=True):
    generator, names = np.random.default_rng(seed), set_names(has_labels=has_labels)
    effect = generator.normal(size=(N, B, len(names))).astype(np.float32)
    for name in ("outliers", "not_outliers"):
        effect[generator.random((N, B)) < 0.4, names.index(name)] = np.nan
    effect[:, 1, names.index("outliers")] = np.nan
    if has_labels:
        effect[3, :, names.index("class")] = np.nan
    correct = generator.random((N, B, len(names))) < 0.7
    with h5py.File(path, "w") as file:
        file["effect"], file["correct"] = effect, correct
        file.attrs["sets"] = names
    return str(path), names, effect.astype(float), correct


def of_set(name, names, values):
    """(N, B) of a set; of random ones each image's mean."""
    chosen = [place for place, one in enumerate(names) if one == name or (name == "random" and one.startswith(name))]
    return np.array([[mean(values[i, b, chosen]) for b in range(B)] for i in range(N)])


@pytest.mark.parametrize("has_labels", [True, False])
def test_tokens(tmp_path, has_labels):
    files = [write_tokens(tmp_path / f"{seed}.h5", seed, has_labels) for seed in (1, 2)]
    found = tabled(token_causes, tmp_path, effects=files[0][0], twin=[files[1][0]], **STATISTICS)
    assert ("class" in set(found["set"])) == has_labels
    assert not any(name.startswith("random_") for name in found["set"])
    for of, (_, names, effect, correct) in zip((MODEL, TWIN), files, strict=True):
        for _, row in found[found["of"] == of].iterrows():
            block, values = row["block"], of_set(row["set"], names, effect)[:, row["block"]]
            there = np.isfinite(values)
            assert row["images"] == there.sum()
            agrees(row, values[there], DRAWS, "effect", "effect_")
            right = of_set(row["set"], names, correct.astype(float))[there, block]
            agrees(row, right, DRAWS, "accuracy", "accuracy_")
            difference = np.array([])
            if row["set"] in REFERENCES:
                assert row["reference"] == REFERENCES[row["set"]]
                difference = values - of_set(row["reference"], names, effect)[:, block]
            agrees(row, difference[np.isfinite(difference)], DRAWS, "difference", "difference_", "two-sided")
    assert found["images"].eq(0).any()


def test_thresholds_are_six_deviations_above_the_median_of_image_tokens(tmp_path):
    model = extracted(tmp_path, prefix=2)
    layout = read_layout(model.layers[0])
    found = norm_thresholds(model.layers, layout, None)
    for block in range(model.blocks):
        values = sorted(float(one) for one in model.norm[block][:, 2:].ravel())
        median = float(np.median(values))
        assert found[block] == pytest.approx(median + 6 * float(np.median([abs(one - median) for one in values])))
    assert norm_thresholds(model.layers, layout, 31.5).tolist() == [31.5] * model.blocks


@pytest.mark.parametrize("fixed", [None, 40.0, 1000.0])
def test_outliers(tmp_path, fixed):
    model = extracted(tmp_path, seed=3, images=30, patches=8)
    found = tabled(outlier_tokens, tmp_path, layers=model.layers, norm=fixed, resampling=DRAWS)
    thresholds = norm_thresholds(model.layers, read_layout(model.layers[0]), fixed)
    for block, row in found.iterrows():
        norms, ranks = model.norm[block][:, 1:], model.rank["residual"][block][:, 1:]
        outlier = norms > thresholds[block]
        assert row["outliers"] == outlier.sum()
        agrees(row, outlier.mean(1), DRAWS, "share", "share_")
        both = [image for image in range(30) if outlier[image].any() and not outlier[image].all()]
        assert row["images_with_outliers"] == len(both)
        assert bool(both) == (fixed != 1000)
        seen, others = (
            [mean(1 - ranks[image][chosen[image]] / model.classes) for image in both] for chosen in (outlier, ~outlier)
        )
        means = [mean(seen), mean(others)] if both else [np.nan] * 2
        assert [row["outliers_mean"], row["others_mean"]] == pytest.approx(means, rel=1e-4, nan_ok=True)
        agrees(row, np.subtract(seen, others), DRAWS, "difference", test="two-sided")
