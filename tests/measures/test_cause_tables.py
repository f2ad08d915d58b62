"""Tables of causes against plain loops over images."""

import h5py
import numpy as np
import pytest
from layer_files import extracted, mean, tabled
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
from classlens.statistics.resampling import Resampling, bootstrap_interval, sign_flip_test

DRAWS = Resampling(300, 0.95, 0)
STATISTICS = {"resampling": DRAWS, "correction": "holm"}
N, B, H = 12, 3, 2


def write_heads(path, seed):
    generator = np.random.default_rng(seed)
    direct = generator.normal(size=(N, B, H)) + generator.normal(size=(B, H))
    effect = 0.5 * direct + generator.normal(size=(N, B, H))
    with h5py.File(path, "w") as file:
        file["direct"], file["effect"] = direct.astype(np.float32), effect.astype(np.float32)
    return str(path), direct.astype(np.float32).astype(float), effect.astype(np.float32).astype(float)


@pytest.mark.parametrize("has_twin", [True, False])
def test_heads(tmp_path, has_twin):
    files = [write_heads(tmp_path / f"{seed}.h5", seed) for seed in (1, 2)][: 1 + has_twin]
    paths = [path for path, *_ in files]
    agreement = str(tmp_path / "agreement.csv")
    found = tabled(head_causes, tmp_path, effects=paths[0], twin=paths[1:], agreement=agreement, **STATISTICS)
    assert len(found) == len(files) * B * H
    correlations = read_table(agreement).set_index("of")
    for of, (_, direct, effect) in zip((MODEL, TWIN), files, strict=False):
        rows = found[found["of"] == of].set_index(["block", "head"])
        for block in range(B):
            for head in range(H):
                row, both = rows.loc[block, head], (direct[:, block, head], effect[:, block, head])
                assert row["images"] == N
                assert [row["direct"], row["effect"]] == pytest.approx([mean(both[0]), mean(both[1])], rel=1e-5)
                difference = (both[1] - both[0])[:, None]
                assert row["difference"] == pytest.approx(difference.mean(), rel=1e-4)
                interval = np.ravel(bootstrap_interval(difference, DRAWS))
                assert [row["difference_ci_low"], row["difference_ci_high"]] == pytest.approx(interval, rel=1e-4)
                assert row["p_value"] == pytest.approx(sign_flip_test(difference, "two-sided", DRAWS)[0], rel=1e-4)
        means = [values.mean(0).ravel() for values in (direct, effect)]
        assert correlations.loc[of, "spearman"] == pytest.approx(spearmanr(*means).statistic, rel=1e-5)
        assert (correlations.loc[of, "images"], correlations.loc[of, "heads"]) == (N, B * H)
        assert correlations.loc[of, "ci_low"] < correlations.loc[of, "spearman"] < correlations.loc[of, "ci_high"]
    # Corrected over the table: Holm multiplies the least p-value by the number of tests.
    least = found["p_value"].idxmin()
    assert found.loc[least, "p_corrected"] == pytest.approx(min(1, found["p_value"].min() * len(found)), rel=1e-4)


def test_heads_without_direct_contributions(tmp_path):
    path, _, effect = write_heads(tmp_path / "heads.h5", 1)
    with h5py.File(path, "r+") as file:
        file["direct"][...] = np.nan
    agreement = str(tmp_path / "agreement.csv")
    found = tabled(head_causes, tmp_path, effects=path, twin=[], agreement=agreement, **STATISTICS)
    assert found["effect"].to_numpy() == pytest.approx(effect.mean(0).ravel(), rel=1e-5)
    assert found[["effect_ci_low", "effect_ci_high"]].notna().all(axis=None)
    absent = [name for name in found if name.startswith(("direct", "difference", "p_"))]
    assert len(absent) == 8
    assert found[absent].isna().all(axis=None)
    assert not found["significant"].any()
    assert read_table(agreement)["spearman"].isna().all()
    draw(found, read_table(agreement), "a model")


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
            if not there.any():
                assert np.isnan([row["effect"], row["accuracy"], row["difference"], row["p_value"]]).all()
                continue
            assert row["effect"] == pytest.approx(mean(values[there]), rel=1e-4)
            interval = np.ravel(bootstrap_interval(values[there][:, None], DRAWS))
            assert [row["effect_ci_low"], row["effect_ci_high"]] == pytest.approx(interval, rel=1e-4)
            right = of_set(row["set"], names, correct.astype(float))[there, block]
            assert row["accuracy"] == pytest.approx(mean(right), rel=1e-5)
            if row["set"] in REFERENCES:
                assert row["reference"] == REFERENCES[row["set"]]
                difference = values - of_set(row["reference"], names, effect)[:, block]
                difference = difference[np.isfinite(difference)][:, None]
                assert row["difference"] == pytest.approx(difference.mean(), rel=1e-3)
                assert row["p_value"] == pytest.approx(sign_flip_test(difference, "two-sided", DRAWS)[0], rel=1e-4)
            else:
                assert np.isnan([row["difference"], row["p_value"]]).all()
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
        assert row["share"] == pytest.approx(mean(outlier.mean(1)), rel=1e-5)
        both = [image for image in range(30) if outlier[image].any() and not outlier[image].all()]
        assert row["images_with_outliers"] == len(both)
        if not both:
            assert fixed == 1000
            assert np.isnan([row["outliers_mean"], row["difference"], row["p_value"]]).all()
            continue
        seen, others = (
            [mean(1 - ranks[image][chosen[image]] / model.classes) for image in both] for chosen in (outlier, ~outlier)
        )
        assert [row["outliers_mean"], row["others_mean"]] == pytest.approx([mean(seen), mean(others)], rel=1e-4)
        difference = (np.array(seen) - others)[:, None]
        assert [row["ci_low"], row["ci_high"]] == pytest.approx(
            np.ravel(bootstrap_interval(difference, DRAWS)), rel=1e-3
        )
        assert row["p_value"] == pytest.approx(sign_flip_test(difference, "two-sided", DRAWS)[0], rel=1e-4)
