"""Every architecture of the paper at full width, with random weights, through the real extraction."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from conftest import CHECKOUT

from classlens.catalog.configs import read_config
from classlens.models.describe import describe
from classlens.models.weights import write_weights
from classlens.passes.extraction import Extraction
from classlens.passes.run import run_pass

CONFIG = read_config(CHECKOUT / "config/paper.yaml")
MODELS = [name for name in CONFIG.models if not CONFIG.is_twin(name)]


def test_the_config_names_the_seven_models():
    assert [CONFIG.models[name]["label"] for name in MODELS] == [
        "ViT-B/32", "ViT-B/16", "ViT-L/16", "ViT-B/16-MIIL", "ViT-B/16-CIFAR", "ViT-B/16-Refinement", "ViT-B/16-GAP",
    ]  # fmt: skip
    assert all(CONFIG.twin(name) for name in MODELS)


@pytest.mark.parametrize("depth", [{"depth": 1}, pytest.param({}, marks=pytest.mark.release)], ids=["one block", "all"])
@pytest.mark.parametrize("name", MODELS)
def test_a_few_images_at_full_width(name, depth, tmp_path):
    entry = CONFIG.models[name]
    classes = 100 if entry["dataset"] == "cifar" else 1000
    architecture, options = entry["architecture"].split(".")[0], {**entry["options"], "num_classes": classes, **depth}
    card = describe(architecture, options)
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "pixels.h5", "w") as file:
        file["pixels"] = rng.integers(0, 256, (2, 224, 224, 3), np.uint8)
        file["class_index"] = np.array([0, classes - 1], np.uint16)
    weights = str(tmp_path / "weights.safetensors")
    write_weights([], [], weights, architecture=architecture, options=options, origin="random")
    transform = card["transform"] if entry["transform"] == "timm" else entry["transform"]
    run_pass(
        tmp_path / "pixels.h5", weights, tmp_path / "shard.h5", of=Extraction,
        architecture=architecture, options=options, mean=transform["mean"], std=transform["std"],
        precision="float32", batch_size=2, threads=2, device="cpu",
    )  # fmt: skip
    with h5py.File(tmp_path / "shard.h5") as file:
        ranks = file[f"block_{card['depth'] - 1:02d}/residual/rank"][:]
    assert ranks.shape == (2, card["tokens"])
    assert 0 < ranks.mean() < classes
    assert card["has_class_token"] == (name != "vit_gap_16")
