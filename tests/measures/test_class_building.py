"""Logit increments and the building of the class, against loops over images and tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_files import extracted, mean, tabled

from classlens.measures.class_building import class_building
from classlens.measures.logit_increment import logit_increment
from classlens.statistics.resampling import Resampling, bootstrap_interval

RESAMPLING = Resampling(100, confidence=0.95, seed=2)
LAYOUTS = [(1, True), (2, True), (2, False), (0, False)]
QUICK = settings(max_examples=15, deadline=None)
models = given(seed=st.integers(0, 10**6), layout=st.sampled_from(LAYOUTS), images=st.integers(2, 5))


def small(folder, seed, layout, images=5, blocks=3):
    prefix, has_cls = layout
    return extracted(
        folder, seed=seed, blocks=blocks, images=images, patches=4, classes=4, prefix=prefix, has_cls=has_cls
    )


def measure(function, model, folder):
    return tabled(function, folder, layers=model.layers, resampling=RESAMPLING)


def agrees(row, percent):
    """A row's mean and interval are those of the images' percentages."""
    low, high = bootstrap_interval(np.array(percent)[:, None], RESAMPLING)
    found = [row[name] for name in ("rate_percent", "percent") if name in row]
    assert [*found, row["ci_low"], row["ci_high"]] == pytest.approx([mean(percent), low[0], high[0]], rel=2e-5)


@QUICK
@models
def test_logit_increment(tmp_path_factory, seed, layout, images):
    folder = tmp_path_factory.mktemp("increment")
    model = small(folder, seed, layout, images)
    table = measure(logit_increment, model, folder)
    assert table["block"].tolist() == [1, 2]
    assert (table["images"] == images).all()
    logit = model.logit["residual"]
    for row in table.to_dict("records"):
        block = row["block"]
        percent = [
            100 * mean(logit[block, image, t] > logit[block - 1, image, t] for t in range(model.prefix, model.tokens))
            for image in range(images)
        ]
        agrees(row, percent)


@QUICK
@models
def test_class_building(tmp_path_factory, seed, layout, images):
    folder = tmp_path_factory.mktemp("building")
    model = small(folder, seed, layout, images)
    table = measure(class_building, model, folder)
    groups = {"image": range(model.prefix, model.tokens), "all": range(model.tokens)}
    if layout[1]:
        groups["cls"] = range(1)
    rows = {(r["measure"], r["part"], r["group"], r["block"]): r for r in table.to_dict("records")}
    assert len(rows) == len(table)
    expected = {
        *(("change", branch, g, b) for branch in ("attn", "mlp") for g in set(groups) - {"all"} for b in (1, 2)),
        *(("match", part, "all", b) for part in ("previous", "attn", "mlp") for b in (1, 2)),
        *(("partition", p, "all", b) for p in ("previous", "attn", "mlp", "several", "composition") for b in (1, 2)),
    }
    assert set(rows) == expected
    for (measured, part, group, block), row in rows.items():
        percent = [
            100 * mean(HOLDS[measured](model, part, block, image, token) for token in groups[group])
            for image in range(images)
        ]
        agrees(row, percent)


def changes(model, branch, block, image, token):
    return model.logit[branch][block, image, token] > model.logit["residual"][block - 1, image, token]


def sources(model, block, image, token):
    """Where the residual's strongest class is the strongest too."""
    top = model.top["residual"][block, image, token, 0]
    found = {branch for branch in ("attn", "mlp") if model.top[branch][block, image, token, 0] == top}
    return found | ({"previous"} if model.top["residual"][block - 1, image, token, 0] == top else set())


def matches(model, part, *place):
    return part in sources(model, *place)


def is_part(model, part, *place):
    found = sources(model, *place)
    if len(found) == 1:
        return found == {part}
    return part == ("several" if found else "composition")


HOLDS = {"change": changes, "match": matches, "partition": is_part}


@pytest.mark.parametrize("function", [logit_increment, class_building])
def test_a_model_of_one_block_has_no_rows(tmp_path, function):
    table = measure(function, small(tmp_path, 0, (1, True), blocks=1), tmp_path)
    assert table.empty
    assert {"block", "ci_low", "ci_high"} <= set(table)
