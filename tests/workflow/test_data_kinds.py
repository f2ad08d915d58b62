"""Every kind of data set end to end on a few images; a head of the user's own; the check command on the same config."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY_MODEL, Workflow
from made_data import write_cifar
from PIL import Image
from safetensors.torch import save_file

from classlens import Results
from classlens.check import check
from classlens.models.build import build
from classlens.models.head import save_head

pytestmark = pytest.mark.workflow

CLASSES = ("cat", "dog", "emu")
RNG = np.random.default_rng(0)


def write_photos(folder):
    """Write photos of all modes, and masks whose left half is class."""
    for class_id in CLASSES:
        (folder / "photos" / class_id).mkdir(parents=True)
        (folder / "masks" / class_id).mkdir(parents=True)
        for number, mode in enumerate(("RGB", "L", "RGBA", "CMYK")):
            pixels = Image.fromarray(RNG.integers(0, 256, (40, 48, 3), np.uint8)).convert(mode)
            pixels.save(folder / "photos" / class_id / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}")
            half = np.zeros((40, 48), np.uint8)
            half[:, :24] = 1
            Image.fromarray(half).save(folder / "masks" / class_id / f"{number}.png")


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    write_photos(folder)
    write_cifar(folder / "cifar")
    trunk = build(TINY_MODEL["architecture"], {**TINY_MODEL["options"], "num_classes": 1})
    torch.manual_seed(0)
    state = {f"model.{name}": tensor for name, tensor in trunk.state_dict().items() if not name.startswith("head.")}
    save_file(state, folder / "trunk.safetensors")
    save_head(folder / "head.npz", RNG.normal(size=(3, 16)), class_names=CLASSES)
    common = {"too_few": "error", "per_class": 2, "train_per_class": 1}
    config = {
        "datasets": {
            "photos": {"kind": "image_folder", "root": "photos", "masks": "masks", **common},
            "cifar": {"kind": "cifar100", "root": "cifar", **common},
        },
        "models": {
            "folder": {**TINY_MODEL, "dataset": "photos", "weights": "trunk.safetensors", "head": "head.npz"},
            "small": {**TINY_MODEL, "dataset": "cifar", "random_twin": True, "analyses": TINY_MODEL["analyses"][:3]},
        },
        "statistics": {"resamples": 99},
    }
    workflow = Workflow(folder, config)
    workflow.run("all")
    return workflow


def test_images_and_classes(workflow):
    results = Results(workflow.folder / "results")
    assert results.stimuli("photos")["file"].tolist()[:2] == ["cat/0.png", "cat/1.png"]
    assert results.rank("folder").shape == (2, 6, 17)
    assert results.num_classes("folder") == results.num_classes("small") == 3
    assert list(results.class_index("small")) == [0, 0, 1, 1, 2, 2]


def test_masks_of_a_folder_label_tokens(workflow):
    results = Results(workflow.folder / "results")
    left = np.tile([1, 1, 0, 0], 4)
    assert np.array_equal(results.token_label("folder"), np.tile(left, (6, 1)))


def test_what_needs_masks_is_left_out_without(workflow):
    assert not workflow.result("small/token_labels.h5").exists()
    assert not workflow.result("figures/class_vs_context_small.svg").exists()
    assert workflow.result("figures/class_vs_context_folder.svg").exists()
    table = pd.read_csv(workflow.result("tables/class_context_change.csv"))
    assert set(table["model"]) == {"folder"}
    assert "CIFAR-100 has no masks" in workflow.run("results/small/token_labels.h5", ok=False)


def test_the_head_is_the_users(workflow):
    with (
        h5py.File(workflow.result("folder/layers/block_01.h5")) as file,
        h5py.File(workflow.result("folder/output.h5")) as output,
    ):
        assert np.array_equal(file["residual/top5"][:, 0, 0], output["top5"][:, 0])


def run_check(workflow, *arguments):
    workflow.command()
    command = [sys.executable, "-m", "classlens", "check", "config.yaml", *arguments]
    return subprocess.run(command, cwd=workflow.folder, capture_output=True, text=True, check=False)


def test_check_says_what_a_run_would_use(workflow):
    ran = run_check(workflow)
    assert ran.returncode == 0, ran.stderr
    assert "datasets.photos: 6 evaluation and 3 training images of 3 classes (cat, dog, emu)" in ran.stdout
    assert re.search(r"^ *extracting\b.*: ", ran.stdout, re.MULTILINE), ran.stdout
    assert "jobs: 0 to start" in ran.stdout


def test_check_tells_all_faults_at_once(workflow, tmp_path):
    broken = Workflow(tmp_path, workflow.config)
    write_photos(tmp_path)
    write_cifar(tmp_path / "cifar")
    (tmp_path / "photos/cat/0.png").write_bytes(b"nothing")
    Image.new("L", (7, 7)).save(tmp_path / "masks/dog/1.png")
    save_head(tmp_path / "head.npz", RNG.normal(size=(2, 16)))
    save_file({"norm.weight": torch.ones(16)}, tmp_path / "trunk.safetensors")
    ran = run_check(broken)
    assert ran.returncode == 1
    for fault in (
        "cat/0.png cannot be read as an image",
        "the mask of dog/1.png has 7 x 7 pixels, the image 48 x 40",
        "models.folder: class 2 is none of the model's classes 0..1",
        "trunk.safetensors does not fit the model",
    ):
        assert fault in ran.stderr
    assert run_check(broken, "--quick").returncode == 1


def test_check_in_this_process(workflow, monkeypatch, tmp_path):
    """As the command does it, and with faults of both kinds of data."""
    monkeypatch.chdir(workflow.folder)
    findings = check("config.yaml")
    assert findings.problems == []
    assert any(note.startswith("extracting") for note in findings.notes)
    assert any(note.startswith("disk: about") for note in findings.notes)
    monkeypatch.chdir(tmp_path)
    Workflow(tmp_path, workflow.config).command()
    write_photos(tmp_path)
    (tmp_path / "photos/emu/1.png").write_bytes(b"")
    problems = check("config.yaml").problems
    assert any("emu/1.png" in problem for problem in problems)
    assert any("datasets.cifar: missing in" in problem for problem in problems)
    assert check("nothing.yaml").problems


def test_check_compares_class_names(workflow, tmp_path):
    broken = Workflow(tmp_path, workflow.config)
    write_photos(tmp_path)
    write_cifar(tmp_path / "cifar")
    shutil.copy(workflow.folder / "trunk.safetensors", tmp_path)
    save_head(tmp_path / "head.npz", RNG.normal(size=(3, 16)), class_names=("dog", "cat", "emu"))
    ran = run_check(broken, "--quick")
    assert "models.folder.head: head.npz calls class 0 'dog', datasets.photos 'cat' (2 such classes)" in ran.stderr


def test_a_head_of_the_wrong_width(workflow, tmp_path):
    broken = Workflow(tmp_path, workflow.config)
    write_photos(tmp_path)
    write_cifar(tmp_path / "cifar")
    save_head(tmp_path / "head.npz", RNG.normal(size=(3, 8)))
    printed = broken.run("--dry-run", ok=False)
    assert "models.folder.head: head.npz has the weight (3, 8), but a head of the model reads 16" in printed
