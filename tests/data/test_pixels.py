"""Pixel and mask files: what is in them, the same bytes from any threads, parts and kinds, and broken images."""

import re
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN
from made_data import Made, write_packed
from PIL import Image

from classlens.data.digits import Digits
from classlens.data.geometry import Geometry
from classlens.data.image_folder import ImageFolder
from classlens.data.imagenet_s import ImageNetS
from classlens.data.join import join_pixels
from classlens.data.parquet import Parquet
from classlens.data.pixels import CHUNK_BYTES
from classlens.data.stimulus import Stimulus, read_stimuli, write_stimuli
from classlens.data.threads import in_order
from classlens.data.webdataset import WebDataset
from classlens.errors import InputError

SMALL = Geometry(28, "shortest", 0.875, "bicubic")
DIGIT = Geometry(12, "squash", 1.0, "bilinear")


@pytest.fixture
def digits(tmp_path):
    def made(count, class_index=None):
        made = Made(tmp_path, Digits)
        index = range(count) if class_index is None else [class_index] * count
        stimuli = [Stimulus("evaluation", own, "0", "", f"digits.csv.gz#{row}") for row, own in enumerate(index)]
        write_stimuli(stimuli, [made.opened.digest(item.file) for item in stimuli], made.stimuli)
        return made

    return made


@pytest.fixture
def photos(tmp_path):
    """The golden data set, free to be changed, and nothing listed yet."""
    return Made(tmp_path, ImageNetS, shutil.copytree(GOLDEN / "imagenet_s", tmp_path / "images"))


def test_pixels_and_masks_are_transformed_in_order(photos):
    photos.list(per_class=3, train_per_class=0)
    with photos.pixels(SMALL, threads=2) as file:
        assert set(file) == {"pixels", "class_index"}
        assert file["class_index"][:].tolist() == [item.class_index for item in photos.listed]
        for item, pixels in zip(photos.listed, file["pixels"], strict=True):
            assert np.array_equal(pixels, SMALL.image(photos.opened.image(item.file)))
    geometry = Geometry(112, "squash", 1.0, "bicubic")
    with photos.masks(geometry, threads=2) as file:
        masks = file["mask"]
        assert (masks.shape, masks.dtype) == ((18, 112, 112), np.uint8)
        assert dict(masks.attrs) == {"description": "0 context, 1 class, 2 ignore", "unit": "label"}
        for item, mask in zip(photos.listed, masks, strict=True):
            assert np.array_equal(mask, geometry.mask(Image.fromarray(photos.opened.mask(item.file, item.class_id))))
        assert set(np.unique(masks)) == {0, 1, 2}


def test_pixel_files_say_what_they_hold(digits):
    with digits(150).pixels(DIGIT) as file:
        pixels, classes = file["pixels"], file["class_index"]
        assert (pixels.shape, pixels.dtype, pixels.chunks) == ((150, 12, 12, 3), np.uint8, (64, 12, 12, 3))
        assert (classes.shape, classes.dtype) == ((150,), np.uint16)
        assert dict(pixels.attrs) == {"description": "red, green and blue", "unit": "1/255"}
        assert dict(classes.attrs) == {"description": "class of each image", "unit": "class index"}
        assert pixels.compression is None  # read again and again while models run
        assert not dict(file.attrs)
    with digits(2, class_index=65536).pixels(DIGIT) as file:
        assert (file["class_index"].dtype, file["class_index"][:].tolist()) == (np.int32, [65536] * 2)


@pytest.mark.parametrize("size", [300, 900])
def test_chunks_of_large_images_stay_small(digits, size):
    with digits(10).pixels(Geometry(size, "squash", 1.0, "nearest"), threads=2) as file:
        rows = file["pixels"].chunks[0]
        assert rows == max(1, CHUNK_BYTES // (3 * size * size)) < 10
        assert file["pixels"][-1].any()


@pytest.mark.parametrize("write", [Made.pixels, Made.masks])
def test_bytes_do_not_depend_on_threads(digits, write):
    made, contents = digits(100), set()
    for threads in (1, 2, 7):
        write(made, DIGIT, threads).close()
        contents.add(Path(made.out).read_bytes())
    assert len(contents) == 1


# The same from packed images, and in parts

MANY = {"per_class": 20, "train_per_class": 3}
LARGE = Geometry(64, "shortest", 0.875, "bicubic")
"""Large enough that chunks of the file end within parts."""
FOLDERS = {ImageFolder: "image_folder", WebDataset: "webdataset", Parquet: "parquet"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    write_packed(folder, images=25, shards=3, row_group_size=7)
    return folder


@pytest.fixture
def made_of(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda kind, **changes: Made(tmp_path / kind.__name__, kind, data / FOLDERS[kind]).list(**MANY | changes)


def test_the_bytes_are_those_of_one_pass_and_of_folders(made_of, tmp_path):
    folders = made_of(ImageFolder)
    expected = {}
    for split in ("evaluation", "training"):
        folders.pixels(LARGE, split=split).close()
        expected[split] = Path(folders.out).read_bytes()
    for kind in (WebDataset, Parquet):
        made = made_of(kind)
        for split, count in (("evaluation", 60), ("training", 9)):
            listed, other = (read_stimuli(one.stimuli, split) for one in (made, folders))
            assert [(item.class_index, item.sha256) for item in listed] == [
                (item.class_index, item.sha256) for item in other
            ]
            for size in (count, count // 2, 4):
                parts = []
                for first in range(0, count, size):
                    part = [first, min(first + size, count)]
                    made.pixels(LARGE, 3, split, f"{first}.h5", part=part).close()
                    parts.append(made.out)
                joined = tmp_path / "joined.h5"
                join_pixels(parts=parts, stimuli=made.stimuli, pixels=str(joined), split=split)
                assert joined.read_bytes() == expected[split]
        made.pixels(LARGE, 3).close()
        assert Path(made.out).read_bytes() == expected["evaluation"]


def test_parts_and_images_that_are_missing_are_told(made_of):
    made = made_of(WebDataset, train_per_class=0)
    made.pixels(LARGE, part=[0, 10]).close()
    joined = {"stimuli": made.stimuli, "pixels": "joined.h5"}
    with pytest.raises(ValueError, match="10 images instead of 60"):
        join_pixels(parts=[made.out], split="evaluation", **joined)
    Path("joined.h5").unlink(missing_ok=True)
    with pytest.raises(InputError, match="there are no training images"):
        join_pixels(parts=[], split="training", **joined)
    with pytest.raises(InputError, match="train_per_class"):
        made.pixels(DIGIT, split="training", name="none.h5")
    assert not Path("joined.h5").exists()
    assert not Path(made.out).exists()


# What is broken


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("kept", [0, 2000])
@pytest.mark.parametrize("write", [Made.pixels, Made.masks])
def test_a_broken_image_is_an_error_that_names_it(photos, write, kept, threads):
    path = sorted(photos.opened.root.glob("ImageNetS919/validation/*/*.JPEG"))[1]
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"{path.name} cannot be read as an image"):
        write(photos.list(per_class=2, train_per_class=0), SMALL, threads)


def append_space(path):
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("damage", "before", "message"),
    [
        (lambda path: Image.new("RGB", (100, 50)).save(path), True, "{file} has 100 x 50 pixels, the image 224 x 224"),
        (append_space, False, "mask of {file} changed after it was listed"),
        (Path.unlink, True, "{file} has no mask"),
    ],
)
def test_a_wrong_mask_is_an_error(photos, damage, before, message):
    file = photos.list(per_class=1, train_per_class=0).listed[4].file
    if not before:
        photos.list_masks()
    damage(photos.opened.mask_path(file))
    with pytest.raises(InputError, match=re.escape(message.format(file=file))):
        photos.masks(DIGIT)


def test_an_image_that_changed_is_an_error(photos):
    path = photos.opened.folder / photos.list().listed[4].file
    append_space(path)
    with pytest.raises(InputError, match=rf"{path.name} changed after it was listed"):
        photos.pixels(DIGIT)


# Threads


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
