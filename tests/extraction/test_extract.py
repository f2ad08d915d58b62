"""Extraction: its files, and what it promises of shards, threads and broken heads."""

import h5py
import numpy as np
import pytest
import torch
from conftest import GOLDEN
from tiny_transformers import GOLDEN_NETWORK, golden_pixels, loaded_of

from classlens.errors import InputError
from classlens.inference.network import read_classes
from classlens.models.build import build
from classlens.models.weights import fill_from_file
from classlens.passes.extraction import Extraction
from classlens.passes.gather import gather
from classlens.passes.run import run_images

GOLDEN_OPTIONS = GOLDEN_NETWORK["options"]


def extraction_of(change=None, **options):
    model = build("vit_base_patch32_224", {**GOLDEN_OPTIONS, **options})
    if change is None:
        fill_from_file(model, GOLDEN / "model.safetensors")
    else:
        change(model)
    return Extraction(loaded_of(model))


@pytest.fixture(scope="module")
def golden_extraction():
    return extraction_of()


def extract(made, shard, *, start=0, stop=30, batch_size=8):
    classes = read_classes(golden_pixels(), made.loaded.model.num_classes)
    run_images(made, golden_pixels(), classes, range(start, stop), {}, shard, batch_size)
    return shard


def gathered(shards, folder):
    folder.mkdir()
    layers, output = [folder / f"block_{block:02d}.h5" for block in range(12)], folder / "output.h5"
    gather(shards, layers, output)
    return [*layers, output]


def test_layer_files_follow_the_contract(golden_extraction, tmp_path):
    shard = extract(golden_extraction, tmp_path / "0.h5")
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


def test_bytes_do_not_depend_on_shards(golden_extraction, tmp_path):
    # Shards that end within a chunk, and one of a single image.
    bounds = [(0, 30), (0, 7), (7, 8), (8, 30)]
    whole, *parts = [
        extract(golden_extraction, tmp_path / f"{start}-{stop}.h5", start=start, stop=stop, batch_size=1)
        for start, stop in bounds
    ]
    expected, found = gathered([whole], tmp_path / "whole"), gathered(parts, tmp_path / "parts")
    assert [path.read_bytes() for path in found] == [path.read_bytes() for path in expected]
    with h5py.File(whole) as shard, h5py.File(expected[5]) as layer:
        assert np.array_equal(layer["attn/top5"], shard["block_05/attn/top5"])


def test_shards_of_different_models_are_refused(golden_extraction, tmp_path):
    other = extraction_of(lambda model: torch.nn.init.normal_(model.head.weight), num_classes=1001)
    shards = [
        extract(made, tmp_path / f"{number}.h5", stop=2) for number, made in enumerate((golden_extraction, other))
    ]
    with pytest.raises(ValueError, match=r"1\.h5 has other data sets than .*0\.h5"):
        gathered(shards, tmp_path / "files")


def test_bytes_do_not_depend_on_threads(golden_extraction, tmp_path, monkeypatch):
    monkeypatch.setattr("classlens.passes.gather.SMALL", 0)
    whole, packed = extract(golden_extraction, tmp_path / "0.h5"), tmp_path / "1.h5"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)  # those that pack
    extract(golden_extraction, packed)
    assert packed.read_bytes() == whole.read_bytes()
    one, several = tmp_path / "one", tmp_path / "several"
    expected = gathered([whole], one)
    several.mkdir()
    gather([whole], [several / path.name for path in expected[:-1]], several / "output.h5", threads=2)
    assert [(several / path.name).read_bytes() for path in expected] == [path.read_bytes() for path in expected]


@pytest.mark.parametrize(("value", "message"), [(0.0, "all logits"), (float("nan"), "not finite")])
def test_broken_heads_are_an_error(value, message, tmp_path):
    def broken(model):
        torch.nn.init.constant_(model.head.weight, value)
        torch.nn.init.zeros_(model.head.bias)

    with pytest.raises(InputError, match=f"attn of block 0: .*{message}"):
        extract(extraction_of(broken, depth=1), tmp_path / "0.h5")
