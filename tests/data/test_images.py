"""Files of every sort become sound RGB, or are refused by name. Damage at random is in test_untrusted_files."""

import io
import struct

import numpy as np
import pytest
from made_data import image_bytes, png_of
from PIL import Image

from classlens.data.images import open_image, open_mask, open_nonzero
from classlens.errors import InputError

RED, WHITE = (255, 0, 0), (255, 255, 255)
GRADIENT = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def rotated(tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    return exif


def opened(content):
    image = open_image(content, "photo.JPEG")
    assert image.mode == "RGB"
    return np.asarray(image)


def pixels_of(mode, *values):
    """Return an image of one row."""
    image = Image.new(mode, (len(values), 1))
    for place, value in enumerate(values):
        image.putpixel((place, 0), value)
    return image


def palette(**options):
    image = pixels_of("P", 0, 1)
    image.putpalette([*RED, 0, 0, 255])
    return image_bytes(image, **options)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (image_bytes(Image.fromarray(GRADIENT)), GRADIENT),
        (image_bytes(pixels_of("RGBA", (*RED, 255), (*RED, 0), (*RED, 51))), [[RED, WHITE, (255, 204, 204)]]),
        (image_bytes(pixels_of("LA", (100, 255), (100, 0))), [[[100] * 3, WHITE]]),
        (image_bytes(pixels_of("L", 7, 200)), [[[7] * 3, [200] * 3]]),
        (image_bytes(pixels_of("1", 0, 255)), [[[0] * 3, [255] * 3]]),
        (palette(), [[RED, [0, 0, 255]]]),
        (palette(transparency=1), [[RED, WHITE]]),
    ],
    ids=["RGB", "RGBA", "LA", "L", "1", "P", "P with transparency"],
)
def test_modes(content, expected):
    """What is transparent is laid over white."""
    assert np.array_equal(opened(content), expected)


def test_cmyk_keeps_its_colours():
    colours = {(0, 255, 255, 0): RED, (0, 0, 0, 0): WHITE, (0, 0, 0, 255): (0, 0, 0), (255, 0, 0, 0): (0, 255, 255)}
    for ink, expected in colours.items():
        pixels = opened(image_bytes(Image.new("CMYK", (16, 16), ink), "JPEG"))
        assert np.abs(pixels.astype(int) - expected).max() <= 3


@pytest.mark.parametrize(
    ("tag", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_the_camera_s_rotation_is_applied(tag, upright):
    assert np.array_equal(opened(image_bytes(Image.fromarray(GRADIENT), exif=rotated(tag))), upright(GRADIENT))


def test_rotation_reaches_other_modes():
    deep = Image.fromarray(np.arange(6, dtype=np.uint16).reshape(2, 3) * 256)
    assert opened(image_bytes(deep, "TIFF", exif=rotated(6)))[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]
    clear = Image.new("RGBA", (3, 2), (*RED, 0))
    assert opened(image_bytes(clear, exif=rotated(6))).tolist() == [[[*WHITE]] * 2] * 3


def wrong_tag():
    """Return a TIFF that gives the place of its pixels as text."""
    content = bytearray(image_bytes(Image.new("RGB", (4, 4)), "TIFF"))
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry) == (273,):
            struct.pack_into("<H", content, entry + 2, 2)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read as an image .*; replace it"),
        (b"this is text, not an image", "cannot be read as an image .*; replace it"),
        (image_bytes(Image.fromarray(GRADIENT), "JPEG")[:-120], "cannot be read as an image .*; replace it"),
        (image_bytes(Image.fromarray(GRADIENT))[:-120], "cannot be read as an image .*; replace it"),
        (image_bytes(Image.fromarray(GRADIENT))[:30], "cannot be read as an image .*; replace it"),
        (wrong_tag(), "cannot be read as an image .*; replace it"),
        (png_of(60_000, 60_000, b""), "has too many pixels .*; resize it"),
    ],
    ids=["empty", "text", "truncated JPEG", "truncated PNG", "header alone", "wrong tag", "gigantic"],
)
def test_broken_files_are_refused_by_name(content, reason):
    with pytest.raises(InputError, match=rf"photo\.JPEG {reason}"):
        opened(content)
    with pytest.raises(InputError, match=r"mask .*mask\.png cannot be read .*; replace it"):
        open_mask(content, "mask.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height", "rows"), [(13000, 13000, 64), (5, 4, 3)])
@pytest.mark.parametrize("decode", [open_image, open_mask, open_nonzero])
def test_png_files_that_lack_rows_are_refused(width, height, rows, decode):
    with pytest.raises(InputError, match=rf"cut\.png.*declares {height} rows, and \d+% of the data is there"):
        decode(png_of(width, height, (b"\0" + b"\7" * 3 * width) * rows), "cut.png")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5)])
def test_black_png_files_are_whole(mode, size):
    open_image(image_bytes(Image.new(mode, size)), "black.png")
    open_image(png_of(5, 4, bytes(4 * (1 + 3 * 5))), "black.png")


def test_the_rows_of_an_interlaced_png_are_counted():
    """Its seven passes hold each pixel once (8 bits here), and a filter's byte per row.

    Counted by hand, the passes of 5 x 3 pixels have 1, 1, 0, 1, 1, 2 and 1 rows.
    """
    open_image(png_of(5, 3, bytes(5 * 3 + 7), colours=0, interlaced=1), "whole.png")
    with pytest.raises(InputError, match=r"cut\.png.*73% of the data is there"):
        open_image(png_of(5, 3, bytes(5 * 3 + 1), colours=0, interlaced=1), "cut.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_masks_keep_their_values(mode):
    values = np.array([[(1, 0, 0), (232, 3, 0), (44, 1, 0)]], np.uint8)
    image = Image.fromarray(values)
    image = image.quantize(8, method=Image.Quantize.FASTOCTREE) if mode == "P" else image.convert(mode)
    expected = np.asarray(image.convert("RGB"))
    if mode == "RGBA":
        image.putalpha(0)
    assert np.array_equal(open_mask(image_bytes(image), "mask.png"), expected)
    if mode != "P":
        assert np.array_equal(expected, values)


def test_masks_whose_small_values_are_lost_are_refused():
    """Of colours with 16 bits Pillow reads the upper 8: objects 1 to 255 would be context."""

    def deep(values):
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        return png_of(3, 2, rows, bits=16)

    one = np.zeros((2, 3, 3))
    one[0, 1] = 1
    with pytest.raises(InputError, match=r"m\.png has colours of 16 bits.*save it with 8 bits"):
        open_nonzero(deep(one), "m.png")
    grey = image_bytes(Image.fromarray(one[..., 0].astype(np.uint16)))
    for content in (deep(one * 65535), grey):
        assert open_nonzero(content, "m.png").tolist() == [[False, True, False], [False] * 3]


@pytest.mark.parametrize("decode", [open_image, open_mask, open_nonzero])
def test_an_animation_is_its_first_picture(decode):
    first, second = (Image.new("RGB", (5, 4), colour) for colour in ("red", "blue"))
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=[second] * 300)
    found = np.asarray(decode(out.getvalue(), "moving.gif"))
    assert found.shape[:2] == (4, 5)
    assert decode is not open_image or (found == (255, 0, 0)).all()
