"""Packed images, decoded in parts and joined: the bytes of one pass, and those of the same images in folders."""

from pathlib import Path

import numpy as np
import pytest
from made_data import chosen, png, write_parquet, write_tar

from classlens.data.geometry import Geometry
from classlens.data.image_folder import ImageFolder
from classlens.data.join import join_pixels
from classlens.data.listing import list_stimuli
from classlens.data.parquet import Parquet
from classlens.data.pixels import write_pixels
from classlens.data.webdataset import WebDataset
from classlens.errors import InputError

CLASSES, IMAGES = 3, 25
CHOICE = {"per_class": 20, "train_per_class": 3, "exclude_classes": [], "too_few": "error"}
SMALL = Geometry(64, "shortest", 0.875, "bicubic")
"""Large enough that chunks of the file end within parts."""


def packed(folder):
    """Write the same images three times; the packed ones lie across classes."""
    rng = np.random.default_rng(1)
    contents = [[png((40, 48), rng) for _ in range(IMAGES)] for _ in range(CLASSES)]
    for label, images in enumerate(contents):
        (folder / f"photos/{label}").mkdir(parents=True)
        for number, content in enumerate(images):
            (folder / f"photos/{label}/{number:03}.png").write_bytes(content)
    every = [(number, label, contents[label][number]) for number in range(IMAGES) for label in range(CLASSES)]
    for shard in range(3):
        samples = every[shard * IMAGES : (shard + 1) * IMAGES]
        members = [
            member
            for number, label, content in samples
            for member in ((f"{number:03}_{label}.png", content), (f"{number:03}_{label}.cls", b"%d" % label))
        ]
        write_tar(folder / f"webdataset/{shard}.tar", members)
        write_parquet(
            folder / f"parquet/{shard}.parquet",
            [content for *_, content in samples],
            [label for _, label, _ in samples],
            row_group_size=7,
        )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    packed(folder)
    return folder


def listed(source, root, folder):
    """List a data set; return what writing its pixels takes, and the folder's path of a file."""
    place = {"source": source, "root": str(root), "mask_root": None}
    stimuli = str(folder / f"{root.name}.csv")
    choice = {"selection": CHOICE, "chosen": chosen(selection=CHOICE, **place)}
    list_stimuli(raw=[], table=stimuli, threads=2, **choice, **place)
    return {**place, "stimuli": stimuli, "geometry": SMALL, "threads": 3}


@pytest.fixture
def folders(data, tmp_path, monkeypatch):
    """The pixels of the same images in folders, by split."""
    monkeypatch.chdir(tmp_path)
    known = listed(ImageFolder, data / "photos", tmp_path)
    for split in ("evaluation", "training"):
        write_pixels(pixels=str(tmp_path / f"{split}.h5"), split=split, **known)
    return {split: (tmp_path / f"{split}.h5").read_bytes() for split in ("evaluation", "training")}


@pytest.mark.parametrize("source", [WebDataset, Parquet])
def test_the_bytes_are_those_of_one_pass_and_of_folders(source, data, tmp_path, folders):
    known = listed(source, data / source.__name__.lower(), tmp_path)
    for split, count in (("evaluation", 60), ("training", 9)):
        write_pixels(pixels=str(tmp_path / "once.h5"), split=split, **known)
        assert (tmp_path / "once.h5").read_bytes() == folders[split]
        for size in (count, count // 2, 4):
            parts = []
            for part in [[first, min(first + size, count)] for first in range(0, count, size)]:
                parts.append(str(tmp_path / f"{part[0]}.h5"))
                write_pixels(pixels=parts[-1], split=split, part=part, **known)
            joined = tmp_path / "joined.h5"
            join_pixels(parts=parts, stimuli=known["stimuli"], pixels=str(joined), split=split)
            assert joined.read_bytes() == folders[split]


def test_missing_parts_are_an_error(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = listed(WebDataset, data / "webdataset", tmp_path)
    write_pixels(pixels="part.h5", split="evaluation", part=[0, 10], **known)
    with pytest.raises(ValueError, match="10 images instead of 60"):
        join_pixels(parts=["part.h5"], stimuli=known["stimuli"], pixels="joined.h5", split="evaluation")


def test_no_images_are_told(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(CHOICE, "train_per_class", 0)
    known = listed(WebDataset, data / "webdataset", tmp_path)
    with pytest.raises(InputError, match="there are no training images"):
        join_pixels(parts=[], stimuli=known["stimuli"], pixels="joined.h5", split="training")
    assert not Path("joined.h5").exists()
