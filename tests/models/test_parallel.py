"""Blocks with parallel branches are read as what they add: attention and MLP, each by itself."""

from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import timm
import torch
from conftest import TINY_MODEL
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import ParallelScalingBlock, ParallelThingsBlock
from tiny_transformers import SMALL, random_images

from classlens import Lens
from classlens.catalog.methods import METHODS
from classlens.errors import InputError
from classlens.inference.activations import capture_activations
from classlens.measures.memory_parameters import read_class_values, write_parameters
from classlens.models.build import require_supported
from classlens.models.canonical import load_model
from classlens.models.describe import describe
from classlens.models.facts import CLASS_EMBEDDING, SUM_OVER_TOKENS
from classlens.models.opening import open_model
from classlens.models.parallel import canonical_form
from classlens.models.weights import write_weights

NAME = "vit_base_patch16_xp_224"


def made(**options):
    torch.manual_seed(0)
    given = {**SMALL, "block_fn": ParallelScalingBlock, **options}
    model = timm.create_model("vit_tiny_patch16_224", **given).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


@pytest.mark.parametrize("options", [{}, {"qkv_bias": False, "qk_norm": True, "init_values": 0.5}])
@torch.no_grad()
def test_sites_are_what_each_branch_adds(options):
    model, images, found = made(**options), random_images(2), {}
    opened = open_model(model).model
    torch.testing.assert_close(opened(images), model(images), rtol=1e-5, atol=1e-5)
    with capture_activations(opened, lambda block, site, x: found.update({(block, site): x})):
        opened(images)
    x = model.norm_pre(model._pos_embed(model.patch_embed(images)))
    for place, block in enumerate(model.blocks):
        total, silent = block(x), deepcopy(block)
        for parameter in silent.mlp_out_proj.parameters():
            parameter.zero_()
        attended = silent(x) - x
        torch.testing.assert_close(found[place, "attn"], attended, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[place, "mlp"], total - x - attended, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[place, "residual"], total, rtol=1e-4, atol=1e-5)
        x = total
    assert all(isinstance(block, ParallelScalingBlock) for block in model.blocks)


def test_the_lens_and_what_is_made_of_it_apply():
    model, images = made(), random_images(2)
    lens = Lens(model)
    view = lens(images)
    assert view.rank().shape == (2, 2, 17)
    assert view.attribution(1).gap().max() < 1e-4
    for method in METHODS:
        if METHODS[method].compute:
            assert np.isfinite(view.explain(1, method).importance).all()
    with lens.ablate(heads=[(0, 1)]):
        assert np.abs(lens(images).output - view.output).max() > 1e-3


@torch.no_grad()
def test_checkpoints_of_timm_become_weights_of_both_branches(tmp_path):
    options = {**TINY_MODEL["options"], "num_classes": 7}
    facts = describe(NAME, options)
    assert facts["heads"] == 2
    assert not facts["lacks"].keys() & {CLASS_EMBEDDING, SUM_OVER_TOKENS}
    torch.manual_seed(0)
    model = timm.create_model(NAME, **options).eval()
    save_file(model.state_dict(), tmp_path / "given.safetensors")
    network = {"architecture": NAME, "options": options}
    write_weights([str(tmp_path / "given.safetensors")], [], tmp_path / "w.safetensors", **network, origin="file")
    assert "blocks.0.mlp.fc2.weight" in load_file(tmp_path / "w.safetensors")
    images = torch.randn(2, 3, 16, 16)
    loaded = load_model(tmp_path / "w.safetensors", **network)
    torch.testing.assert_close(loaded(images), model(images), rtol=1e-5, atol=1e-5)
    write_parameters(tmp_path / "w.safetensors", tmp_path / "m.h5")
    assert np.isfinite(read_class_values(tmp_path / "m.h5").scores["attn"]).all()


def test_what_has_no_two_branches_is_refused_by_name():
    fused = partial(ParallelScalingBlock, fuse_out_proj=True)
    for block, said in ((ParallelThingsBlock, "ParallelThingsBlock"), (fused, "ParallelScalingBlock")):
        with pytest.raises(InputError, match=said):
            require_supported(made(block_fn=block), "x")
    hooked = made()
    hooked.blocks[0].in_proj.register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match="has hooks"):
        canonical_form(hooked)
