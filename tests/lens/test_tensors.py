"""Numbers that are no normalised images are refused or doubted; arrays of bytes are pictures."""

import warnings

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from refusals import refused
from tiny_transformers import SMALL, transformer

from classlens import Lens, explain

RAW = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
TENSOR = torch.from_numpy(RAW).permute(0, 3, 1, 2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int64, torch.bool, torch.complex64])
def test_tensors_of_other_types_are_refused(dtype):
    lens, images = Lens(transformer("plain")), TENSOR.to(dtype)
    message = rf"is {str(dtype)[6:]}, .*divide bytes by 255, then normalise with mean \(0\.5, .* or give pictures"
    refused(message, lambda: lens(images), lambda: lens([*images]), lambda: explain(lens.model, images[0], 0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_bytes_as_floats_are_doubted(dtype):
    lens = Lens(transformer("plain"))
    with pytest.warns(UserWarning, match="values from 0 to 25., as if not normalised; divide bytes by 255"):
        lens(TENSOR.to(dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in (TENSOR / 255, TENSOR / 127.5 - 1, TENSOR / 64 - 2, TENSOR.float() - 128):
            lens(fine.to(dtype))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value):
    image = torch.zeros(3, 32, 32)
    image[1, 2, 3] = value
    refused("an image tensor holds NaN or infinity", lambda: Lens(transformer("plain"))(image))


def test_arrays_of_bytes_are_pictures():
    model = timm.create_model("vit_tiny_patch16_224", **SMALL)
    large = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    for array in (RAW[0], large, large[:, ::-1]):
        assert np.array_equal(Lens(model)(array)._inputs, Lens(model)(Image.fromarray(array))._inputs)
    assert len(Lens(model)([large, RAW[0], Image.fromarray(large)])) == 3
    assert np.array_equal(explain(model, large, 2).importance, explain(model, Image.fromarray(large), 2).importance)


@pytest.mark.parametrize("array", [RAW, RAW[0] / 255, RAW[0].transpose(2, 0, 1), RAW[0, ..., 0], RAW[0].astype(int)])
def test_other_arrays_are_refused(array):
    message = r"an image array is .*; as a picture take uint8 \(H, W, 3\)"
    refused(message, lambda: Lens(transformer("plain"))(array))
