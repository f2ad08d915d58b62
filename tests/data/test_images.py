"""Files of every sort become sound RGB, or are refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classlens.data import png
from classlens.data.images import open_image, open_mask, open_nonzero
from classlens.errors import InputError

RED, WHITE = (255, 0, 0), (255, 255, 255)
GRADIENT = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def rotated(tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    return exif


def opened(content, tmp_path):
    image = open_image(content, tmp_path / "photo.JPEG")
    assert image.mode == "RGB"
    return np.asarray(image)


def declaring(width, height):
    """Return a PNG that says it has these many pixels, and holds one."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = encoded(Image.new("RGB", (1, 1)))
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def test_rgb_stays_as_it_is(tmp_path):
    assert np.array_equal(opened(encoded(Image.fromarray(GRADIENT)), tmp_path), GRADIENT)


@pytest.mark.parametrize(("alpha", "expected"), [(255, (255, 0, 0)), (0, WHITE), (51, (255, 204, 204))])
def test_transparency_is_laid_over_white(tmp_path, alpha, expected):
    pixels = opened(encoded(Image.new("RGBA", (2, 2), (*RED, alpha))), tmp_path)
    assert (pixels == expected).all()


def test_grey_with_transparency(tmp_path):
    image = Image.new("LA", (2, 1), (100, 255))
    image.putpixel((1, 0), (100, 0))
    assert opened(encoded(image), tmp_path).tolist() == [[[100] * 3, [255] * 3]]


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_fills_three_channels(tmp_path, mode):
    grey = Image.fromarray(GRADIENT).convert(mode)
    expected = np.asarray(grey.convert("L"))
    pixels = opened(encoded(grey), tmp_path)
    assert all(np.array_equal(pixels[..., channel], expected) for channel in range(3))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, kind):
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    pixels = opened(encoded(Image.fromarray(values), kind), tmp_path)
    assert pixels[0, :, 0].tolist() == [0, 1, 1, 128, 255]  # round(255 value / 65535)
    assert (pixels == pixels[..., :1]).all()


def test_cmyk_keeps_its_colours(tmp_path):
    colours = {(0, 255, 255, 0): RED, (0, 0, 0, 0): WHITE, (0, 0, 0, 255): (0, 0, 0), (255, 0, 0, 0): (0, 255, 255)}
    for ink, expected in colours.items():
        pixels = opened(encoded(Image.new("CMYK", (16, 16), ink), "JPEG"), tmp_path)
        assert np.abs(pixels.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("options", [{}, {"transparency": 1}])
def test_palettes_are_resolved(tmp_path, options):
    image = Image.new("P", (2, 1), 0)
    image.putpalette([*RED, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert opened(encoded(image, **options), tmp_path).tolist() == [[[*RED], [*WHITE] if options else [0, 0, 255]]]


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
def test_the_camera_s_rotation_is_applied(tmp_path, tag, upright):
    content = encoded(Image.fromarray(GRADIENT), exif=rotated(tag))
    assert np.array_equal(opened(content, tmp_path), upright(GRADIENT))


def test_rotation_reaches_other_modes(tmp_path):
    deep = Image.fromarray(np.arange(6, dtype=np.uint16).reshape(2, 3) * 256)
    assert opened(encoded(deep, "TIFF", exif=rotated(6)), tmp_path)[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]
    clear = Image.new("RGBA", (3, 2), (*RED, 0))
    assert opened(encoded(clear, exif=rotated(6)), tmp_path).tolist() == [[[*WHITE]] * 2] * 3


def wrong_tag():
    """Return a TIFF that gives the place of its pixels as text."""
    content = bytearray(encoded(Image.new("RGB", (4, 4)), "TIFF"))
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry) == (273,):
            struct.pack_into("<H", content, entry + 2, 2)
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is text, not an image",
        encoded(Image.fromarray(GRADIENT), "JPEG")[:-120],
        encoded(Image.fromarray(GRADIENT))[:-120],
        encoded(Image.fromarray(GRADIENT))[:30],
        wrong_tag(),
    ],
    ids=["empty", "text", "truncated JPEG", "truncated PNG", "header alone", "wrong tag"],
)
def test_broken_files_are_refused_by_name(tmp_path, content):
    with pytest.raises(InputError, match=r"photo\.JPEG cannot be read as an image .*; replace it"):
        opened(content, tmp_path)
    with pytest.raises(InputError, match=r"mask .*mask\.png cannot be read .*; replace it"):
        open_mask(content, tmp_path / "mask.png")


def test_gigantic_images_are_refused_before_they_are_decoded(tmp_path):
    with pytest.raises(InputError, match=r"photo\.JPEG has too many pixels .*; resize it"):
        opened(declaring(60_000, 60_000), tmp_path)
    with pytest.raises(InputError, match=r"mask\.png cannot be read"):
        open_mask(declaring(60_000, 60_000), tmp_path / "mask.png")


KINDS = [(kind, mode) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF") for mode in ("L", "RGB")]
SOUND = [encoded(Image.fromarray(GRADIENT).convert(mode), kind) for kind, mode in KINDS]


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    content=st.sampled_from(SOUND),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    kept=st.floats(0, 1),
)
def test_damaged_files_become_rgb_or_are_refused(tmp_path_factory, content, damage, kept):
    broken = bytearray(content)
    for place, value in damage:
        broken[int(place * len(broken))] = value
    path = tmp_path_factory.getbasetemp() / "photo.JPEG"
    try:
        image = open_image(bytes(broken[: int(kept * len(broken))]), path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert image.mode == "RGB"
        assert np.asarray(image).shape == (image.height, image.width, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_masks_keep_their_values(tmp_path, mode):
    values = np.array([[(1, 0, 0), (232, 3, 0), (44, 1, 0)]], np.uint8)
    image = Image.fromarray(values)
    image = image.quantize(8, method=Image.Quantize.FASTOCTREE) if mode == "P" else image.convert(mode)
    expected = np.asarray(image.convert("RGB"))
    if mode == "RGBA":
        image.putalpha(0)
    assert np.array_equal(open_mask(encoded(image), tmp_path / "mask.png"), expected)
    if mode != "P":
        assert np.array_equal(expected, values)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_rows(width, height, rows, value=7):
    """Return a PNG whose data ends after some of its rows, and is whole in itself."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress((b"\0" + bytes([value]) * 3 * width) * rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height", "rows"), [(13000, 13000, 64), (5, 4, 3)])
@pytest.mark.parametrize("decode", [open_image, open_mask, open_nonzero])
def test_png_files_that_lack_rows_are_refused(tmp_path, width, height, rows, decode):
    with pytest.raises(InputError, match=rf"cut\.png.*declares {height} rows, and \d+% of the data is there"):
        decode(png_of_rows(width, height, rows), tmp_path / "cut.png")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5)])
def test_black_png_files_are_whole(tmp_path, mode, size):
    open_image(encoded(Image.new(mode, size)), tmp_path / "black.png")
    open_image(png_of_rows(5, 4, 4, value=0), tmp_path / "black.png")


def test_the_rows_of_an_interlaced_png_are_counted():
    """Its seven passes hold each pixel once (8 bits here), and a filter's byte per row."""
    header = struct.pack(">IIBBBBB", 5, 3, 8, 0, 0, 0, 1)
    # Counted by hand, the passes of 5 x 3 pixels have 1, 1, 0, 1, 1, 2 and 1 rows.
    assert png._size(png.SIGNATURE + chunk(b"IHDR", header)) == 5 * 3 + 7


def deep_png(values):
    """Return a PNG of red, green and blue with 16 bits each (height, width, 3)."""
    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_masks_whose_small_values_are_lost_are_refused(tmp_path):
    """Of colours with 16 bits Pillow reads the upper 8: objects 1 to 255 would be context."""
    one = np.zeros((2, 3, 3))
    one[0, 1] = 1
    with pytest.raises(InputError, match=r"m\.png has colours of 16 bits.*save it with 8 bits"):
        open_nonzero(deep_png(one), tmp_path / "m.png")
    assert open_nonzero(deep_png(one * 65535), tmp_path / "m.png").tolist() == [[False, True, False], [False] * 3]
    grey = encoded(Image.fromarray(one[..., 0].astype(np.uint16)))
    assert open_nonzero(grey, tmp_path / "m.png").tolist() == [[False, True, False], [False] * 3]


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "LA", "I;16"])
def test_a_mask_is_turned_as_its_image(tmp_path, mode):
    corner = Image.new("L", (5, 3))
    corner.putpixel((0, 0), 255)
    turned = encoded(corner.convert(mode), exif=rotated(6))
    image = opened(turned, tmp_path)[..., 0] > 0
    assert image.shape == (5, 3)
    assert np.array_equal(open_nonzero(turned, tmp_path / "m.png"), image)
