"""Models that take grey images."""

import numpy as np
import torch
from PIL import Image
from tiny_transformers import SMALL, extract_pixels

from classlens import Lens
from classlens.inference.network import LoadedModel
from classlens.models.build import build
from classlens.models.describe import describe
from classlens.models.inputs import Normalise
from classlens.passes import extraction

GREY = {**SMALL, "in_chans": 1}


def test_pixels_become_the_grey_that_pillow_makes():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    found = Normalise([0.5], [0.25], torch.device("cpu"))(pixels)
    grey = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in pixels])
    np.testing.assert_allclose(found[:, 0], (grey / 255 - 0.5) / 0.25, rtol=1e-5, atol=1e-6)


def test_the_workflow_sees_what_a_lens_sees(monkeypatch):
    torch.manual_seed(0)
    model = build("vit_tiny_patch16_224", GREY)
    facts = describe("vit_tiny_patch16_224", GREY)
    assert (facts["channels"], facts["transform"]["mean"], facts["transform"]["std"]) == (1, [0.5], [0.5])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    normalise = Normalise([0.5], [0.5], torch.device("cpu"))
    monkeypatch.setattr(
        "tiny_transformers.loaded_of", lambda *_: LoadedModel(model, "grey", normalise, "float32", torch.device("cpu"))
    )
    rows = extract_pixels(model, pixels, [1, 2])
    assert extraction.Extraction.columns(model).keys() == rows.keys()
    assert np.array_equal(rows["output/top5"], Lens(model)(normalise(pixels)).predictions(5))
