"""Memories against the golden numbers, from weights and images to the files of the contract."""

import csv

import h5py
import numpy as np
import pytest
import torch
from conftest import GOLDEN
from PIL import Image

from classlens.extraction.extract import extract_shard
from classlens.extraction.gather import gather
from classlens.memories.agreement import block_memories, random_classes
from classlens.memories.class_value import class_value_agreement
from classlens.memories.composition import memory_composition
from classlens.memories.key_value import key_value_agreement
from classlens.memories.parameters import read_class_values, write_parameters
from classlens.tables.files import read_table

BLOCKS = 12
BRANCHES = ("attn", "mlp")
DRAWS = {"resamples": 99, "confidence": 0.95, "seed": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Files of the golden model: `layers`, `output`, `parameters`, `twin`, and `memories` by branch."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("memories")
    root = GOLDEN / "imagenet_s" / "ImageNetS919"
    rows = list(csv.DictReader((root / "validation_stim_info.csv").open()))
    with h5py.File(folder / "pixels.h5", "w") as file:
        images = [np.asarray(Image.open(root / "validation" / r["imagenet_id"] / r["img_name"])) for r in rows]
        file["pixels"] = np.stack(images)
        file["class_index"] = np.array([int(row["index"]) for row in rows], np.uint16)
    files = {
        "layers": [folder / f"block_{block:02d}.h5" for block in range(BLOCKS)],
        "output": folder / "output.h5",
        "parameters": folder / "parameters.h5",
        "twin": folder / "twin.h5",
    }
    extract_shard(
        folder / "pixels.h5",
        GOLDEN / "model.safetensors",
        folder / "shard.h5",
        architecture="vit_base_patch32_224",
        options={"embed_dim": 48, "depth": BLOCKS, "num_heads": 3},
        mean=[0.5] * 3,
        std=[0.5] * 3,
        precision="float32",
        start=0,
        stop=len(rows),
        batch_size=10,
        threads=1,
        device="cpu",
    )
    gather([folder / "shard.h5"], files["layers"], files["output"])
    write_parameters(GOLDEN / "model.safetensors", files["parameters"])
    write_parameters(GOLDEN / "random.safetensors", files["twin"])
    memories = {}
    for branch in BRANCHES:
        memories[branch] = [folder / f"{branch}_{block:02d}.h5" for block in range(BLOCKS)]
        for layer, path in zip(files["layers"], memories[branch], strict=True):
            block_memories(layer, files["output"], files["parameters"], path, branch, seed=0)
    return {**files, "memories": memories}


def stacked(paths, name):
    parts = []
    for path in paths:
        with h5py.File(path) as file:
            parts.append(file[name][:])
    return np.stack(parts)


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("name", ["agreement", "composition"])
def test_tokens_agree_where_the_golden_ones_do(run, golden, branch, name):
    found, expected = stacked(run["memories"][branch], name), golden[f"memories/{branch}/{name}"]
    assert found.shape == expected.shape == (BLOCKS, 30, 50)
    assert expected.any()
    assert not expected.all()
    # Where two logits or key coefficients are equal up to rounding: a handful of 18,000.
    assert (found != expected).sum() <= 5


@pytest.mark.parametrize("branch", BRANCHES)
def test_class_values_are_the_golden_ones(run, golden, branch):
    assert (
        np.abs(stacked(run["memories"][branch], "class_value") - golden[f"memories/{branch}/class_value"]).max() < 1e-5
    )
    twin = read_class_values(run["twin"]).scores[branch].mean(1)
    assert np.abs(twin - golden[f"memories/{branch}/class_value_random_mean"]).max() < 1e-5


def test_files_follow_the_contract(run):
    with h5py.File(run["memories"]["mlp"][3]) as file:
        for name in ("agreement", "agreement_random", "composition"):
            assert (file[name].dtype, file[name].shape) == (np.bool_, (30, 50))
        assert (file["class_value"].dtype, file["class_value"].shape) == (np.float32, (1000,))
        assert all(set(item.attrs) == {"description", "unit"} for item in file.values())
        assert {name: file.attrs[name] for name in ("block", "branch", "memories", "num_prefix_tokens")} == {
            "block": 3,
            "branch": "mlp",
            "memories": 192,
            "num_prefix_tokens": 1,
        }


@pytest.mark.parametrize("branch", BRANCHES)
def test_control_is_the_agreement_with_the_drawn_classes(run, branch):
    """Told image by image from the definition, with products that are computed here."""
    from safetensors.numpy import load_file

    weights = load_file(GOLDEN / "model.safetensors")
    drawn = random_classes(30, 1000, seed=0)
    block = 7
    values = weights[f"blocks.{block}.{'attn.proj' if branch == 'attn' else 'mlp.fc2'}.weight"]
    with h5py.File(run["layers"][block]) as file:
        keys = file[f"keys/{branch}"][:]
    expected = np.zeros((30, 50), bool)
    for image in range(30):
        best = set(np.argsort(-(weights["head.weight"][drawn[image]] @ values))[:5])
        expected[image] = [bool(best & set(token)) for token in keys[image]]
    assert expected.any()
    assert np.array_equal(stacked(run["memories"][branch], "agreement_random")[block], expected)


def test_bytes_are_the_same_again(run, tmp_path):
    again = tmp_path / "again.h5"
    block_memories(run["layers"][5], run["output"], run["parameters"], again, "attn", seed=0)
    assert again.read_bytes() == run["memories"]["attn"][5].read_bytes()
    write_parameters(GOLDEN / "model.safetensors", again)
    assert again.read_bytes() == run["parameters"].read_bytes()


def test_another_seed_draws_other_classes(run, tmp_path):
    other = tmp_path / "other.h5"
    block_memories(run["layers"][5], run["output"], run["parameters"], other, "attn", seed=1)
    before, after = stacked([run["memories"]["attn"][5], other], "agreement_random")
    assert not np.array_equal(before, after)
    assert np.array_equal(*stacked([run["memories"]["attn"][5], other], "agreement"))


def test_an_unknown_branch_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="no branch 'residual'"):
        block_memories(run["layers"][5], run["output"], run["parameters"], tmp_path / "no.h5", "residual", seed=0)


def test_tables_hold_the_golden_means(run, golden, tmp_path):
    paths = [str(tmp_path / f"{name}.csv") for name in ("values", "classes", "means", "composition")]
    class_value_agreement(run["parameters"], [run["twin"]], paths[0], **DRAWS)
    key_value_agreement(run["memories"], run["output"], paths[1], paths[2], **DRAWS)
    memory_composition(run["memories"], paths[3], **DRAWS)
    values, classes, means, composition = (read_table(path) for path in paths)
    for branch in BRANCHES:
        rows = values[values["branch"] == branch].sort_values("block")
        assert np.abs(rows["mean"] - golden[f"memories/{branch}/class_value"].mean(1)).max() < 1e-5
        assert np.abs(rows["twin_mean"] - golden[f"memories/{branch}/class_value_random_mean"]).max() < 1e-5
        agreement = golden[f"memories/{branch}/agreement"]
        rows = classes[(classes["branch"] == branch) & (classes["block"] == 4)]
        for class_index, rate in zip(rows["class_index"], rows["rate_percent"], strict=True):
            of_class = agreement[4][golden["class_index"] == class_index]
            assert rate == pytest.approx(100 * of_class.mean(), abs=0.5)
        # Classes have equally many images here.
        rows = means[means["branch"] == branch].sort_values("block")
        assert np.abs(rows["mean_percent"] - 100 * agreement.mean((1, 2))).max() < 0.1
        rows = composition[composition["branch"] == branch].sort_values("block")
        assert np.abs(rows["percent"] - 100 * golden[f"memories/{branch}/composition"].mean((1, 2))).max() < 0.1
