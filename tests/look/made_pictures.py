"""Small models and pictures for the commands that look at a few of them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import timm
import torch
from PIL import Image
from typer.testing import CliRunner

from classlens import cli

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 300}
SAVED, CLASSES = "test_vit", 40
"""timm's own model for tests, as a checkpoint is brought."""


def small_model(**options):
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", **{**SMALL, **options})
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def typed(*words: object, status: int = 0) -> str:
    """Run a command; return what it printed."""
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def checkpoint(file: Path, seed: int = 1) -> Path:
    torch.manual_seed(seed)
    torch.save(timm.create_model(SAVED, num_classes=CLASSES).state_dict(), file)
    return file


def make_pictures(folder: Path, count: int = 4) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{place}.png" for place in range(count)]
    for place, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(place).integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    return paths


def make_tuned_lens(folder: Path, depth: int, width: int, classes: int) -> Path:
    folder.mkdir()
    for block in range(depth):
        with h5py.File(folder / f"block_{block:02d}.h5", "w") as file:
            file["weight"] = np.random.default_rng(block).normal(size=(width, width))
            file["bias"] = np.ones(width)
            file.attrs.update({"block": block, "num_classes": classes})
    return folder
