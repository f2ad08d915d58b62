"""Bad input ends the workflow with a message that names the file or key, and leaves no half result behind."""

from __future__ import annotations

import shutil

import pytest
import torch
from conftest import GOLDEN, TINY_MODEL, Workflow, tiny_config
from safetensors.torch import save_file

from classlens.models.build import build

pytestmark = pytest.mark.workflow

OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}
MODEL = {**TINY_MODEL, "dataset": "images", "options": OPTIONS, "transform": {"size": 32}}
WNID = "n02002724"
GOLDEN_IMAGES = str(GOLDEN / "imagenet_s")


def write_images(root):
    """Write two golden classes, of which two images each are taken; return the first image and its mask."""
    shutil.copytree(GOLDEN / "imagenet_s", root)
    for stim_info in (root / "ImageNetS919").glob("*_stim_info.csv"):
        stim_info.unlink()
    folders = (root / "ImageNetS919" / split / WNID for split in ("validation", "validation-segmentation"))
    return [sorted(folder.iterdir())[0] for folder in folders]


def images(root):
    return {"kind": "imagenet_s", "root": root, "per_class": 2, "train_per_class": 1, "exclude_classes": []}


def weights(path, options=None, **changes):
    """Save a checkpoint of the model, with other options or tensors."""
    torch.manual_seed(0)
    state = build(TINY_MODEL["architecture"], {**OPTIONS, "num_classes": 1000, **(options or {})}).state_dict()
    save_file({**state, **changes}, path)


@pytest.mark.release
def test_what_jobs_find_is_named_by_each_and_made_after_it_was_mended(tmp_path):
    """One run that goes on with what is good."""
    truncated, _ = write_images(tmp_path / "truncated")
    kept = truncated.read_bytes()
    truncated.write_bytes(kept[:2000])
    weights(tmp_path / "wide.safetensors", {"embed_dim": 32})
    weights(tmp_path / "nan.safetensors", **{"norm.weight": torch.full((16,), torch.nan)})
    config = tiny_config(
        truncated={**MODEL, "dataset": "truncated"},
        good=MODEL,
        wide={**MODEL, "weights": "wide.safetensors"},
        nan={**MODEL, "weights": "nan.safetensors"},
    )
    config["datasets"] = {"truncated": images("truncated"), "images": images(GOLDEN_IMAGES)}
    workflow = Workflow(tmp_path, config)
    printed = workflow.run("--keep-going", "all", ok=False)
    for said in (
        f"{truncated.relative_to(tmp_path)}",
        "replace it",
        "wide.safetensors does not fit the model",
        "set options.embed_dim: 32",
        "norm.weight hold NaN or infinity",
    ):
        assert said in printed
    for absent in ("truncated/output.h5", "wide/weights.safetensors", "nan/output.h5"):
        assert not workflow.result(absent).exists()
    assert not list(workflow.result("datasets/truncated").glob("*/evaluation.h5"))
    assert workflow.result("good/layers/block_00.h5").exists()
    assert not list(tmp_path.glob("results/**/.placing-*"))
    assert not list((tmp_path / ".classlens/work").glob("*"))
    truncated.write_bytes(kept)
    workflow.run("results/truncated/output.h5")
    assert workflow.result("truncated/layers/block_00.h5").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"transform": {"size": 48}}, ["models.m.transform.size is 48", "takes 32 pixels"]),
        pytest.param({"weights": "absent.pt"}, ["absent.pt"], marks=pytest.mark.release),
        pytest.param(
            {"dataset": "nowhere"}, ["datasets.nowhere.root: there is no folder nowhere"], marks=pytest.mark.release
        ),
        ({"dataset": "unmasked"}, [f"unmasked/ImageNetS919/validation-segmentation/{WNID}/"]),
    ],
)
def test_what_planning_finds_is_named_and_nothing_runs(tmp_path, change, said):
    config = tiny_config(m={**MODEL, **change})
    name = config["models"]["m"]["dataset"]
    config["datasets"] = {name: images(GOLDEN_IMAGES if name == "images" else name)}
    _, mask = write_images(tmp_path / "unmasked")
    mask.unlink()
    workflow = Workflow(tmp_path, config)
    printed = workflow.run("all", ok=False)
    assert all(part in printed for part in said), printed
    assert "Traceback (most recent" not in printed
    assert not workflow.result("").exists()


def test_a_perturbation_that_does_not_apply(tmp_path):
    config = tiny_config(m={**MODEL, "options": {**OPTIONS, "class_token": False, "global_pool": "avg"}})
    config["datasets"] = {"images": images(GOLDEN_IMAGES)}
    printed = Workflow(tmp_path, config).run("-n", "results/m/perturbation/attention_no_cls.h5", ok=False)
    assert "'no_cls' does not apply to m" in printed
    assert "take self_only" in printed
