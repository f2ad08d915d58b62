"""A model whose one output is a score: what of the workflow applies to it, and what removal says."""

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY_MODEL, tiny_config
from safetensors.torch import save_file
from tiny_transformers import RUNNING, describe_here

from classlens.catalog import applicable, planning
from classlens.catalog.analyses import GROUPS
from classlens.catalog.configs import load_config
from classlens.check.doubts import left_out
from classlens.config.architecture import built_as, with_architectures
from classlens.errors import InputError
from classlens.measures.removal_steps import PIXEL_PERCENT, importance_order
from classlens.models.build import build
from classlens.models.weights import write_weights
from classlens.passes.attribution import AttributeLogits
from classlens.passes.extraction import Extraction
from classlens.passes.head_effects import HeadEffects, HeadSums
from classlens.passes.pixel_removal import RemovePixels
from classlens.passes.removal_curves import join_pixel_curves, join_removal_curves
from classlens.passes.run import run_pass
from classlens.passes.token_removal import RemoveTokens

APPLY = {"logit_increment", "logit_attribution", "head_causes", "token_causes", "faithfulness", "segmentation"}
COUNTS = (3, 16)


def configured(monkeypatch, **model):
    describe_here(monkeypatch)
    entry = {**TINY_MODEL, "one_output": "score", "analyses": None, **model}
    return with_architectures(load_config({**tiny_config(age=entry), "lens_page": {"images": 2}}))


def test_what_ranks_classes_is_left_out_by_name(monkeypatch):
    config = configured(monkeypatch)
    facts = config.architecture("age")
    assert (facts["num_classes"], facts["one_output"]) == (1, False)
    assert {group for group in GROUPS if planning.runs(config, group)} == APPLY
    assert planning.wanted_pages(config) == []
    said = [text for text, _ in left_out(config)]
    assert any("identifiability" in one and "compares classes, and age puts out a score" in one for one in said)
    assert any(one.startswith("models.age: its lens page is left out") for one in said)
    assert any("gradient_double_softmax: it reads the cross-entropy" in one for one in said)
    assert "probe" not in applicable.methods(config, "age")
    asked = configured(monkeypatch, analyses=["tuned_lens"])
    assert [text for text, is_asked in left_out(asked) if is_asked and "tuned_lens" in text]


def test_several_outputs_are_classes_whatever_is_said(monkeypatch):
    config = configured(monkeypatch, options={**TINY_MODEL["options"], "num_classes": 10})
    assert config.architecture("age")["num_classes"] == 10
    assert planning.runs(config, "identifiability") == ["age"]


@pytest.mark.parametrize("more", [{"head": "head.npz", "weights": "a.pth"}, {"weights": {"train": {"epochs": 1}}}])
def test_what_is_about_classes_is_refused_by_name(monkeypatch, more):
    with pytest.raises(InputError, match=r"models\.age\.one_output: .* about classes, and a score has none"):
        configured(monkeypatch, **more)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A model, its images, and what runs a pass on them; images are of several classes, of which a score knows none."""
    name, options = built_as(configured(monkeypatch), "age")
    torch.manual_seed(1)
    model = build(name, options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    save_file(model.state_dict(), tmp_path / "given.safetensors")
    network = {"architecture": name, "options": options}
    write_weights([str(tmp_path / "given.safetensors")], [], tmp_path / "w.safetensors", **network, origin="file")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    with h5py.File(tmp_path / "pixels.h5", "w") as file:
        file["pixels"], file["class_index"] = pixels, np.arange(5, dtype=np.uint16)
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 * 2 - 1

    def run(of, rows="", **given):
        weights, network_ = str(tmp_path / "w.safetensors"), {**network, **RUNNING, "batch_size": 2}
        return run_pass(str(tmp_path / "pixels.h5"), weights, rows and str(tmp_path / rows), of=of, **network_, **given)

    return model, inputs, run, tmp_path


@torch.no_grad()
def test_logits_attribution_and_causes_are_of_the_score(made):
    model, inputs, run, folder = made
    scores = model(inputs)[:, 0].numpy()
    run(Extraction, "extracted.h5")
    run(AttributeLogits, "attribution.h5")
    run(HeadEffects, "heads.h5", attribution=[str(folder / "attribution.h5")], sums=HeadSums)
    with h5py.File(folder / "extracted.h5") as file:
        np.testing.assert_allclose(file["block_01/residual/logit"][:, 0], scores, atol=1e-5)
    with h5py.File(folder / "attribution.h5") as file:
        np.testing.assert_allclose(file["logit"][:], scores, atol=1e-5)
    with h5py.File(folder / "heads.h5") as file:
        np.testing.assert_allclose(file["logit"][:], scores, atol=1e-5)
        assert np.abs(file["effect"][:]).max() > 1e-3


@torch.no_grad()
def test_removal_says_how_far_the_score_moves(made):
    model, inputs, run, folder = made
    importance = np.random.default_rng(2).normal(size=(5, 16)).astype(np.float32)
    with h5py.File(folder / "explanation.h5", "w") as file:
        file["importance"] = importance
    given = {"explanation": [str(folder / "explanation.h5")], "seeds": ()}
    files = {"curves": str(folder / "curves.csv"), "correct_per_image": str(folder / "changes.h5")}
    run(RemoveTokens, finish=join_removal_curves, **files, **given, counts=COUNTS)
    whole = model(inputs)[:, 0]
    order = torch.from_numpy(importance_order(importance))
    tokens = model.norm_pre(model._pos_embed(model.patch_embed(inputs)))

    def score(kept):
        places = torch.cat([torch.zeros(5, 1, dtype=int), 1 + kept], 1)
        return model.forward_head(model.norm(model.blocks(tokens.gather(1, places[..., None].expand(-1, -1, 16)))))[
            :, 0
        ]

    with h5py.File(files["correct_per_image"]) as file:
        for name, kept in {"negative": order[:, :3], "positive": order[:, -3:]}.items():
            expected = torch.stack([torch.zeros(5), (score(kept) - whole).abs()], 1)
            np.testing.assert_allclose(file[name][:], expected, atol=1e-5)
            rows = pd.read_csv(files["curves"]).query("direction == @name")
            np.testing.assert_allclose(rows["accuracy"], expected.mean(0), atol=1e-5)
    run(RemovePixels, finish=join_pixel_curves, **files, **given)
    with h5py.File(files["correct_per_image"]) as file:
        assert file["positive"].shape == (5, len(PIXEL_PERCENT))
        assert not file["positive"][:, 0].any()
        assert file["positive"][:].max() > 0.01
