"""The image that the report opens with: a typical one, token by token."""

import h5py
import numpy as np
import pytest
from layer_files import extracted, tabled

from classlens.measures.identifiability import identifiability
from classlens.measures.one_image import one_image, typical

MEANS = {"image": np.array([[0.5, 0.9], [0.5, 0.5], [0.1, 0.1], [0.5, 0.5]])}


@pytest.mark.parametrize(
    ("correct", "expected"),
    [([1, 1, 1, 1], 1), ([1, 0, 1, 1], 3), ([1, 0, 1, 0], 0), ([0, 0, 0, 0], 1)],
    ids=["of equals the first", "right", "nearest", "never right"],
)
def test_a_typical_image(correct, expected):
    """The mean profile is (0.4, 0.5)."""
    assert typical(MEANS, np.array(correct, bool)) == expected


def test_every_group_counts():
    cls = np.array([[0.4, 0.4], [0.9, 0.9], [0.5, 0.5], [0.4, 0.4]])
    assert typical({**MEANS, "cls": cls}, np.ones(4, bool)) == 3


@pytest.mark.parametrize("has_cls", [True, False])
def test_the_table_has_every_token_of_the_image(has_cls, tmp_path):
    model = extracted(tmp_path, prefix=3, has_cls=has_cls)
    with h5py.File(model.output, "a") as file:
        file["class_index"][:] = np.arange(model.images)
    measures = str(tmp_path / "identifiability.h5")
    identifiability(model.layers, model.output, measures)
    table = tabled(one_image, tmp_path, layers=model.layers, measures=measures, output=model.output)
    image = int(table["image"].iloc[0])
    assert model.correct[image]
    assert table["image"].nunique() == 1
    assert (table["class_index"] == image).all()
    tokens = ([0] if has_cls else []) + list(range(3, 8))
    assert table["token"].tolist() == tokens * model.blocks
    assert table["group"].tolist() == [*(["cls"] * has_cls), *(["image"] * 5)] * model.blocks
    assert table["block"].tolist() == np.repeat(range(model.blocks), len(tokens)).tolist()
    ranks = model.rank["residual"][:, image, tokens].ravel()
    assert table["rank"].tolist() == ranks.tolist()
    np.testing.assert_allclose(table["identifiability"], 1 - ranks / model.classes, rtol=1e-5)
    assert table["top_class"].tolist() == model.top["residual"][:, image, tokens, 0].ravel().tolist()
