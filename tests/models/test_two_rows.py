"""A model with one output comes into the workflow as one with two classes, however it is told."""

import logging

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny_transformers import describe_here

from classlens.catalog.configs import load_config
from classlens.config.architecture import model_options, with_architectures
from classlens.errors import InputError
from classlens.models.canonical import load_model
from classlens.models.head import head_shape, read_head, save_head
from classlens.models.weights import write_weights

OPTIONS = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
ONE = {**OPTIONS, "num_classes": 1}
TWO = {**OPTIONS, "num_classes": 2}
PLAIN = "vit_tiny_patch16_224"
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def timms(name=PLAIN):
    torch.manual_seed(3)
    model = timm.create_model(name, **ONE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def write(folder, sources, name=PLAIN, heads=(), origin="file", **given):
    paths = [folder / source for source in sources]
    write_weights(paths, heads, folder / "out.safetensors", architecture=name, origin=origin, **given)


def require_two_classes(weights, model, options, name=PLAIN):
    with torch.no_grad():
        z = model(IMAGES)
        found = load_model(weights, name, options)(IMAGES)
    torch.testing.assert_close(found, torch.cat([-z, z], 1) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), [(PLAIN, ONE), ("deit_tiny_distilled_patch16_224", TWO)])
def test_a_checkpoint_with_one_row(tmp_path, caplog, name, options):
    model = timms(name)
    save_file(model.state_dict(), tmp_path / "one.safetensors")
    with caplog.at_level(logging.INFO):
        write(tmp_path, ["one.safetensors"], name, options=options)
    assert "two classes" in caplog.text
    require_two_classes(tmp_path / "out.safetensors", model, options, name)
    with pytest.raises(InputError, match=r"head\.weight is \(1, 16\) and should be \(3, 16\)"):
        write(tmp_path, ["one.safetensors"], name, options={**OPTIONS, "num_classes": 3})


def test_fresh_weights(tmp_path):
    write(tmp_path, [], options=ONE, origin="random", seed=4)
    torch.manual_seed(4)
    model = timm.create_model(PLAIN, **ONE).eval()
    require_two_classes(tmp_path / "out.safetensors", model, ONE)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_head_file_with_one_row(tmp_path, suffix):
    model, path = timms(), tmp_path / f"head.{suffix}"
    weight, bias = model.head.weight.detach().numpy(), model.head.bias.detach().numpy()
    save_head(path, weight, bias, ["cat", "dog"])
    assert head_shape(path) == (2, 16)
    assert read_head(path).class_names == ("cat", "dog")
    save_file({k: v for k, v in model.state_dict().items() if "head" not in k}, tmp_path / "trunk.safetensors")
    write(tmp_path, ["trunk.safetensors"], heads=[path], options=TWO)
    require_two_classes(tmp_path / "out.safetensors", model, TWO)
    with pytest.raises(InputError, match="1 class names for 2 classes, the negative one first, as one row is read"):
        save_head(path, weight, bias, ["dog"])
    save_head(path, weight)
    assert not read_head(path).bias.any()


def configured(tmp_path, monkeypatch, **model):
    monkeypatch.chdir(tmp_path)
    describe_here(monkeypatch)
    entry = {"dataset": "d", "architecture": PLAIN, "options": ONE, "weights": "random", **model}
    entry["transform"] = {"size": 16}
    return load_config({"datasets": {"d": {"kind": "digits"}}, "models": {"m": entry}})


def test_facts_say_two_classes(tmp_path, monkeypatch):
    config = with_architectures(configured(tmp_path, monkeypatch))
    assert config.architecture("m")["num_classes"] == 2
    assert config.architecture("m")["one_output"]
    assert not with_architectures(configured(tmp_path, monkeypatch, options=TWO)).architecture("m")["one_output"]
    save_head(tmp_path / "head.npz", np.ones((1, 16)))
    headed = configured(tmp_path, monkeypatch, options=OPTIONS, weights="trunk.pth", head="head.npz")
    assert model_options(headed, "m")["num_classes"] == 2
