"""Small data sets that tests make, and the files that jobs make of them."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from classlens.data.listing import list_masks, list_stimuli
from classlens.data.pixels import write_masks, write_pixels
from classlens.data.select import digest_of_choice, select
from classlens.data.stimulus import read_stimuli

RNG = np.random.default_rng(0)
NAMES = ("apple", "aquarium_fish", "baby")


def write_cifar(folder, classes=NAMES, per_class=4):
    """Write files as those of CIFAR-100, with a few images of a few classes."""
    inside = folder / "cifar-100-python"
    inside.mkdir(parents=True)
    for partition in ("train", "test"):
        labels = list(range(len(classes))) * per_class
        content = {
            "fine_labels": labels,
            "coarse_labels": labels,
            "filenames": [f"{number}.png" for number in labels],
            "data": RNG.integers(0, 256, (len(labels), 3072), np.uint8),
        }
        (inside / partition).write_bytes(pickle.dumps(content, protocol=2))
    (inside / "meta").write_bytes(pickle.dumps({"fine_label_names": list(classes)}, protocol=2))
    return folder


def choice(**changes):
    """Return what the config says of which images are taken."""
    return {"per_class": 1, "train_per_class": 1, "exclude_classes": [], "too_few": "error", **changes}


def files(chosen, split):
    return [item.file for item in chosen if item.split == split]


class Made:
    """Writes the files of one data set as its jobs do, given access to it."""

    def __init__(self, folder, source, root=None, **place):
        folder.mkdir(exist_ok=True)
        place = {"root": root and str(root), "mask_root": None, **place}
        self.folder, self.opened, self.place = folder, source(**place), {"source": source, **place}
        self.stimuli, self.digests, self.out = (str(folder / name) for name in ("stimuli.csv", "masks.csv", "out.h5"))

    @property
    def listed(self):
        return read_stimuli(self.stimuli, "evaluation")

    def list(self, threads=2, **changes):
        wanted = choice(**changes)
        digest = digest_of_choice(select(self.opened, wanted))
        list_stimuli(raw=[], table=self.stimuli, threads=threads, selection=wanted, chosen=digest, **self.place)
        return self

    def list_masks(self):
        list_masks(stimuli=self.stimuli, raw=[], table=self.digests, threads=2, **self.place)

    def pixels(self, geometry, threads=1, split="evaluation", name=None, **part):
        self.out = str(self.folder / name) if name else self.out
        files = {"stimuli": self.stimuli, "pixels": self.out}
        write_pixels(**files, geometry=geometry, split=split, threads=threads, **part, **self.place)
        return h5py.File(self.out)

    def masks(self, geometry, threads=1):
        if not Path(self.digests).exists():
            self.list_masks()
        files = {"stimuli": self.stimuli, "digests": self.digests, "masks": self.out}
        write_masks(**files, geometry=geometry, threads=threads, **self.place)
        return h5py.File(self.out)


def image_bytes(image, kind="png", **options):
    """Return the file of an image, or of an array."""
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def png(size=(6, 5), rng=RNG):
    """Return the bytes of a picture of noise."""
    return image_bytes(rng.integers(0, 256, (*size[::-1], 3), np.uint8))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, data, bits=8, colours=2, interlaced=0):
    """Return a PNG that declares a size, and packs data."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def left_half(size=(6, 5)):
    """Return the bytes of a mask whose left half is class."""
    shown = np.zeros(size[::-1], np.uint8)
    shown[:, : size[0] // 2] = 1
    return image_bytes(shown)


def write_tar(path, members):
    """Write a tar file of members by name; bytes are a file's content, anything else is a member's own header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members:
            header = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                header.size = len(content)
            file.addfile(header, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def write_parquet(path, images, labels, masks=None, names=None, plain=False, **options):
    """Write a Parquet file as Hugging Face's libraries do, or with plain bytes; options are those of pyarrow."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def column(contents):
        if plain:
            return pa.array(contents, pa.binary())
        fields = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        return pa.array([{"bytes": content, "path": "x.png"} for content in contents], fields)

    columns = {"image": column(images), "label": pa.array(labels, pa.int64())}
    if masks is not None:
        columns["mask"] = column(masks)
    table = pa.table(columns)
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)
    return path


ANIMALS = ("cat", "dog", "emu")
PACKED_SIZE = (48, 40)


def write_packed(folder, images=4, shards=2, **parquet):
    """Write images of three classes and masks as folders, tar shards and Parquet files, which lie across classes."""
    rng, half = np.random.default_rng(0), left_half(PACKED_SIZE)
    numbers = [f"{number:0{len(str(images - 1))}}" for number in range(images)]
    every = [(f"{ANIMALS[label]}/{number}", label, png(PACKED_SIZE, rng)) for number in numbers for label in range(3)]
    for name, _, content in every:
        for kind, written in (("image_folder", content), ("masks", half)):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / kind / f"{name}.png").write_bytes(written)
    size = len(every) // shards
    for shard in range(shards):
        names, labels, contents = zip(*every[size * shard : size * (shard + 1)], strict=True)
        members = [
            member
            for name, label, content in zip(names, labels, contents, strict=True)
            for member in ((f"{name}.png", content), (f"{name}.mask.png", half), (f"{name}.cls", b"%d" % label))
        ]
        write_tar(folder / f"webdataset/{shard:06}.tar", members)
        write_parquet(folder / f"parquet/{shard}.parquet", contents, labels, [half] * size, ANIMALS, **parquet)
    (folder / "webdataset/classes.txt").write_text("\n".join(ANIMALS))
