"""Files from elsewhere, made to break their readers: each is read, or refused by name, soon and with bounded memory.

What a whole file says wrong is tested beside each reader; here files are damaged at random, nested, and blown up.
"""

import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_data import choice, chunk, image_bytes, png_of, write_cifar
from safetensors.numpy import save as save_tensors

from classlens.catalog.configs import read_config
from classlens.data.images import open_image, open_mask, open_nonzero
from classlens.data.kinds import open_dataset
from classlens.data.select import select
from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.head import read_head, save_head
from classlens.models.weights import fill_from_file

fuzzed = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
"""Bounded, and the same in every run; `--hypothesis-seed` has no say."""
CHOICE = choice(per_class=2)


@st.composite
def damage(draw, content):
    """Return a content with bytes changed, put in, taken out or cut off."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        some = draw(st.binary(min_size=1, max_size=9) | st.sampled_from([b"\xff" * 8, b"\0" * 8, b"9" * 40]))
        how = draw(st.sampled_from(["over", "in", "out", "end"]))
        end = {"over": at + len(some), "in": at, "out": at + len(some), "end": None}[how]
        found[at:end] = some if how in ("over", "in") else b""
    return bytes(found)


def fuzz(content, read, name):
    """Damage a content in many ways, and read each; anything but an error that names the file fails."""

    @fuzzed
    @given(damage(content))
    def run(damaged):
        refusal = name
        try:
            read(damaged)
        except InputError as error:
            refusal = str(error)
        assert name in refusal

    run()


def of_file(path, read):
    """Return what reads a content as a file, and the file's content as it is."""

    def from_file(content):
        path.write_bytes(content)
        return read()

    return path.read_bytes(), from_file


PICTURE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
KINDS = {kind: image_bytes(PICTURE, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")}


def rgb_of(content, path):
    image = open_image(content, path)
    assert image.mode == "RGB"
    assert np.asarray(image).shape == (image.height, image.width, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decode", [rgb_of, open_mask, open_nonzero])
@pytest.mark.filterwarnings("ignore")
def test_images(kind, decode):
    fuzz(KINDS[kind], lambda content: decode(content, Path("some/photo.x")), "some/photo.x")


def write_claims(folder):
    """Small files that claim to be large, or to be nested without end."""
    (folder / "pixels.png").write_bytes(png_of(60_000, 30_000, b"\0" * 1000, bits=1, colours=0))
    (folder / "header.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    claim = json.dumps({"weight": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}).encode()
    (folder / "claim.safetensors").write_bytes(struct.pack("<Q", len(claim)) + claim)
    levels = "".join(f"l{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    (folder / "laughs.yaml").write_text(f"l0: &a0 [x, x]\n{levels}")
    (folder / "deep.yaml").write_text("models: " + "[" * 1_500)
    (folder / "itself.yaml").write_text("datasets: &a {b: *a}\nmodels: {}\n")


def write_bombs(folder):
    """Files of 1 MB and less that are well formed and hold 512 MB each."""
    zeros = 2**27
    packed = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with zipfile.ZipFile(folder / "bomb.npz", "w", **packed) as archive, archive.open("head.weight.npy", "w") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (zeros,)})
        for _ in range(4 * zeros // 2**20):
            out.write(bytes(2**20))
    torch.save({"head.weight": torch.zeros(zeros)}, folder / "whole")
    with zipfile.ZipFile(folder / "whole") as stored, zipfile.ZipFile(folder / "bomb.pt", "w", **packed) as bomb:
        for entry in stored.namelist():
            bomb.writestr(entry, stored.read(entry))
    (folder / "whole").unlink()
    packer = zlib.compressobj(1)
    comment = b"".join(packer.compress(bytes(2**20)) for _ in range(512)) + packer.flush()
    photo = KINDS["PNG"]
    (folder / "comment.png").write_bytes(photo[:33] + chunk(b"zTXt", b"Comment\0\0" + comment) + photo[33:])


@pytest.mark.parametrize("write", [write_claims, pytest.param(write_bombs, marks=pytest.mark.slow)])
def test_nothing_that_is_blown_up_takes_much_memory(tmp_path, write):
    """All are read in a process that may take 300 MB more than it starts with."""
    write(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    refused = dict(line.split("\t", 1) for line in ran.stdout.splitlines())
    assert set(refused) == {path.name for path in tmp_path.iterdir()}
    for name, said in refused.items():
        assert name in said or said.startswith("config: ")
        assert len(said) < 1000


READ_ALL = """
import resource, sys, time
from pathlib import Path
import torch
from classlens.catalog.configs import read_config
from classlens.data.images import open_image
from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.head import read_head
from classlens.models.weights import fill_from_file
model = build("vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 16, "depth": 1, "num_heads": 2})
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
readers = {
    ".png": lambda path: open_image(path.read_bytes(), path), ".yaml": read_config,
    **dict.fromkeys([".pt", ".safetensors", ".npz"], lambda path: fill_from_file(model, path)),
}
for path in sorted(Path(sys.argv[1]).iterdir()):
    began = time.monotonic()
    try:
        if path.suffix == ".npz":
            try:
                read_head(path)
                raise SystemExit("read")
            except InputError:
                pass
        readers[path.suffix](path)
    except InputError as error:
        print(path.name, " ".join(str(error).split()), sep="\\t", flush=True)
    assert time.monotonic() - began < 20, path
"""


@pytest.fixture(scope="module")
def model():
    return build("vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 16, "depth": 1, "num_heads": 2})


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_checkpoints(model, suffix, tmp_path):
    state = {"head.weight": torch.zeros(3, 16), "head.bias": torch.zeros(3)}
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    elif suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in state.items()})
    else:
        path.write_bytes(save_tensors({name: value.numpy() for name, value in state.items()}))
    fuzz(*of_file(path, lambda: fill_from_file(model, path)), path.name)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_heads(suffix, tmp_path):
    path = tmp_path / f"head{suffix}"
    save_head(path, np.eye(3, 4), np.ones(3), ["a", "b", "c"])
    fuzz(*of_file(path, lambda: read_head(path)), path.name)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"class_names": np.array("one")}, "no list of texts"),
        ({"class_names": np.array([["a"], ["b"], ["c"]])}, "no list of texts"),
        ({"class_names": np.zeros(10**6, "V0")}, "no list of texts"),
        ({"weight": np.full((3, 4), "x")}, "no numbers"),
        ({"bias": np.array(["x", "y", "z"])}, "no numbers"),
        ({"weight": np.zeros((10_000, 10_000), np.int8)}, "unpacks to 0.1 GB"),
    ],
)
def test_parts_that_are_no_heads(tmp_path, parts, reason):
    np.savez_compressed(tmp_path / "head.npz", **{"weight": np.eye(3, 4), **parts})
    with pytest.raises(InputError, match=reason):
        read_head(tmp_path / "head.npz")


def test_absurd_class_names_and_pipes_are_no_heads(tmp_path):
    for names in ("5", "[" * 100_000, '{"a": 1}', "[[]]"):
        (tmp_path / "head.safetensors").write_bytes(save_tensors({"weight": np.eye(3, 4)}, {"class_names": names}))
        with pytest.raises(InputError, match="cannot be read as a head"):
            read_head(tmp_path / "head.safetensors")
    os.mkfifo(tmp_path / "head.npz")
    with pytest.raises(InputError, match="a head is a file"):
        read_head(tmp_path / "head.npz")


def opened(kind, root):
    return open_dataset({"kind": kind, "root": str(root), "masks": None}, "mine")


def test_cifar_files(tmp_path):
    path = write_cifar(tmp_path) / "cifar-100-python/meta"
    fuzz(*of_file(path, lambda: select(opened("cifar100", tmp_path), CHOICE)), "meta")


class Evil:
    """Would write a file when unpickled."""

    def __init__(self, evidence):
        self.evidence = str(evidence)

    def __reduce__(self):
        return (open, (self.evidence, "w"))


def test_a_pickle_runs_nothing(model, tmp_path):
    """In no reader: checkpoints of both formats, under any name, arrays, heads, CIFAR-100."""
    evil, evidence = Evil(tmp_path / "evidence"), tmp_path / "evidence"
    torch.save(evil, tmp_path / "new.pt")
    torch.save(evil, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(evil))
    (tmp_path / "w.safetensors").write_bytes(pickle.dumps(evil))
    np.savez(tmp_path / "w.npz", **{"head.weight": np.array([evil], dtype=object)})
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(evil))
    for path in [*tmp_path.glob("*.pt*"), *tmp_path.glob("*.npz"), tmp_path / "w.safetensors"]:
        with pytest.raises(InputError, match=re.escape(path.name)):
            fill_from_file(model, path)
        if path.suffix in (".npz", ".safetensors"):
            with pytest.raises(InputError, match=re.escape(path.name)):
                read_head(path)
    write_cifar(tmp_path)
    (tmp_path / "cifar-100-python/meta").write_bytes(pickle.dumps({"fine_label_names": evil}))
    with pytest.raises(InputError, match="meta"):
        select(opened("cifar100", tmp_path), CHOICE)
    assert not evidence.exists()


CONFIG = b"""
datasets: {photos: {kind: image_folder, root: photos, per_class: 5}}
models: {vit: {dataset: photos, architecture: vit_tiny_patch16_224, options: {depth: 2}, weights: random}}
"""


def test_configs(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(CONFIG)
    fuzz(*of_file(path, lambda: read_config(path)), "config")


@pytest.fixture
def golden(tmp_path):
    """The golden data set by links, with a list of images of one's own."""
    inside = tmp_path / "images/ImageNetS919"
    inside.mkdir(parents=True)
    for folder, place in ((GOLDEN / "imagenet_s", inside.parent), (GOLDEN / "imagenet_s/ImageNetS919", inside)):
        for part in folder.iterdir():
            if part.name not in ("ImageNetS919", "validation_stim_info.csv"):
                (place / part.name).symlink_to(part)
    return inside.parent


STIM_INFO = "imagenet_id,img_name,index\nn02002724,{name},{index}\n"


ABSURD = {
    "field": STIM_INFO.format(name="x" * 300_000, index=1),
    "name": STIM_INFO.format(name="x" * 5_000, index=1),
    "nul": STIM_INFO.format(name="a\0b.JPEG", index=1),
    "command": STIM_INFO.format(name="$(touch evidence).JPEG", index=1),
    "digits": STIM_INFO.format(name="-rf.JPEG", index="9" * 10_000),
    "newline": STIM_INFO.format(name='"a\nb"', index=1),
    "quote": STIM_INFO.format(name='"never closed', index=1),
    "commas": "," * 200_000,
    "empty": "",
    "lines": "\n" * 100_000,
}


@pytest.mark.parametrize("text", ABSURD.values(), ids=ABSURD)
def test_absurd_stim_info(golden, text):
    (golden / "ImageNetS919/validation_stim_info.csv").write_text(text)
    with pytest.raises(InputError) as refusal:
        select(opened("imagenet_s", golden), CHOICE)
    assert "stim_info" in str(refusal.value) or str(refusal.value).startswith("datasets.mine: classes with fewer")
    assert len(str(refusal.value)) < 12_000


def test_stim_info(golden):
    path = golden / "ImageNetS919/validation_stim_info.csv"
    path.write_bytes((GOLDEN / "imagenet_s/ImageNetS919" / path.name).read_bytes()[:400])
    every = {**CHOICE, "per_class": None}
    fuzz(*of_file(path, lambda: select(opened("imagenet_s", golden), every)), "")  # names one of several files
