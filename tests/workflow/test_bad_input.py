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
WNID = "n02002724"


@pytest.fixture
def workflow(tmp_path):
    """Two golden classes with two images each, and a model of one block."""
    root = tmp_path / "images"
    shutil.copytree(GOLDEN / "imagenet_s", root)
    for stim_info in (root / "ImageNetS919").glob("*_stim_info.csv"):
        stim_info.unlink()
    model = {**TINY_MODEL, "dataset": "images", "options": dict(OPTIONS), "transform": {"size": 32}}
    config = tiny_config(m=model)
    config["datasets"] = {
        "images": {"kind": "imagenet_s", "root": "images", "per_class": 2, "train_per_class": 1, "exclude_classes": []}
    }
    return Workflow(tmp_path, config)


def image(workflow, place="validation"):
    return sorted((workflow.folder / "images/ImageNetS919" / place / WNID).iterdir())[0]


def weights(workflow, **changes):
    """Save a checkpoint of the model, with other options or tensors, and let the config point to it."""
    torch.manual_seed(0)
    state = build(
        TINY_MODEL["architecture"], {**OPTIONS, "num_classes": 1000, **changes.pop("options", {})}
    ).state_dict()
    save_file({**state, **changes}, workflow.folder / "mine.safetensors")
    workflow.config["models"]["m"]["weights"] = "mine.safetensors"


def refused(workflow, *messages, absent):
    printed = workflow.run("all", ok=False)
    for message in messages:
        assert message in printed
    assert not workflow.result(absent).exists()
    assert not list(workflow.folder.glob("results/**/.placing-*"))
    assert not list((workflow.folder / ".classlens/work").glob("*"))


def test_missing_root(workflow):
    workflow.config["datasets"]["images"]["root"] = "nowhere"
    refused(workflow, "datasets.images.root: there is no folder nowhere", absent="datasets/images/stimuli.csv")


def test_truncated_image(workflow):
    path = image(workflow)
    path.write_bytes(path.read_bytes()[:2000])
    refused(workflow, str(path.relative_to(workflow.folder)), "replace it", absent="m/output.h5")
    assert not list(workflow.result("datasets/images").glob("*/evaluation.h5"))


def test_missing_mask(workflow):
    path = image(workflow, "validation-segmentation")
    path.unlink()
    refused(workflow, str(path.relative_to(workflow.folder)), absent="m/token_labels.h5")


def test_checkpoint_that_does_not_fit(workflow):
    weights(workflow, options={"embed_dim": 32})
    refused(
        workflow,
        "mine.safetensors does not fit the model",
        "set options.embed_dim: 32",
        absent="m/weights.safetensors",
    )


def test_weights_that_are_not_finite(workflow):
    weights(workflow, **{"norm.weight": torch.full((16,), torch.nan)})
    refused(workflow, "norm.weight hold NaN or infinity", absent="m/weights.safetensors")


def test_unknown_architecture(workflow):
    workflow.config["models"]["m"]["architecture"] = "vit_base_patch32_244"
    refused(workflow, "models.m", "vit_base_patch32_224", absent="m")


def test_misspelt_key(workflow):
    workflow.config["models"]["m"]["architectur"] = workflow.config["models"]["m"].pop("architecture")
    refused(workflow, "models.m: unknown key 'architectur'; did you mean architecture?", absent="m")


def test_missing_checkpoint(workflow):
    workflow.config["models"]["m"]["weights"] = "absent.pt"
    refused(workflow, "absent.pt", absent="m/weights.safetensors")


def test_size_that_the_architecture_does_not_take(workflow):
    workflow.config["models"]["m"]["transform"]["size"] = 48
    refused(workflow, "models.m.transform.size is 48", "takes 32 pixels", absent="m")


def test_perturbation_that_does_not_apply(workflow):
    workflow.config["models"]["m"]["options"] |= {"class_token": False, "global_pool": "avg"}
    printed = workflow.run("-n", "results/m/perturbation/attention_no_cls.h5", ok=False)
    assert "'no_cls' does not apply to m" in printed
    assert "take self_only" in printed


def test_a_good_run_after_a_bad_one(workflow):
    path = image(workflow)
    kept = path.read_bytes()
    path.write_bytes(b"no image")
    workflow.run("all", ok=False)
    path.write_bytes(kept)
    workflow.run("results/m/output.h5")
    assert workflow.result("m/layers/block_00.h5").exists()
