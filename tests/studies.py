"""What the runs of the real workflow are of that most of its tests ask."""

from __future__ import annotations

import re
import shutil
from copy import deepcopy

import numpy as np
import torch
import yaml
from conftest import CHECKOUT, GOLDEN, GOLDEN_DATASET, TINY_MODEL, tiny_config
from made_data import ANIMALS, write_cifar, write_packed
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import VisionTransformer

from classlens.models.build import build
from classlens.models.head import save_head

BLOCKS = 12
GOLDEN_MODEL = {
    "dataset": "golden",
    "architecture": "vit_base_patch32_224",
    "options": {"embed_dim": 48, "depth": BLOCKS, "num_heads": 3},
    "transform": {"size": 224},
}
GOLDEN_CONFIG = {
    "datasets": {"golden": GOLDEN_DATASET},
    "models": {
        "golden": {**GOLDEN_MODEL, "label": "ViT of the golden numbers", "weights": str(GOLDEN / "model.safetensors")},
        # The random twin, of which nothing is compared but class value agreement.
        "golden-random": {
            **GOLDEN_MODEL,
            "weights": str(GOLDEN / "random.safetensors"),
            "random_twin": False,
            "analyses": ["memories"],
        },
    },
    # Two shards, and batches that do not divide them.
    "extraction": {"shard_size": 17, "batch_size": 7, "threads": 1},
    "statistics": {"resamples": 199},
    "explanations": {
        "methods": ["gradient_double_softmax", "gradient_logit", "chefer", "random"],
        "randomised_images": 4,
    },
    "faithfulness": {"random_seeds": 1},
    "lens_page": {"explanations": []},
}


MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & $x$ \"'"
"""A label that is no markup."""
PACKED = ("image_folder", "webdataset", "parquet")
"""Kinds of data set that hold the same images."""
TARGETS = [f"results/datasets/{kind}/squash-16-bilinear/training.h5" for kind in PACKED]
"""What no analysis of `study_config` reads."""
TRAINED = re.compile(r'^```yaml title="train.yaml"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def write_photos(folder):
    """Write photos of all modes, and masks whose left half is class."""
    draw = np.random.default_rng(0)
    for class_id in ANIMALS:
        (folder / "photos" / class_id).mkdir(parents=True)
        (folder / "photo_masks" / class_id).mkdir(parents=True)
        for number, mode in enumerate(("RGB", "L", "RGBA", "CMYK")):
            pixels = Image.fromarray(draw.integers(0, 256, (40, 48, 3), np.uint8)).convert(mode)
            pixels.save(folder / "photos" / class_id / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}")
            half = np.zeros((40, 48), np.uint8)
            half[:, :24] = 1
            Image.fromarray(half).save(folder / "photo_masks" / class_id / f"{number}.png")


def write_animals(folder):
    """Write photos of two classes that a small model learns."""
    draw = np.random.default_rng(0)
    for place, name in enumerate(("dark", "bright")):
        (folder / "animals" / name).mkdir(parents=True)
        for number in range(9):
            pixels = draw.integers(128 * place, 128 + 128 * place, (70, 80, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "animals" / name / f"{number}.png")


def write_study(folder):
    """Write images of every kind, a model of torchvision, and a trunk with a head of its own."""
    write_photos(folder)
    write_cifar(folder / "cifar")
    write_packed(folder)
    write_animals(folder)
    torch.manual_seed(1)
    shape = {"image_size": 16, "patch_size": 8, "num_layers": 1, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 8}
    tower = VisionTransformer(**shape, num_classes=3)
    torch.nn.init.normal_(tower.heads.head.weight)  # which is zero otherwise
    torch.save(tower.state_dict(), folder / "torchvision.pth")
    trunk = build(TINY_MODEL["architecture"], {**TINY_MODEL["options"], "num_classes": 1})
    torch.manual_seed(0)
    state = {f"model.{name}": tensor for name, tensor in trunk.state_dict().items() if not name.startswith("head.")}
    save_file(state, folder / "trunk.safetensors")
    with_head = build(TINY_MODEL["architecture"], {**TINY_MODEL["options"], "num_classes": 10})
    save_file(with_head.state_dict(), folder / "whole.safetensors")
    save_head(folder / "head.npz", np.random.default_rng(0).normal(size=(3, 16)), class_names=ANIMALS)


def series_of(model):
    """Return a small model that the workflow trains as a series of two checkpoints."""
    options = {**model["options"], "embed_dim": 16, "depth": 2, "num_heads": 2}
    weights = {"train": {**model["weights"]["train"], "epochs": 1, "keep": [0]}}
    analyses = ["series_identifiability", "series_heads"]
    return {**model, "options": options, "weights": weights, "random_twin": False, "analyses": analyses}


def study_config():
    """Return a config with every kind of data set, and what the golden run has not: a tuned lens of a model that
    averages tokens, a model of another library, a head and a trained model of the user's own."""
    few = {"too_few": "error", "per_class": 2, "train_per_class": 1}
    packed = {"per_class": 3, "train_per_class": 1, "images_per_job": 4}
    average = {**TINY_MODEL["options"], "global_pool": "avg", "class_token": False}
    analyses = TINY_MODEL["analyses"]
    [block] = TRAINED.findall((CHECKOUT / "docs/data.md").read_text())
    trained = yaml.safe_load(block)  # as it is printed
    trained["datasets"]["animals"] |= {"root": "animals", "per_class": 3}
    trained["models"]["small_vit"]["analyses"] = ["identifiability"]
    trained["models"]["run"] = series_of(trained["models"]["small_vit"])
    return {
        "datasets": {
            "digits": {"kind": "digits", "per_class": 2, "train_per_class": 2},
            "photos": {"kind": "image_folder", "root": "photos", "masks": "photo_masks", **few},
            # Eleven images of each group in each half.
            "patched": {"kind": "patched_digits", "per_class": 44, "train_per_class": 1},
            "cifar": {"kind": "cifar100", "root": "cifar", **few},
            **{kind: {"kind": kind, "root": kind, **packed} for kind in PACKED},
            "image_folder": {"kind": "image_folder", "root": "image_folder", "masks": "masks", **packed},
            **trained["datasets"],
        },
        "models": {
            "vit": {
                **TINY_MODEL,
                "label": MARKUP,
                "random_twin": True,
                "analyses": ["one_image", "tuned_lens", *analyses],
            },
            "gap": {**TINY_MODEL, "options": average, "label": "Average", "analyses": ["tuned_lens"]},
            "folder": {**TINY_MODEL, "dataset": "photos", "weights": "trunk.safetensors", "head": "head.npz"},
            "torchvision": {
                "dataset": "photos",
                "weights": "torchvision.pth",
                "transform": TINY_MODEL["transform"],
                "random_twin": False,
                "analyses": ["identifiability"],
            },
            "shortcut": {
                **TINY_MODEL,
                "dataset": "patched",
                "weights": "whole.safetensors",
                "random_twin": True,
                "analyses": ["group_accuracy", "shortcut_heads", "repair"],
            },
            "small": {**TINY_MODEL, "dataset": "cifar", "analyses": analyses[:3]},
            **{kind: {**TINY_MODEL, "dataset": kind, "analyses": ["class_vs_context"]} for kind in PACKED},
            **trained["models"],
        },
        "extraction": {"threads": 1},
        "statistics": {"resamples": 99},
        "tuned_lens": {"steps": 5, "images_per_step": 4},
        "lens_page": {"images": 3, "explanations": []},
        "series": {"analyses": ["identifiability"]},
        "differences": [["run@0", "run@1"]],
    }


def write_pristine(folder):
    """Write two golden classes in the ImageNet-S layout, and weights."""
    shutil.copytree(GOLDEN / "imagenet_s", folder / "images")
    for stim_info in (folder / "images/ImageNetS919").glob("*_stim_info.csv"):
        stim_info.unlink()
    (folder / "images/data/categories/ImageNetS_categories_im919.txt").write_text("n02002724\nn02011460\n")
    torch.manual_seed(5)
    model = build(TINY_MODEL["architecture"], {**PRISTINE_OPTIONS, "num_classes": 1000})
    save_file(model.state_dict(), folder / "weights.safetensors")


PRISTINE_OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}


def pristine_config():
    """Return a config of two models on three images of two classes."""
    model = {**TINY_MODEL, "dataset": "images", "options": PRISTINE_OPTIONS, "transform": {"size": 32}}
    config = tiny_config(first=deepcopy(model), second=deepcopy(model) | {"label": "Second", "random_twin": True})
    config["models"]["second"]["weights"] = "weights.safetensors"
    config["datasets"] = {"images": {"kind": "imagenet_s", "root": "images", "per_class": 3, "train_per_class": 2}}
    return config
