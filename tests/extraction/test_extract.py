"""Extraction: its files, and what it promises of shards, batches and errors."""

import errno

import h5py
import numpy as np
import pytest
import torch
from classlens.extraction.extract import run_images
from conftest import GOLDEN
from tiny_transformers import GOLDEN_NETWORK, golden_pixels

from classlens.errors import InputError
from classlens.extraction.recorder import Recorder
from classlens.hdf5 import RowWriter
from classlens.models.build import build
from classlens.models.inputs import Normalise
from classlens.models.weights import fill_from_file
from classlens.passes.gather import gather

GOLDEN_OPTIONS = GOLDEN_NETWORK["options"]


def recorder_of(change=None, **options):
    model = build("vit_base_patch32_224", {**GOLDEN_OPTIONS, **options})
    if change is None:
        fill_from_file(model, GOLDEN / "model.safetensors")
    else:
        change(model)
    return Recorder(model, Normalise([0.5] * 3, [0.5] * 3, torch.device("cpu")))


@pytest.fixture(scope="module")
def golden_recorder():
    return recorder_of()


def extract(recorder, shard, *, start=0, stop=30, batch_size=8):
    run_images(recorder, golden_pixels(), shard, start=start, stop=stop, batch_size=batch_size)
    return shard


def gathered(shards, folder):
    folder.mkdir()
    layers, output = [folder / f"block_{block:02d}.h5" for block in range(12)], folder / "output.h5"
    gather(shards, layers, output)
    return [*layers, output]


def test_layer_files_follow_the_contract(golden_recorder, tmp_path):
    shard = extract(golden_recorder, tmp_path / "0.h5")
    *layers, output = gathered([shard], tmp_path / "files")
    with h5py.File(layers[3]) as file:
        assert file.attrs["block"] == 3
        assert (file["keys/mlp"].dtype, file["keys/mlp"].shape) == (np.uint16, (30, 50, 5))
        assert file["keys/mlp"][:].max() >= 48  # of 192 hidden units, not of 48 channels
        for site in ("residual", "attn", "mlp"):
            assert (file[f"{site}/rank"].dtype, file[f"{site}/rank"].shape) == (np.uint16, (30, 50))
            assert (file[f"{site}/logit"].dtype, file[f"{site}/logit"].shape) == (np.float32, (30, 50))
            assert (file[f"{site}/top5"].dtype, file[f"{site}/top5"].shape) == (np.uint16, (30, 50, 5))
            assert set(file[f"{site}/rank"].attrs) == {"description", "unit"}
    with h5py.File(output) as file:
        assert file["correct"].dtype == np.bool_
        assert file["top5"].shape == (30, 5)


def test_bytes_do_not_depend_on_shards(golden_recorder, tmp_path):
    # Shards that end within a chunk, and one of a single image.
    bounds = [(0, 30), (0, 7), (7, 8), (8, 30)]
    whole, *parts = [
        extract(golden_recorder, tmp_path / f"{start}-{stop}.h5", start=start, stop=stop, batch_size=1)
        for start, stop in bounds
    ]
    expected, found = gathered([whole], tmp_path / "whole"), gathered(parts, tmp_path / "parts")
    assert [path.read_bytes() for path in found] == [path.read_bytes() for path in expected]
    with h5py.File(whole) as shard, h5py.File(expected[5]) as layer:
        assert np.array_equal(layer["attn/top5"], shard["block_05/attn/top5"])


def test_shards_of_different_models_are_refused(golden_recorder, tmp_path):
    other = recorder_of(lambda model: torch.nn.init.normal_(model.head.weight), num_classes=1001)
    shards = [
        extract(recorder, tmp_path / f"{number}.h5", stop=2) for number, recorder in enumerate((golden_recorder, other))
    ]
    with pytest.raises(ValueError, match=r"1\.h5 has other data sets than .*0\.h5"):
        gathered(shards, tmp_path / "files")


def test_bytes_do_not_depend_on_threads(golden_recorder, tmp_path, monkeypatch):
    monkeypatch.setattr("classlens.passes.gather.SMALL", 0)
    whole, packed = extract(golden_recorder, tmp_path / "0.h5"), tmp_path / "1.h5"
    run_images(golden_recorder, golden_pixels(), packed, start=0, stop=30, batch_size=8, threads=3)
    assert packed.read_bytes() == whole.read_bytes()
    one, several = tmp_path / "one", tmp_path / "several"
    expected = gathered([whole], one)
    several.mkdir()
    gather([whole], [several / path.name for path in expected[:-1]], several / "output.h5", threads=2)
    assert [(several / path.name).read_bytes() for path in expected] == [path.read_bytes() for path in expected]


class Ready:
    """What a device has done with a batch; its host may still find it broken."""

    def __init__(self, arrays, error=None):
        self._arrays, self._error = arrays, error

    def arrays(self):
        if self._error:
            raise self._error
        return self._arrays


def test_an_error_behind_the_device_ends_the_job(golden_recorder, tmp_path):
    class Late(Recorder):
        def __init__(self, other):
            self.__dict__ = other.__dict__
            self.batches = 0

        def __call__(self, pixels, classes):
            self.batches += 1
            return Ready(super().__call__(pixels, classes).arrays(), InputError("found late"))

    late = Late(golden_recorder)
    with pytest.raises(InputError, match="found late"):
        extract(late, tmp_path / "0.h5", batch_size=1)
    assert late.batches <= 5


def test_an_unreadable_image_ends_the_job(golden_recorder, tmp_path):
    pixels = tmp_path / "pixels.h5"
    with h5py.File(golden_pixels()) as good, h5py.File(pixels, "w") as bad:
        bad["class_index"] = good["class_index"][:]
        bad.create_dataset("pixels", data=good["pixels"][:], chunks=(1, *good["pixels"].shape[1:]), compression="gzip")
        bad["pixels"].id.write_direct_chunk((20, 0, 0, 0), b"no deflate stream")
    with pytest.raises(OSError, match="read"):
        run_images(golden_recorder, pixels, tmp_path / "0.h5", start=0, stop=30, batch_size=4)


def test_a_full_disk_ends_the_job(golden_recorder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RowWriter, "append", full)
    with pytest.raises(OSError, match="No space left"):
        extract(golden_recorder, tmp_path / "0.h5")


def test_memory_running_out_halves_the_batch(golden_recorder, tmp_path, caplog):
    class Small(Recorder):
        """A device on which no more than three images fit."""

        def __init__(self, other):
            self.__dict__ = other.__dict__

        def __call__(self, pixels, classes):
            if len(classes) > 3:
                raise torch.OutOfMemoryError("simulated")
            return super().__call__(pixels, classes)

    expected = extract(golden_recorder, tmp_path / "expected.h5", batch_size=2)
    got = extract(Small(golden_recorder), tmp_path / "small.h5", batch_size=8)
    assert "batches of 2" in caplog.text
    assert got.read_bytes() == expected.read_bytes()


def test_a_class_that_the_model_lacks_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none of the model's classes 0\.\.99"):
        extract(recorder_of(lambda _model: None, depth=1, num_classes=100), tmp_path / "0.h5")


@pytest.mark.parametrize(("value", "message"), [(0.0, "all logits"), (float("nan"), "not finite")])
def test_broken_heads_are_an_error(value, message, tmp_path):
    def broken(model):
        torch.nn.init.constant_(model.head.weight, value)
        torch.nn.init.zeros_(model.head.bias)

    with pytest.raises(InputError, match=f"attn of block 0: .*{message}"):
        extract(recorder_of(broken, depth=1), tmp_path / "0.h5")
