"""docs/extending.md cannot rot: exactly its files, in a copy of the checkout, give what the page says."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import CHECKOUT, TINY_MODEL, Workflow, copy_checkout, tiny_config
from PIL import Image

pytestmark = pytest.mark.workflow

BLOCK = re.compile(
    r'^```python title="(?P<file>[^",]+)(?:, at the end of (?P<end>\w+))?"\n(?P<code>.*?)^```$', re.M | re.S
)


def end_of(text, name):
    """Return where the brackets of a tuple or dict close that begins a line with its name."""
    start = re.search(rf"^{name}\b[^=]*= ", text, re.MULTILINE).end()
    return re.compile(r"^[)}]", re.MULTILINE).search(text, start).start()


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A checkout with the page's three extensions, and a study that uses all of them."""
    checkout = copy_checkout(tmp_path_factory.mktemp("extended") / "checkout")
    blocks = list(BLOCK.finditer((CHECKOUT / "docs/extending.md").read_text()))
    assert len(blocks) == 7
    for block in blocks:
        file = checkout / block["file"]
        if block["end"]:
            text = file.read_text()
            place = end_of(text, block["end"])
            file.write_text(text[:place] + block["code"] + text[place:])
        else:
            assert not file.exists()
            file.write_text(block["code"])
    folder = checkout.parent / "study"
    (folder / "photos").mkdir(parents=True)
    rows = []
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
        rows.append((f"{number}.png", ("cat", "dog")[number % 2], "training" if number < 2 else "evaluation"))
    pd.DataFrame(rows, columns=["file", "class", "split"]).to_csv(folder / "photos/images.csv", index=False)
    config = tiny_config(vit={**TINY_MODEL, "dataset": "photos", "analyses": ["settled_tokens"], "label": "Tiny"})
    config["datasets"] = {"photos": {"kind": "listed", "root": "photos", "per_class": 2, "train_per_class": 1}}
    config["explanations"] = {"methods": ["received"]}
    workflow = Workflow(folder, config, checkout)
    workflow.run("all", "results/vit/explanation/received.h5", "results/vit/faithfulness/received.csv")
    return workflow


def test_the_measure_has_its_table_and_figure(extended):
    table = pd.read_csv(extended.result("tables/settled_tokens.csv"))
    assert list(table["block"]) == [0, 1]
    assert table["percent"].iloc[-1] == 100
    assert table["images"].eq(4).all()
    assert "settled tokens" in extended.result("figures/settled_tokens.svg").read_text()
    assert extended.result("figures/settled_tokens.png").exists()


def test_the_explanation_can_be_asked_for_and_tested_by_removal(extended):
    with h5py.File(extended.result("vit/explanation/received.h5")) as file:
        importance = file["importance"][:]
        assert "received" in file["importance"].attrs["description"]
    assert importance.shape == (4, 16)
    assert np.isfinite(importance).all()
    assert (importance > 0).all()
    assert len(pd.read_csv(extended.result("vit/faithfulness/received.csv"))) == 32
    refused = extended.run("-n", "results/vit/explanation/nothing.h5", ok=False)
    assert "nothing" in refused


def test_the_kind_of_data_set_lists_its_images(extended):
    table = pd.read_csv(extended.result("datasets/photos/stimuli.csv"))
    assert sorted(table["class_name"].unique()) == ["cat", "dog"]
    assert (table["split"] == "evaluation").sum() == 4


def test_what_was_there_before_keeps_its_keys(extended):
    """An extension invalidates nothing: the jobs of the checkout without it have the same keys."""
    plain = Workflow(extended.folder.parent / "plain", tiny_config())
    plain.run("all")
    wider = Workflow(plain.folder, plain.config, extended.checkout, store=plain.folder / ".classlens")
    assert wider.computes("results/figures/logit_increment.svg", "results/vit/layers/block_00.h5") == []
