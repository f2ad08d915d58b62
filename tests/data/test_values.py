"""Types of values: which are black and white follows from the file's type, from value_range, or is asked for."""

import re
import struct
from fractions import Fraction

import numpy as np
import pytest
from conftest import TINY_MODEL
from made_data import Made, image_bytes, write_parquet
from PIL import Image

from classlens.catalog.configs import load_config
from classlens.check.findings import Findings, _check_images
from classlens.data.contrast import Contrast, seen
from classlens.data.geometry import Geometry
from classlens.data.image_folder import ImageFolder
from classlens.data.images import open_image
from classlens.data.kinds import open_dataset
from classlens.errors import InputError
from classlens.models.pictures import as_inputs

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
"""TIFF 6.0, SampleFormat."""


def tiff(values, white_is_zero=False, order="<"):
    """Spell a TIFF file of grey values, tag by tag."""
    kind = {"u": UNSIGNED, "i": SIGNED, "f": FLOAT}[values.dtype.kind]
    height, width = values.shape
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    bits, photometric = values.dtype.itemsize * 8, 0 if white_is_zero else 1
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 339: kind}
    entries = [(tag, 3, struct.pack(f"{order}HH", value, 0)) for tag, value in tags.items()]
    entries.append((279, 4, struct.pack(f"{order}I", len(data))))
    table = struct.pack(f"{order}H", len(entries))
    for tag, type_, value in sorted(entries):
        table += struct.pack(f"{order}HHI", tag, type_, 1) + value
    start = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return start + struct.pack(f"{order}I", 8 + len(data)) + data + table + bytes(4)


def grey(content, value_range=None, name="photo.tif"):
    pixels = np.asarray(open_image(content, name, value_range))
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].ravel().tolist()


def shares(values, low, high):
    """255 (value - low) / (high - low), clipped and rounded, by fractions."""
    exact = [255 * (Fraction(float(v)) - low) / (high - low) for v in values.ravel()]
    return [round(min(max(share, 0), 255)) for share in exact]


DEEP = np.array([[0, 255, 256, 1000], [4095, 32767, 32768, 65535]], np.uint16)
UNIT = np.array([[0, 0.1, 0.25], [0.6, 0.999, 1]], np.float32)
CT = np.array([[-1024, -1, 0], [1023, 2047, 3071]])


@pytest.mark.parametrize("content", [image_bytes(DEEP), tiff(DEEP), tiff(DEEP, order=">")])
def test_16_bits_are_divided_by_65535(content):
    assert grey(content) == shares(DEEP, 0, 65535)
    assert grey(content, [0, 4095]) == shares(DEEP, 0, 4095)


def test_other_types_have_a_range_too():
    assert grey(tiff(DEEP, white_is_zero=True)) == [255 - share for share in shares(DEEP, 0, 65535)]
    assert grey(tiff(UNIT)) == shares(UNIT, 0, 1)
    assert grey(tiff(UNIT * 2 - 1), [-1, 1]) == shares(UNIT * 2 - 1, -1, 1)
    assert grey(tiff(DEEP.astype(np.uint32) * 65537), [0, 2**32 - 1]) == shares(DEEP, 0, 65535)
    labels = np.array([[0, 3, 9]], np.uint8)
    assert grey(image_bytes(labels), [0, 9]) == [0, 85, 255]
    colour = np.dstack([labels] * 3 + [np.full_like(labels, 255)])  # opacity is left alone
    assert grey(image_bytes(colour), [0, 9]) == [0, 85, 255]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_other_values_need_a_range(kind, order):
    content = tiff(CT.astype(kind), order=order)
    assert grey(content, [-1024, 3071]) == shares(CT, -1024, 3071)
    with pytest.raises(InputError, match=r"photo\.tif holds .*from -1024 to 3071\); give .*value_range: \[low"):
        grey(content)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (UNIT * 2 - 1, r"float values outside of 0\.\.1 \(here from -1 to 1"),
        (UNIT * 255, r"float values outside of 0\.\.1 \(here from 0 to 255"),
        (np.where(UNIT > 0.5, np.float32(np.nan), UNIT), "no numbers"),
        (DEEP.astype(np.uint32) * 65537, "whole numbers of 32 bits"),
        (np.arange(6).reshape(2, 3).astype(np.int32), "signed whole numbers"),
        (np.array([[-128, 0, 127]], np.int8), "signed whole numbers"),
        (UNIT.astype(np.float64), "a TIFF file, but its values are of a type .* Pillow does not know"),
    ],
)
def test_what_does_not_tell_its_range_is_refused(values, what):
    with pytest.raises(InputError, match=rf"photo\.tif .*{what}"):
        grey(tiff(values))


def test_a_picture_of_unknown_range_is_refused_in_python():
    from timm import create_model

    model = create_model("vit_tiny_patch16_224", img_size=32, patch_size=16, depth=1, embed_dim=24, num_heads=3)
    with pytest.raises(InputError, match="mode F holds float values"):
        as_inputs(model, Image.fromarray(UNIT * 9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value_range": [1, 1]}, "1 is not below 1"),
        ({"value_range": [4095, 0]}, "4095 is not below 0"),
        ({"value_range": [0]}, r"value_range"),
        ({"kind": "digits", "value_range": [0, 1]}, "a range of its own"),
    ],
)
def test_a_wrong_range_is_refused(changes, message):
    dataset = {"kind": "image_folder", "root": "photos", **changes}
    with pytest.raises(InputError, match=message):
        load_config({"datasets": {"d": dataset}, "models": {"m": {**TINY_MODEL, "dataset": "d"}}})


def test_packed_images_have_a_range_too(tmp_path):
    write_parquet(tmp_path / "a.parquet", [tiff(CT.astype(np.int16))], [0])
    source = open_dataset({"kind": "parquet", "root": str(tmp_path), "masks": None, "value_range": [-1024, 3071]})
    [item] = source.stimuli({"per_class": 1})
    assert np.asarray(source.image(item.file))[..., 0].ravel().tolist() == shares(CT, -1024, 3071)


def photos(root, *values):
    for class_id in ("cat", "dog"):
        (root / class_id).mkdir(parents=True)
        for number, image in enumerate(values):
            (root / class_id / f"{number}.tif").write_bytes(tiff(image))


RNG = np.random.default_rng(0)
TWELVE = RNG.integers(0, 4096, (9, 8), np.uint16)


@pytest.mark.parametrize(
    ("values", "value_range", "doubt"),
    [
        (TWELVE, None, r"no value of 4 images is above 15 of 255.*value_range"),
        (TWELVE, [0, 4095], None),
        ((TWELVE * 16).astype(np.uint16), None, None),
        (CT.astype(np.int16), [-32768, 32767], r"half of 4 images are nearly constant.*value_range"),
        (CT.astype(np.int16), [-1024, 3071], None),
        (np.array([[0, 1, 2, 9]], np.uint8), None, "is above 9 of 255"),
        (np.array([[200, 201, 215]], np.uint8), None, "nearly constant, and span at most 15"),
        (np.array([[200, 201, 216]], np.uint8), None, None),
    ],
)
def test_data_that_was_misread_is_doubted(tmp_path, monkeypatch, values, value_range, doubt, caplog):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", values, values)
    found = doubts_of_check_and_jobs(tmp_path, caplog, value_range)
    assert len(found) == (doubt is not None)
    assert doubt is None or re.search(doubt, found[0])


@pytest.mark.parametrize(("value_range", "dark"), [(None, "2 images of 16 bits"), ([0, 4095], "2 images of 8 bits")])
def test_each_type_of_values_is_doubted_by_itself(value_range, dark):
    """One scanner writes 12 bits in 16, the other 8: bright images do not hide the dark ones."""
    contrast = Contrast()
    for values in (TWELVE, (TWELVE // 16).astype(np.uint8)) * 2:
        contrast.add(seen(open_image(image_bytes(values), "x.png", value_range)))
    [doubt] = contrast.doubts("d")
    assert re.search(f"datasets.d: no value of {dark} is above 1[56] of 255.*convert all images to one type", doubt)


@pytest.mark.parametrize(
    ("masks", "doubt"),
    [
        ([[1, 3], [2, 1], [0, 1]], "every pixel is class in 2 of 3 masks"),  # a trimap's background has a number
        ([[0, 0], [0, 9]], "no pixel is class in 1 of 2 masks"),
        ([[0, 0], [0, 9], [1, 0]], None),
    ],
)
def test_masks_that_tell_nothing_apart_are_doubted(tmp_path, monkeypatch, caplog, masks, doubt):
    monkeypatch.chdir(tmp_path)
    for number, mask in enumerate(masks):
        for folder, values in (("photos/a", [[0, 255]]), ("masks/a", [mask])):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / f"{number}.png").write_bytes(image_bytes(np.array(values, np.uint8)))
    found = doubts_of_check_and_jobs(tmp_path, caplog, None, "masks")
    assert [doubt in one for one in found] == [True] * (doubt is not None)


def doubts_of_check_and_jobs(folder, caplog, value_range, mask_root=None):
    """Return what `check` doubts of all images, and the jobs' logs, too."""
    made = Made(folder, ImageFolder, "photos", mask_root=mask_root, name="d", value_range=value_range)
    found, geometry = Findings(), Geometry(8, "squash", 1.0, "nearest")
    assert _check_images(made.opened, made.opened.stimuli({"per_class": None}), found)
    made.list(per_class=None if mask_root else 2, train_per_class=0).pixels(geometry).close()
    if mask_root:
        made.masks(geometry).close()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == found.doubts
    return found.doubts
