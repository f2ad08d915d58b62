"""docs/extending.md cannot rot: exactly its files, in a copy of the checkout, give what the page says."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from conftest import CHECKOUT, TINY_MODEL, Workflow, copy_checkout, tiny_config
from PIL import Image
from safetensors.torch import load_file

pytestmark = [pytest.mark.workflow, pytest.mark.release]

BLOCK = re.compile(
    r'^```python title="(?P<file>[^",]+)(?:, at the end of (?P<end>\w+)|, instead of its line (?P<line>[^"]+))?"\n'
    r"(?P<code>.*?)^```$",
    re.M | re.S,
)
BLOCKS = list(BLOCK.finditer((CHECKOUT / "docs/extending.md").read_text()))
ANALYSES = ["settled_tokens", "attention_entropy"]
ENTROPY = "vit/attention/entropy.h5"
BATCH = 2


def end_of(text, name):
    """Return where the brackets of a tuple or dict close that begins a line with its name."""
    start = re.search(rf"^{name}\b[^=]*= ", text, re.MULTILINE).end()
    return re.compile(r"^[)}]", re.MULTILINE).search(text, start).start()


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A checkout with the page's four extensions, and a study that uses all of them."""
    checkout = copy_checkout(tmp_path_factory.mktemp("extended") / "checkout")
    assert len(BLOCKS) == 13
    for block in BLOCKS:
        file = checkout / block["file"]
        if block["end"]:
            text = file.read_text()
            place = end_of(text, block["end"])
            file.write_text(text[:place] + block["code"] + text[place:])
        elif block["line"]:
            text, number = re.subn(rf"^{re.escape(block['line'])}.*\n", block["code"], file.read_text(), flags=re.M)
            assert number == 1
            file.write_text(text)
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
    config = tiny_config(vit={**TINY_MODEL, "dataset": "photos", "analyses": ANALYSES, "label": "Tiny"})
    config["datasets"] = {"photos": {"kind": "listed", "root": "photos", "per_class": 2, "train_per_class": 1}}
    config["explanations"] = {"methods": ["received"]}
    config["extraction"] = {"batch_size": BATCH}
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


def test_a_pass_takes_four_files():
    walk = [block["file"] for block in BLOCKS if "ablation" in block["file"] or "attention_entropy" in block["file"]]
    assert len(set(walk)) <= 4


def test_the_pass_gives_what_hooks_of_ones_own_give(extended):
    model = timm.create_model(TINY_MODEL["architecture"], num_classes=2, **TINY_MODEL["options"]).eval()
    model.load_state_dict(load_file(extended.result("vit/weights.safetensors")))
    [pixels] = extended.result("datasets/photos").glob("*/evaluation.h5")
    with h5py.File(pixels) as file:
        images = torch.from_numpy(file["pixels"][:]).permute(0, 3, 1, 2) / 127.5 - 1
    taken = []
    for block in model.blocks:
        block.attn.qkv.register_forward_hook(lambda _module, _inputs, output: taken.append(output))
    with torch.no_grad():
        model(images)
    query, key, _ = torch.stack(taken, 1).double().unflatten(-1, (3, 2, 8)).permute(3, 0, 1, 4, 2, 5)
    scores = np.einsum("nbhd,nbhtd->nbht", query[..., 0, :], key) / np.sqrt(8)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    expected = -(weights * np.log(weights)).sum(-1)
    with h5py.File(extended.result(ENTROPY)) as file:
        assert file["entropy"].attrs["unit"] == "nats"
        np.testing.assert_allclose(file["entropy"][:], expected, atol=1e-5)
    table = pd.read_csv(extended.result("tables/attention_entropy.csv"))
    assert list(zip(table["block"], table["head"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    np.testing.assert_allclose(table["entropy"], expected.mean(0).ravel(), atol=1e-5)
    assert (table["ci_low"] <= table["entropy"]).all()
    assert (table["entropy"] <= table["ci_high"]).all()
    drawn = extended.result("figures/attention_entropy.svg").read_text()
    for text in ("block", "entropy of attention", "Tiny"):
        assert text in drawn


def test_the_pass_in_shards_has_the_same_bytes(extended, tmp_path):
    config = {**extended.config, "extraction": {"batch_size": BATCH, "shard_size": BATCH}}
    (tmp_path / "photos").symlink_to(extended.folder / "photos")
    sharded = Workflow(tmp_path, config, extended.checkout, store=extended.folder / ".classlens")
    # The joined file has the bytes of the other, so what reads it is a hit.
    assert sharded.computes("results/tables/attention_entropy.csv") == [
        "read_attention vit 0", "read_attention vit 1", "read_attention_join vit",
    ]  # fmt: skip
    for name in (ENTROPY, "tables/attention_entropy.csv"):
        assert sharded.result(name).read_bytes() == extended.result(name).read_bytes()


SIZE = """
import sys
from classlens.catalog.configs import read_config
from classlens.config.architecture import with_architectures
from classlens.check.disk import file_sizes
print(file_sizes(with_architectures(read_config("config.yaml")))[sys.argv[1]])
"""


def test_check_counts_and_tries_the_pass(extended):
    counted = float(extended.python("-c", SIZE, f"results/{ENTROPY}"))
    assert counted == pytest.approx(extended.result(ENTROPY).stat().st_size, rel=0.2)
    # It doubts an explanation that nothing compares.
    assert "reading attention: " in extended.python("-m", "classlens", "check", "config.yaml", ok=False)


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
