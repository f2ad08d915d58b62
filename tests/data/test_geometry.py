"""Resize and crop agree with torchvision and timm; masks move like their images."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform
from tiny_transformers import SMALL
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from classlens import Lens
from classlens.catalog.configs import schema
from classlens.data.geometry import Geometry
from classlens.models.build import build
from classlens.models.describe import describe

MODES = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.LANCZOS,
}
RESIZES = ("squash", "shortest")
SIDES = st.integers(1, 48)

geometries = st.builds(
    Geometry,
    size=st.integers(1, 32),
    resize=st.sampled_from(RESIZES),
    crop=st.one_of(st.sampled_from([1.0, 0.875, 0.9, 0.95]), st.floats(0.25, 1)),
    interpolation=st.sampled_from(sorted(MODES)),
)


def noise(width, height, channels=3, values=256):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(width * 100 + height).integers(0, values, shape, dtype=np.uint8))


def expected(image, geometry, interpolation):
    """Return what torchvision makes of an image."""
    side = math.floor(geometry.size / geometry.crop)
    target = [side, side] if geometry.resize == "squash" else [side]
    resized = reference.resize(image, target, MODES[interpolation])
    return reference.center_crop(resized, [geometry.size, geometry.size])


def test_every_filter_is_compared():
    models = schema()["properties"]["models"]["additionalProperties"]["properties"]
    assert set(models["transform"]["properties"]["interpolation"]["enum"]) == set(MODES)


@settings(deadline=None, max_examples=80)
@given(geometry=geometries, width=SIDES, height=SIDES)
def test_images_and_masks_agree_with_torchvision(geometry, width, height):
    """Masks take the nearest pixel."""
    image, mask = noise(width, height), noise(width, height, channels=1, values=3)
    assert np.array_equal(geometry.image(image), expected(image, geometry, geometry.interpolation))
    found = np.asarray(geometry.mask(mask))
    assert found.shape == (geometry.size, geometry.size)
    assert np.array_equal(found, expected(mask, geometry, "nearest"))


@pytest.mark.parametrize(("crop", "side"), [(1.0, 224), (0.875, 256), (0.9, 248), (0.95, 235), (224 / 248, 248)])
def test_sides_before_the_crop(crop, side):
    # An image of just that side is not resized, so that the crop alone is seen.
    image = noise(side, side)
    margin = round((side - 224) / 2)
    found = np.asarray(Geometry(224, "shortest", crop, "bilinear").image(image))
    assert np.array_equal(found, np.asarray(image)[margin : margin + 224, margin : margin + 224])


@pytest.mark.parametrize(
    ("geometry", "name"),
    [
        (Geometry(224, "squash", 1.0, "bilinear"), "squash-224-bilinear"),
        (Geometry(224, "squash", 1, "bilinear"), "squash-224-bilinear"),
        (Geometry(384, "shortest", 0.875, "bicubic"), "shortest-384-bicubic-0.875"),
        (Geometry((32, 32), "squash", 1.0, "bilinear"), "squash-32-bilinear"),
        (Geometry((24, 40), "squash", 0.9, "bilinear"), "squash-24x40-bilinear-0.9"),
    ],
)
def test_names(geometry, name):
    assert geometry.name == Geometry.from_name(name).name == name


@settings(deadline=None, max_examples=50)
@given(geometry=geometries, crop=st.floats(0, 1, exclude_min=True))
def test_names_give_the_geometry_back(geometry, crop):
    geometry = replace(geometry, crop=crop)
    assert Geometry.from_name(geometry.name) == geometry
    assert "/" not in geometry.name


# Inputs that are no squares


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
