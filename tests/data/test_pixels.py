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
from made_data import chosen
from PIL import Image

from classlens.data.digits import Digits
from classlens.data.geometry import Geometry
from classlens.data.imagenet_s import ImageNetS
from classlens.data.listing import list_masks, list_stimuli
from classlens.data.pixels import CHUNK_BYTES, write_masks, write_pixels
from classlens.data.stimulus import Stimulus, read_stimuli, write_stimuli
from classlens.data.threads import in_order
from classlens.errors import InputError

CHOICE = {"per_class": 3, "train_per_class": 0, "exclude_classes": [], "too_few": "error"}
SMALL = Geometry(28, "shortest", 0.875, "bicubic")
DIGIT = Geometry(12, "squash", 1.0, "bilinear")


@pytest.fixture
def root(tmp_path):
    """The golden data set, free to be changed."""
    return shutil.copytree(GOLDEN / "imagenet_s", tmp_path / "images")


class Made:
    """Writes the files of one data set."""

    def __init__(self, folder, source, root=None):
        self.folder = folder
        self.place = {"source": source, "root": root and str(root), "mask_root": None}
        self.opened = source(self.place["root"])
        self.stimuli, self.digests, self.out = (str(folder / n) for n in ("stimuli.csv", "masks.csv", "out.h5"))

    @property
    def listed(self):
        return read_stimuli(self.stimuli, "evaluation")

    def list_masks(self):
        list_masks(stimuli=self.stimuli, raw=[], table=self.digests, threads=2, **self.place)

    def pixels(self, geometry=DIGIT, threads=1, split="evaluation"):
        write_pixels(
            stimuli=self.stimuli, pixels=self.out, geometry=geometry, split=split, threads=threads, **self.place
        )
        return h5py.File(self.out)

    def masks(self, geometry=DIGIT, threads=1):
        if not Path(self.digests).exists():
            self.list_masks()
        write_masks(
            stimuli=self.stimuli, digests=self.digests, masks=self.out, geometry=geometry, threads=threads, **self.place
        )
        return h5py.File(self.out)


@pytest.fixture
def digits(tmp_path):
    def made(count, class_index=None):
        made = Made(tmp_path, Digits)
        index = range(count) if class_index is None else [class_index] * count
        stimuli = [Stimulus("evaluation", own, "0", "", f"digits.csv.gz#{row}") for row, own in enumerate(index)]
        write_stimuli(stimuli, [made.opened.digest(item.file) for item in stimuli], made.stimuli)
        return made

    return made


def photographed(folder, root):
    made = Made(folder, ImageNetS, root)
    choice = {"selection": CHOICE, "chosen": chosen(selection=CHOICE, **made.place)}
    list_stimuli(raw=[], table=made.stimuli, threads=2, **choice, **made.place)
    return made


@pytest.fixture
def photos(root, tmp_path):
    return photographed(tmp_path, root)


def test_pixels_are_the_transformed_images_in_order(photos):
    with photos.pixels(SMALL, threads=2) as file:
        assert set(file) == {"pixels", "class_index"}
        assert file["class_index"][:].tolist() == [item.class_index for item in photos.listed]
        for item, pixels in zip(photos.listed, file["pixels"], strict=True):
            assert np.array_equal(pixels, SMALL.image(photos.opened.image(item.file)))


def test_pixel_files_say_what_they_hold(digits):
    with digits(150).pixels() as file:
        pixels, classes = file["pixels"], file["class_index"]
        assert (pixels.shape, pixels.dtype, pixels.chunks) == ((150, 12, 12, 3), np.uint8, (64, 12, 12, 3))
        assert (classes.shape, classes.dtype) == ((150,), np.uint16)
        assert dict(pixels.attrs) == {"description": "red, green and blue", "unit": "1/255"}
        assert dict(classes.attrs) == {"description": "class of each image", "unit": "class index"}
        assert pixels.compression is None  # read again and again while models run
        assert not dict(file.attrs)


@pytest.mark.parametrize("size", [300, 900])
def test_chunks_of_large_images_stay_small(digits, size):
    with digits(10).pixels(Geometry(size, "squash", 1.0, "nearest"), threads=2) as file:
        rows = file["pixels"].chunks[0]
        assert rows == max(1, CHUNK_BYTES // (3 * size * size)) < 10
        assert file["pixels"][-1].any()


@pytest.mark.parametrize(("highest", "dtype"), [(65535, np.uint16), (65536, np.int32)])
def test_class_indices_that_need_more_than_sixteen_bits(digits, highest, dtype):
    with digits(2, class_index=highest).pixels() as file:
        assert file["class_index"].dtype == dtype
        assert file["class_index"][:].tolist() == [highest] * 2


@pytest.mark.parametrize("write", [Made.pixels, Made.masks])
def test_bytes_do_not_depend_on_threads(digits, write):
    made, contents = digits(200), set()
    for threads in (1, 2, 7):
        write(made, threads=threads).close()
        contents.add(Path(made.out).read_bytes())
    assert len(contents) == 1


def test_masks_move_like_their_images(photos):
    geometry = Geometry(112, "squash", 1.0, "bicubic")
    with photos.masks(geometry, threads=2) as file:
        masks = file["mask"]
        assert (masks.shape, masks.dtype) == ((18, 112, 112), np.uint8)
        assert dict(masks.attrs) == {"description": "0 context, 1 class, 2 ignore", "unit": "label"}
        for item, mask in zip(photos.listed, masks, strict=True):
            assert np.array_equal(mask, geometry.mask(Image.fromarray(photos.opened.mask(item.file, item.class_id))))
        assert set(np.unique(masks)) == {0, 1, 2}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("kept", [0, 2000])
@pytest.mark.parametrize("write", [Made.pixels, Made.masks])
def test_a_broken_image_is_an_error_that_names_it(root, tmp_path, write, kept, threads):
    path = sorted(root.glob("ImageNetS919/validation/*/*.JPEG"))[1]
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"{path.name} cannot be read as an image"):
        write(photographed(tmp_path, root), SMALL, threads)


def test_an_image_that_changed_is_an_error(photos):
    path = photos.opened.folder / photos.listed[4].file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match=rf"{path.name} changed after it was listed"):
        photos.pixels()


def replace_mask(path):
    Image.new("RGB", (100, 50)).save(path)


def append_space(path):
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("damage", "before", "message"),
    [
        (replace_mask, True, "{file} has 100 x 50 pixels, the image 224 x 224"),
        (append_space, False, "mask of {file} changed after it was listed"),
        (Path.unlink, True, "{file} has no mask"),
    ],
)
def test_a_wrong_mask_is_an_error(photos, damage, before, message):
    file = photos.listed[4].file
    if not before:
        photos.list_masks()
    damage(photos.opened.mask_path(file))
    with pytest.raises(InputError, match=re.escape(message.format(file=file))):
        photos.masks()


def test_a_split_without_images_is_refused_by_its_key(digits):
    made = digits(2)
    with pytest.raises(InputError, match="train_per_class"):
        made.pixels(split="training")
    assert not Path(made.out).exists()


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
