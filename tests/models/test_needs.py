"""What explanations need is one question, whether a run is planned or a job runs."""

import copy

import pytest
import timm
import torch
from tiny_transformers import SMALL, random_images, transformer

from classlens import Lens
from classlens.catalog.methods import METHODS, SUM_OVER_TOKENS, applicable_methods
from classlens.errors import InputError
from classlens.models.describe import describe
from classlens.models.needs import lacks

MODELS = {
    "hybrid": ("vit_tiny_r_s16_p8_224", {"num_classes": 7, "img_size": 64, "depth": 2}),
    "averages": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg", "class_token": False}),
    "maximum": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "max"}),
    "plain": ("vit_tiny_patch16_224", SMALL),
}


def made(name):
    """Return a model and what planning says that it lacks."""
    if name == "gated":
        model = transformer("plain")
        for block in model.blocks:
            block.attn.gate = torch.nn.Linear(24, 24)
        return model, lacks(copy.deepcopy(model).to("meta"))
    architecture, options = MODELS[name]
    torch.manual_seed(0)
    return timm.create_model(architecture, **options).eval(), describe(architecture, options)["lacks"]


LACKING = {
    "hybrid": {"attn_lrp", "cp_lrp"},
    "gated": {"attn_lrp", "cp_lrp", "direct", "gradient", "gradient_logit"},
    "averages": {"gradient", "chefer"},
    "maximum": {"direct"},
    "plain": {"probe"},
}


@pytest.mark.parametrize("name", LACKING)
def test_what_is_planned_runs_and_nothing_else_does(name):
    model, planned = made(name)
    size = model.patch_embed.img_size[0]
    view = Lens(model)(torch.randn(1, 3, size, size) if size != 32 else random_images(1))
    applicable = applicable_methods(planned)
    lacking = set(METHODS) - set(applicable)
    assert lacking == LACKING[name] if name == "plain" else lacking > LACKING[name]
    for method in METHODS:
        if method in applicable:
            assert view.explain(1, method).importance.shape == (model.patch_embed.num_patches,)
        else:
            with pytest.raises(InputError, match="does not apply"):
                view.explain(1, method)
    if SUM_OVER_TOKENS in planned:
        with pytest.raises(InputError, match="direct logit attribution does not apply to this model"):
            view.attribution(1)
    else:
        assert float(view.attribution(1).gap().max()) < 1e-4
