"""Logit increments and the building of the class, against loops over images and tokens."""

import pytest
from layer_files import MODELS, agrees, extracted, mean, tabled

from classlens.measures.class_building import class_building
from classlens.measures.logit_increment import logit_increment
from classlens.statistics.resampling import Resampling

RESAMPLING = Resampling(100, confidence=0.95, seed=2)
SEVERAL = [made for made in MODELS if made["images"] > 1]


def measure(function, model, folder):
    return tabled(function, folder, layers=model.layers, resampling=RESAMPLING)


@pytest.mark.parametrize("made", SEVERAL)
def test_logit_increment(tmp_path, made):
    model = extracted(tmp_path, classes=4, **made)
    table = measure(logit_increment, model, tmp_path)
    assert table["block"].tolist() == [1, 2]
    assert (table["images"] == model.images).all()
    logit = model.logit["residual"][:, :, model.prefix :]
    for row in table.to_dict("records"):
        rose = logit[row["block"]] > logit[row["block"] - 1]
        agrees(row, 100 * rose.mean(1), RESAMPLING, "rate_percent")


@pytest.mark.parametrize("made", SEVERAL)
def test_class_building(tmp_path, made):
    model = extracted(tmp_path, classes=4, **made)
    table = measure(class_building, model, tmp_path)
    groups = {"image": range(model.prefix, model.tokens), "all": range(model.tokens)}
    if made["has_cls"]:
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
            for image in range(model.images)
        ]
        agrees(row, percent, RESAMPLING, "percent")


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
    table = measure(function, extracted(tmp_path, blocks=1), tmp_path)
    assert table.empty
    assert {"block", "ci_low", "ci_high"} <= set(table)
