"""Small models of every supported family with weights that matter, and the golden model and images as files."""

from __future__ import annotations

import csv
import tempfile
from functools import cache

import h5py
import numpy as np
import torch
from conftest import GOLDEN
from PIL import Image
from safetensors.torch import save_file

from classlens.errors import InputError
from classlens.inference.host import HostCopy
from classlens.inference.network import LoadedModel, load_network
from classlens.models.build import build
from classlens.models.inputs import Normalise
from classlens.models.weights import write_weights
from classlens.passes.base import Part
from classlens.passes.explanation import Explanation
from classlens.passes.extraction import Extraction
from classlens.passes.run import run_pass
from classlens.sources.describe import described as describe

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 7}
TOKEN = {**SMALL, "class_token": True, "global_pool": "token"}
READS_CLASS_TOKEN = {
    "plain": ("vit_tiny_patch16_224", SMALL),
    "LayerScale": ("deit3_small_patch16_224", {**SMALL, "init_values": 0.1}),
    "res-post-norm": ("vit_base_patch16_rpn_224", TOKEN),
    "query and key norms": ("vit_tiny_patch16_224", {**SMALL, "qk_norm": True}),
    "norms inside branches": ("vit_tiny_patch16_224", {**SMALL, "scale_attn_norm": True, "scale_mlp_norm": True}),
    "norm before the blocks": ("vit_base_patch16_clip_224", SMALL),
    "registers": ("vit_tiny_patch16_224", {**SMALL, "reg_tokens": 3}),
    "distilled": ("deit_tiny_distilled_patch16_224", SMALL),
    "relative positions": ("vit_relpos_base_patch16_cls_224", SMALL),
    "relative positions by table": ("vit_relpos_base_patch16_cls_224", {**SMALL, "rel_pos_type": "bias"}),
    "relative positions, res-post-norm": ("vit_relpos_medium_patch16_rpn_224", {**TOKEN, "init_values": 0.1}),
    "relative positions, shared": ("vit_relpos_base_patch32_plus_rpn_256", {**TOKEN, "shared_rel_pos": True}),
    "BEiT": ("beit_base_patch16_224", {**SMALL, "global_pool": "token"}),
    "BEiT, shared biases": (
        "beit_base_patch16_224",
        {**SMALL, "global_pool": "token", "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True},
    ),
    "EVA": ("eva02_base_patch14_224", TOKEN),
    "EVA, post-norm": ("eva02_enormous_patch14_clip_224", {**TOKEN, "swiglu_mlp": True}),
    "rotary": ("vit_small_patch16_rope_224", SMALL),
    "rotary by head": ("vit_small_patch16_rope_mixed_224", SMALL),
}
AVERAGES_WITH_CLASS_TOKEN = {
    "averages, class token": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg"}),
    "BEiT, averages": ("beit_base_patch16_224", SMALL),
}
AVERAGES = {**SMALL, "global_pool": "avg", "class_token": False}
WITHOUT_CLASS_TOKEN = {
    "averages": ("vit_tiny_patch16_224", AVERAGES),
    "averages, res-post-norm": ("vit_base_patch16_rpn_224", SMALL),
    "averages, relative positions": ("vit_relpos_small_patch16_224", SMALL),
    "averages after the norm": ("vit_tiny_patch16_224", {**AVERAGES, "fc_norm": False}),
}
WITH_CLASS_TOKEN = {**READS_CLASS_TOKEN, **AVERAGES_WITH_CLASS_TOKEN}
FAMILIES = {**WITH_CLASS_TOKEN, **WITHOUT_CLASS_TOKEN}
READOUTS = {
    "attention pool": ("vit_base_patch16_siglip_224", SMALL),
    "attention pool, prefix": ("vit_pe_core_base_patch16_224", {**SMALL, "attn_pool_num_heads": 2}),
    "attention pool without weights": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "prr", "reg_tokens": 1}),
    "[CLS ; mean]": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "cls_mean", "reg_tokens": 2}),
    "[CLS ; mean], EVA": ("eva02_base_patch14_224", {**TOKEN, "global_pool": "cls_mean"}),
}
"""Models whose head reads something else than [CLS] or an average."""
EVERY = {**FAMILIES, **READOUTS}

GOLDEN_NETWORK = {"architecture": "vit_base_patch32_224", "options": {"embed_dim": 48, "depth": 12, "num_heads": 3}}
RUNNING = {"mean": [0.5] * 3, "std": [0.5] * 3, "precision": "float32", "threads": 1, "device": "cpu"}
FOLDER = tempfile.TemporaryDirectory()
"""Lives as long as the tests."""


def transformer(name, seed=0):
    """Build a family's model, or one of (architecture, options).

    Fresh biases and position tables would be zeros, which let wrong code pass.
    """
    architecture, options = EVERY[name] if isinstance(name, str) else name
    torch.manual_seed(seed)
    model = build(architecture, options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def attention_by_timm(model):
    """Let timm compute attention unfused; return a list that gets every block's weights (n, H, T, T), with a graph."""
    weights = []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _module, _inputs, output: weights.append(output))
    return weights


def gradients_by_weights(model, images, module_of, loss):
    """Gradients (n, B, H, T, T) of a loss of what a module of each block puts out, by the block's weights at timm's."""
    weights, seen = attention_by_timm(model), []
    for block in model.blocks:
        module_of(block).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(images)
    pairs = zip(weights, seen, strict=True)
    return torch.stack([torch.autograd.grad(loss(x), one, retain_graph=True)[0] for one, x in pairs], dim=1)


def restricted(kinds, weights, prefix):
    """Write restrictions of attention, by their definitions, on weights that are written out; the strongest holds."""
    images = torch.arange(prefix, weights.shape[-1])
    if "self_only" in kinds:
        weights[:, :, prefix:] = 0
        weights[:, :, images, images] = 1
    elif "no_cls" in kinds or "no_cls_renormalised" in kinds:
        weights[:, :, prefix:, 0] = 0
        if "no_cls_renormalised" in kinds:
            weights[:, :, prefix:] /= weights[:, :, prefix:].sum(-1, keepdim=True)
    return weights


def describe_here(monkeypatch):
    """Let facts about architectures come from this process, which has imported timm, instead of one of their own."""

    def described(*request):
        try:
            return describe(*request)
        except InputError as error:
            return {"error": str(error)}

    monkeypatch.setattr(
        "classlens.config.architecture._describe", lambda requests: [described(*request) for request in requests]
    )


def random_images(count=3, seed=1):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@cache
def golden_pixels(split="validation"):
    """Return a pixel file of golden images: `validation`, or `test`, which probes are trained on."""
    root = GOLDEN / "imagenet_s" / "ImageNetS919"
    rows = list(csv.DictReader((root / f"{split}_stim_info.csv").open()))
    pixels = [np.asarray(Image.open(root / split / row["imagenet_id"] / row["img_name"])) for row in rows]
    path = f"{FOLDER.name}/{split}.h5"
    with h5py.File(path, "w") as file:
        file["pixels"] = np.stack(pixels)
        file["class_index"] = np.array([int(row["index"]) for row in rows], np.uint16)
    return path


@cache
def golden_weights():
    """Return the golden model as canonical weights."""
    path = f"{FOLDER.name}/weights.safetensors"
    write_weights([str(GOLDEN / "model.safetensors")], [], path, **GOLDEN_NETWORK, origin="file")
    return path


def run_golden(output, **given):
    """Run a pass of the golden model over the golden images."""
    return run_pass(
        golden_pixels(), golden_weights(), output, **{**GOLDEN_NETWORK, **RUNNING, "batch_size": 7, **given}
    )


def write_small(folder, name, classes, change=None):
    """Write a family's model and as many random pictures as there are classes; `change` edits the model first."""
    model = transformer(name)
    if change is not None:
        with torch.no_grad():
            change(model)
    save_file({key: tensor.clone() for key, tensor in model.state_dict().items()}, folder / "weights.safetensors")
    with h5py.File(folder / "pixels.h5", "w") as file:
        file["pixels"] = np.random.default_rng(0).integers(0, 256, (len(classes), 32, 32, 3), np.uint8)
        file["class_index"] = np.array(classes, np.uint16)
    architecture, options = EVERY[name] if isinstance(name, str) else name
    network = {"architecture": architecture, "options": options, **RUNNING, "batch_size": 2}
    return model, folder / "pixels.h5", folder / "weights.safetensors", network


def load_small(weights, network):
    """Load what `write_small` has written."""
    return load_network(weights, **{key: value for key, value in network.items() if key != "batch_size"})


def images_of(pixels):
    """Return the images of a pixel file, normalised as `RUNNING` says, and their classes."""
    found, _ = contents(pixels)
    return Normalise([0.5] * 3, [0.5] * 3, torch.device("cpu"))(found["pixels"]), found["class_index"].astype(int)


def loaded_of(model, precision="float32"):
    """Return a model as if it were loaded; its inputs are 2 x / 255 - 1."""
    device = next(model.parameters()).device
    return LoadedModel(model, "small", Normalise([0.5] * 3, [0.5] * 3, device), precision, device)


def extract_pixels(model, pixels, classes, precision="float32"):
    """Return what extraction writes of pixels (n, H, W, 3) with correct classes (n)."""
    made = Extraction(loaded_of(model, precision))
    with made.loaded.autocast():
        target = torch.tensor(classes, device=made.loaded.device)
        found = made(made.loaded.normalise(pixels), target, Part(0, {}))
    return made.checked(HostCopy(found).arrays())


def explain_images(pixels, weights, output, *, has_maps=False, **given):
    """Write an explanation of every image's correct class."""
    return run_pass(pixels, weights, output, of=Explanation, has_maps=has_maps, **given)


def contents(path):
    """Return the data sets of a file by name, and its attributes."""
    with h5py.File(path) as file:
        return {name: values[:] for name, values in file.items()}, dict(file.attrs)
