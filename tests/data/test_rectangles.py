"""Inputs that are no squares."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from tiny_transformers import SMALL

from classlens import Lens
from classlens.data.geometry import Geometry
from classlens.models.build import build
from classlens.models.describe import describe


@pytest.mark.parametrize("size", [(24, 40), (40, 24), (32, 32)])
@pytest.mark.parametrize("resize", ["squash", "shortest"])
@pytest.mark.parametrize("picture", [(60, 31), (31, 60), (50, 30)])
def test_images_become_what_timm_makes_of_them(size, resize, picture):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*picture[::-1], 3), np.uint8))
    mode = {"squash": "squash", "shortest": "center"}[resize]
    given = {"input_size": (3, *size), "crop_pct": 0.9, "crop_mode": mode, "interpolation": "bilinear"}
    made = create_transform(**given, mean=(0, 0, 0), std=(1, 1, 1), is_training=False)(image)
    geometry = Geometry(size, resize, 0.9, "bilinear")
    found = np.asarray(geometry.image(image))
    assert np.array_equal(found, (made * 255).round().permute(1, 2, 0).numpy().astype(np.uint8))
    assert geometry.mask(Image.new("L", picture)).size == size[::-1]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "eva02_base_patch14_224", "beit_base_patch16_224"])
def test_grids_are_taken_as_they_are(name):
    options = {**SMALL, "class_token": True, "img_size": [32, 48], "patch_size": [8, 16]}
    if name.startswith("beit"):
        options.pop("class_token")
    facts = describe(name, options)
    assert (facts["grid"], facts["patch"], facts["transform"]["size"]) == ([4, 3], [8, 16], (32, 48))
    view = Lens(build(name, options))(torch.randn(2, 3, 32, 48))
    assert view.rank().shape == (2, 2, 13)
    for method in ("legrad", "attn_lrp", "integrated_gradients"):
        assert view.explain(1, method).grid == (4, 3)
    view.plot()


def test_a_model_of_any_size_is_built_for_its_images():
    options = {**SMALL, "dynamic_img_size": True}
    facts = describe("vit_tiny_patch16_224", options, [32, 48])
    assert (facts["grid"], facts["built_as"][1]["img_size"]) == ([4, 6], [32, 48])
    assert "built_as" not in describe("vit_tiny_patch16_224", options, 32)
    assert describe("vit_tiny_patch16_224", SMALL, 64)["grid"] == [4, 4]
