"""Identifiability and what is made of it, against loops over images and tokens."""

import math

import h5py
import numpy as np
import pandas as pd
import pytest
from layer_files import agrees, box_of, extracted, mean, tabled

from classlens.columns import BOX_COLUMNS
from classlens.errors import InputError
from classlens.measures.identifiability import identifiability, read_identifiability
from classlens.measures.identifiability_comparison import identifiability_comparison
from classlens.measures.identifiability_evolution import identifiability_evolution
from classlens.measures.identifiability_rates import identifiability_rates
from classlens.statistics.depth import depth_positions
from classlens.statistics.resampling import Resampling

RESAMPLING = Resampling(200, confidence=0.9, seed=4)
LAYOUTS = [{"prefix": 2, "has_cls": True}, {"prefix": 0, "has_cls": False}]
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def groups_of(layout, tokens):
    """The tokens of each group, one by one."""
    cls = {"cls": [0]} if layout["has_cls"] else {}
    return {**cls, "image": list(range(layout["prefix"], tokens))}


def measured(model, path):
    identifiability(layers=model.layers, output=model.output, measures=str(path))
    return str(path)


def image_means(model, tokens):
    """Mean identifiability (N, B) over some tokens."""
    return np.mean([1 - model.rank["residual"][:, :, token].T / model.classes for token in tokens], axis=0)


@layouts
def test_identifiability_file(tmp_path, layout):
    model = extracted(tmp_path, blocks=2, images=5, **layout)
    path = measured(model, tmp_path / "identifiability.h5")
    found = read_identifiability(path)
    rank = model.rank["residual"]
    groups = groups_of(layout, model.tokens)
    assert list(found.means) == list(found.histograms) == list(groups)
    for group, tokens in groups.items():
        np.testing.assert_allclose(found.means[group], image_means(model, tokens), rtol=1e-12)
        counts = [(rank[:, :, tokens] == value).sum((1, 2)) for value in range(model.classes)]
        assert found.histograms[group].tolist() == np.transpose(counts).tolist()
    np.testing.assert_allclose(found.identifiable, (rank[:, :, groups["image"]] == 0).mean(2).T, atol=1e-6)
    assert np.array_equal(found.correct, model.correct)
    with h5py.File(path) as file:
        assert file.attrs["num_classes"] == model.classes
        assert ("cls" in file) == ("histogram/cls" in file) == layout["has_cls"]
        file.visititems(lambda _, item: isinstance(item, h5py.Group) or item.attrs["description"])
        assert file["histogram/image"].attrs["unit"] == "tokens"


def evolution(measures, twin, folder):
    return tabled(identifiability_evolution, folder, measures=measures, twin=twin, resampling=RESAMPLING)


@layouts
def test_evolution(tmp_path, layout):
    model = extracted(tmp_path / "model", images=8, better=2, **layout)
    twin = extracted(tmp_path / "twin", seed=1, images=8, **layout)
    files = [measured(each, tmp_path / f"{place}.h5") for place, each in enumerate((model, twin))]
    table = evolution(files[0], files[1:], tmp_path)
    groups = groups_of(layout, model.tokens)
    assert table["group"].tolist() == [group for group in groups for _ in range(model.blocks)]
    assert table["block"].tolist() == list(range(model.blocks)) * len(groups)
    assert (table["images"] == 8).all()
    for group, tokens in groups.items():
        means, twins = image_means(model, tokens), image_means(twin, tokens)
        for block, row in enumerate(table[table["group"] == group].to_dict("records")):
            agrees(row, means[:, block], RESAMPLING)
            assert row["twin_mean"] == pytest.approx(twins[:, block].mean(), rel=2e-5)
            agrees(row, (means - twins)[:, block], RESAMPLING, "difference", "difference_", "greater")
            scores = (model.classes - model.rank["residual"][block][:, tokens]).ravel()
            expected = np.array(box_of(scores)) / model.classes
            assert [row[name] for name in BOX_COLUMNS] == pytest.approx(expected, rel=2e-5, abs=1e-9)


def test_evolution_without_a_twin_has_everything_but_the_comparison(tmp_path):
    model = extracted(tmp_path)
    file = measured(model, tmp_path / "identifiability.h5")
    compared, alone = (evolution(file, twin, tmp_path) for twin in ([file], []))
    comparison = ["twin_mean", "difference", "difference_ci_low", "difference_ci_high", "p_value"]
    assert list(alone) == list(compared)
    assert alone[comparison].isna().all(axis=None)
    assert compared[comparison].notna().all(axis=None)
    pd.testing.assert_frame_equal(alone.drop(columns=comparison), compared.drop(columns=comparison))
    # A model beside itself: nothing exceeds anything.
    assert (compared["difference"] == 0).all()
    assert (compared["p_value"] == 1).all()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"blocks": 2}, "3 blocks and 7 images .* 2 blocks and 7 images"),
        ({"images": 6}, "3 blocks and 7 images .* 3 blocks and 6 images"),
        ({"prefix": 0, "has_cls": False}, r"\[CLS\]"),
    ],
)
def test_a_twin_of_another_shape_is_refused(tmp_path, other, message):
    models = [extracted(tmp_path / "model"), extracted(tmp_path / "twin", **other)]
    files = [measured(model, tmp_path / f"{place}.h5") for place, model in enumerate(models)]
    for first, second in (files, files[::-1]) if "prefix" in other else (files,):
        with pytest.raises(InputError, match=message):
            evolution(first, [second], tmp_path)


@pytest.mark.parametrize("blocks", [1, 5, 12, 24, 100])
def test_depth_positions(blocks):
    expected = [math.ceil(round(12 * (block + 1) / blocks, 9)) for block in range(blocks)]
    assert depth_positions(blocks).tolist() == expected
    assert len(set(expected)) == min(blocks, 12)
    assert depth_positions(5).tolist() == [3, 5, 8, 10, 12]


@pytest.mark.parametrize("blocks", [1, 6, 16])
def test_comparison(tmp_path, blocks):
    layout = LAYOUTS[blocks == 6]
    model = extracted(tmp_path, blocks=blocks, images=6, classes=9, **layout)
    path = measured(model, tmp_path / "identifiability.h5")
    table = tabled(identifiability_comparison, tmp_path, measures=path, resampling=RESAMPLING)
    positions = sorted(set(depth_positions(blocks).tolist()))
    groups = groups_of(layout, model.tokens)
    assert table["group"].tolist() == [group for group in groups for _ in positions]
    assert table["position"].tolist() == positions * len(groups)
    for group, tokens in groups.items():
        rows = table[table["group"] == group]
        means = image_means(model, tokens)
        shared = [[block for block in range(blocks) if depth_positions(blocks)[block] == p] for p in positions]
        assert rows["blocks"].tolist() == [len(each) for each in shared]
        # Within each image first: images stay the unit that is resampled.
        for each, row in zip(shared, rows.to_dict("records"), strict=True):
            agrees(row, [mean(means[image, each]) for image in range(model.images)], RESAMPLING)


@pytest.mark.parametrize(("prefix", "images"), [(1, 6), (3, 2)])
def test_rates(tmp_path, prefix, images):
    model = extracted(tmp_path, prefix=prefix, images=images, classes=4, patches=3)
    path = measured(model, tmp_path / "file.h5")
    (row,) = tabled(identifiability_rates, tmp_path, measures=path, resampling=RESAMPLING).to_dict("records")
    identifiable = model.rank["residual"][-1, :, prefix:] == 0
    per_image = {
        "identifiable_tokens_percent": 100 * identifiable.mean(1),
        "images_with_identifiable_percent": 100 * identifiable.any(1),
        "accuracy": model.correct,
    }
    assert row.pop("images") == images
    assert set(row) == {f"{name}{end}" for name in per_image for end in ("", "_ci_low", "_ci_high")}
    for name, values in per_image.items():
        agrees(row, values, RESAMPLING, name, f"{name}_")
