"""Pixel and mask files: what is in them, the same bytes from any number of threads, and broken images."""

import re
import shutil
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import GOLDEN
from PIL import Image

from classlens.data.geometry import Geometry
from classlens.data.imagenet_s import mask_path
from classlens.data.listing import list_stimuli
from classlens.data.pixels import CHUNK_BYTES, write_masks, write_pixels
from classlens.data.raw import open_raw
from classlens.data.stimulus import Listed, read_stimuli
from classlens.data.threads import in_order
from classlens.errors import InputError

CHOICE = {"per_class": 3, "train_per_class": 0, "exclude_classes": [], "too_few": "error", "masks": None}
SMALL = Geometry(28, "shortest", 0.875, "bicubic")
DIGIT = Geometry(12, "squash", 1.0, "bilinear")


@pytest.fixture
def root(tmp_path):
    """The golden data set, free to be changed."""
    return shutil.copytree(GOLDEN / "imagenet_s", tmp_path / "images")


def photos(root, tmp_path):
    """Return stimuli and raw access of the golden images."""
    list_stimuli("imagenet_s", str(root), CHOICE, tmp_path / "stimuli.csv", 2)
    return read_stimuli(tmp_path / "stimuli.csv", "evaluation"), open_raw("imagenet_s", str(root))


def digits(count, class_index=None):
    raw = open_raw("digits", None)
    files = [f"digits.csv.gz#{row}" for row in range(count)]
    return [
        Listed("evaluation", i if class_index is None else class_index, "0", file, raw.digest(file))
        for i, file in enumerate(files)
    ], raw


def mask_digests(stimuli, raw):
    return [raw.mask_digest(item.file, item.class_id) for item in stimuli]


def write_listed_masks(stimuli, raw, *arguments, **options):
    write_masks(stimuli, mask_digests(stimuli, raw), raw, *arguments, **options)


def test_pixels_are_the_transformed_images_in_order(tmp_path):
    stimuli, raw = photos(GOLDEN / "imagenet_s", tmp_path)
    write_pixels(stimuli, raw, SMALL, tmp_path / "pixels.h5", threads=2)
    with h5py.File(tmp_path / "pixels.h5") as file:
        assert set(file) == {"pixels", "class_index"}
        assert file["class_index"][:].tolist() == [item.class_index for item in stimuli]
        for item, pixels in zip(stimuli, file["pixels"], strict=True):
            assert np.array_equal(pixels, SMALL.image(raw.image(item.file, item.sha256)))


def test_pixel_files_say_what_they_hold(tmp_path):
    stimuli, raw = digits(150)
    write_pixels(stimuli, raw, DIGIT, tmp_path / "pixels.h5")
    with h5py.File(tmp_path / "pixels.h5") as file:
        pixels, classes = file["pixels"], file["class_index"]
        assert (pixels.shape, pixels.dtype, pixels.chunks) == ((150, 12, 12, 3), np.uint8, (64, 12, 12, 3))
        assert (classes.shape, classes.dtype) == ((150,), np.uint16)
        assert dict(pixels.attrs) == {"description": "red, green and blue", "unit": "1/255"}
        assert dict(classes.attrs) == {"description": "class of each image", "unit": "class index"}
        assert pixels.compression is None  # read again and again while models run
        assert not dict(file.attrs)


@pytest.mark.parametrize("size", [300, 900])
def test_chunks_of_large_images_stay_small(tmp_path, size):
    stimuli, raw = digits(10)
    write_pixels(stimuli, raw, Geometry(size, "squash", 1.0, "nearest"), tmp_path / "pixels.h5", threads=2)
    with h5py.File(tmp_path / "pixels.h5") as file:
        rows = file["pixels"].chunks[0]
        assert rows == max(1, CHUNK_BYTES // (3 * size * size)) < 10
        assert file["pixels"][-1].any()


def test_class_indices_that_need_more_than_sixteen_bits(tmp_path):
    for highest, dtype in ((65535, np.uint16), (65536, np.int32)):
        stimuli, raw = digits(2, class_index=highest)
        write_pixels(stimuli, raw, DIGIT, tmp_path / "pixels.h5")
        with h5py.File(tmp_path / "pixels.h5") as file:
            assert file["class_index"].dtype == dtype
            assert file["class_index"][:].tolist() == [highest] * 2


@pytest.mark.parametrize("write", [write_pixels, write_listed_masks])
def test_bytes_do_not_depend_on_threads(tmp_path, write):
    stimuli, raw = digits(200)
    contents = set()
    for threads in (1, 2, 7):
        write(stimuli, raw, DIGIT, tmp_path / f"{threads}.h5", threads)
        contents.add((tmp_path / f"{threads}.h5").read_bytes())
    assert len(contents) == 1


def test_masks_move_like_their_images(tmp_path):
    stimuli, raw = photos(GOLDEN / "imagenet_s", tmp_path)
    geometry = Geometry(112, "squash", 1.0, "bicubic")
    write_listed_masks(stimuli, raw, geometry, tmp_path / "masks.h5", threads=2)
    with h5py.File(tmp_path / "masks.h5") as file:
        masks = file["mask"]
        assert (masks.shape, masks.dtype) == ((18, 112, 112), np.uint8)
        assert dict(masks.attrs) == {"description": "0 context, 1 class, 2 ignore", "unit": "label"}
        for item, mask in zip(stimuli, masks, strict=True):
            assert np.array_equal(mask, geometry.mask(Image.fromarray(raw.mask(item.file, item.class_id))))
        assert set(np.unique(masks)) == {0, 1, 2}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("kept", [0, 2000])
@pytest.mark.parametrize("write", [write_pixels, write_listed_masks])
def test_a_broken_image_is_an_error_that_names_it(root, tmp_path, write, kept, threads):
    path = sorted(root.glob("ImageNetS919/validation/*/*.JPEG"))[1]
    path.write_bytes(path.read_bytes()[:kept])
    stimuli, raw = photos(root, tmp_path)
    with pytest.raises(InputError, match=rf"{path.name} cannot be read as an image"):
        write(stimuli, raw, SMALL, tmp_path / "out.h5", threads)


def test_an_image_that_changed_is_an_error(root, tmp_path):
    stimuli, raw = photos(root, tmp_path)
    path = root / "ImageNetS919" / stimuli[4].file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match=rf"{path.name} changed after it was listed"):
        write_pixels(stimuli, raw, SMALL, tmp_path / "out.h5")


def test_a_mask_of_another_size_is_an_error(root, tmp_path):
    stimuli, raw = photos(root, tmp_path)
    Image.new("RGB", (100, 50)).save(mask_path(root, stimuli[4].file))
    with pytest.raises(InputError, match=rf"{Path(stimuli[4].file).name} has 100 x 50 pixels, the image 224 x 224"):
        write_listed_masks(stimuli, raw, SMALL, tmp_path / "out.h5")


def test_a_mask_that_changed_is_an_error(root, tmp_path):
    stimuli, raw = photos(root, tmp_path)
    digests = mask_digests(stimuli, raw)
    path = mask_path(root, stimuli[4].file)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match=rf"mask of {re.escape(stimuli[4].file)} changed after it was listed"):
        write_masks(stimuli, digests, raw, SMALL, tmp_path / "out.h5")


def test_a_missing_mask_is_an_error(root, tmp_path):
    stimuli, raw = photos(root, tmp_path)
    path = mask_path(root, stimuli[0].file)
    path.unlink()
    with pytest.raises(InputError, match=path.name):
        write_listed_masks(stimuli, raw, SMALL, tmp_path / "out.h5")


def test_a_split_without_images_is_refused_by_its_key(tmp_path):
    with pytest.raises(InputError, match="train_per_class"):
        write_pixels([], open_raw("digits", None), DIGIT, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_results_come_in_order_however_long_they_take():
    def slow_first(item):
        time.sleep(0.02 if item % 4 == 0 else 0)
        return item * item

    assert list(in_order(slow_first, range(20), 4, "squaring")) == [(i, i * i) for i in range(20)]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_run_only_a_few_items_ahead(threads):
    started, lock = [], threading.Lock()

    def start(item):
        with lock:
            started.append(item)

    for received, _ in enumerate(in_order(start, range(100), threads, "starting")):
        time.sleep(0.001)
        assert len(started) - received <= 4 * threads + 1
    assert sorted(started) == list(range(100))


def test_the_first_failure_ends_the_work():
    started = []

    def fail(item):
        started.append(item)
        if item == 3:
            raise InputError("item 3")
        return item

    with pytest.raises(InputError, match="item 3"):
        list(in_order(fail, range(1000), 2, "failing"))
    assert len(started) < 20
