"""Numbers and pictures survive as a page holds them."""

import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from classlens.page.pack import STEPS, packed, picture, rounded


def test_rounding_stays_within_half_a_step():
    values = np.random.default_rng(0).normal(0, 7, (3, 5, 4)).astype(np.float32)
    values[1, :, 2] = 0
    codes, unit = rounded(values, (1,))
    assert codes.dtype == np.int16
    assert unit.shape == (3, 4)
    assert np.allclose(unit, np.abs(values).max(1) / STEPS)
    assert (np.abs(codes * unit[:, None] - values) <= 0.501 * unit[:, None]).all()
    assert np.abs(codes).max() == STEPS
    assert not codes[1, :, 2].any()


def test_planes_of_bytes():
    arrays = [np.array([[1, 258], [3, 65535]], np.uint16), np.array([-2, 7], np.int8), np.array([-1, 70000], np.int32)]
    stream = zlib.decompress(base64.b64decode(packed(arrays)))
    assert list(stream) == [1, 2, 3, 255, 0, 1, 0, 255, 254, 7, 255, 112, 255, 17, 255, 1, 255, 0]


def decoded(url):
    kind, _, content = url.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


@pytest.mark.parametrize("side", [None, 80])
def test_small_pictures_are_exact(side):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    assert np.array_equal(decoded(picture(pixels, side)), pixels)


def test_photos_are_close_and_thumbnails_small():
    ramp = np.linspace(0, 255, 224).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 99), axis=-1).astype(np.uint8)
    assert np.abs(decoded(picture(pixels)).astype(int) - pixels).mean() < 4
    assert decoded(picture(pixels, 80)).shape == (80, 80, 3)
    assert len(picture(pixels, 80)) < len(picture(pixels)) < pixels.size / 10
