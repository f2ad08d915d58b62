"""Build timm models, and refuse by name those whose inside we cannot read."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from typing import Any

import timm
import torch
from timm.layers.mlp import SwiGLUPacked
from timm.layers.norm import LayerNorm
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import Block, ParallelScalingBlock, ResPostBlock, VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos

from classlens.errors import InputError
from classlens.models.facts import CLS_MEAN, SCORE
from classlens.models.linear import linear_map
from classlens.models.parallel import TwoBranchBlock
from classlens.models.pooling import head_width, read_class_and_mean

FAMILIES = (VisionTransformer, VisionTransformerRelPos, Beit, Eva)
"""Families whose blocks add an attention branch and then an MLP branch to the residual stream."""
MOST = {"depth": 1000, "embed_dim": 65536, "num_heads": 4096, "img_size": 8192, "patch_size": 8192, "mlp_ratio": 1000}
MOST_OTHER = 10**7
"""Largest numbers in options, far beyond any published model; a typing error would eat all memory."""


def build(
    architecture: str, options: Mapping[str, Any], *, pretrained: bool = False, device: str | None = None
) -> torch.nn.Module:
    """Build a model in evaluation mode whose residual stream can be read: see `create` and `require_supported`."""
    model = create(architecture, options, pretrained=pretrained, device=device)
    require_supported(model, architecture)
    return model


def create(
    architecture: str, options: Mapping[str, Any], *, pretrained: bool = False, device: str | None = None
) -> torch.nn.Module:
    """Build any model of timm in evaluation mode.

    Args:
        architecture: a name that timm knows, or of a model that timm saved, see `classlens.models.saved`.
        options: further keyword arguments of `timm.create_model`; `norm_eps` is the epsilon of all LayerNorms,
            `swiglu` packs gate and values of a gated MLP into one layer, and `one_output: score` says that the one
            output, if there is one alone, stays what it is (`puts_out_score`), see `classlens.models.one_output`.
        pretrained: take timm's published weights, all of which must fit; a head for another number of classes than
            theirs is fresh.
        device: where its parameters are made ("meta" makes none).

    Raises:
        InputError: timm knows no such model (the closest names are given), or refuses an option.
    """
    base = architecture.split(".")[0]
    elsewhere = any(sign in architecture for sign in ":/\\")
    if not elsewhere and not timm.is_model(base):
        close = difflib.get_close_matches(base, timm.list_models(), 3)
        advice = f"did you mean {', '.join(close)}?" if close else "see timm.list_models()"
        raise InputError(f"architecture {architecture!r}: timm has no model of this name; {advice}")
    _require_sane(architecture, options)
    given: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in options.items()}
    if "norm_eps" in given:
        given["norm_layer"] = partial(LayerNorm, eps=given.pop("norm_eps"))
    if given.pop("swiglu", False):
        given |= {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}
    score = given.pop("one_output", None) == SCORE
    # For another number of classes timm would load what fits, and leave the rest fresh.
    classes = given.pop("num_classes", None) if pretrained else None
    if both := given.get("global_pool") == CLS_MEAN:
        given["global_pool"] = "token"
    with torch.device(device or "cpu"):
        try:
            model: Any = timm.create_model(architecture, pretrained=pretrained, **given)
            if both:
                read_class_and_mean(model)
            if classes not in (None, model.num_classes):
                model.reset_classifier(classes)
            model.puts_out_score = score and model.num_classes == 1
        except (TypeError, ValueError, AssertionError, RuntimeError, OSError, KeyError) as error:
            raise InputError(f"architecture {architecture!r} with options {dict(options)}: {error}") from error
    built: torch.nn.Module = model.eval()
    return built


def _require_sane(architecture: str, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        numbers = [n for n in (value if isinstance(value, list | tuple) else [value]) if isinstance(n, int | float)]
        least, most = (0 if key not in MOST else 1e-3 if key == "mlp_ratio" else 1), MOST.get(key, MOST_OTHER)
        if any(not least <= number <= most for number in numbers):
            raise InputError(
                f"architecture {architecture!r}: options.{key} is {value}; take a number from {least:g} to {most}"
            )


def has_head(model: Any) -> bool:
    """Tell whether a model of a supported family has a classification head that changes something."""
    head = getattr(model, "head", None)
    if not isinstance(head, torch.nn.Module) or isinstance(head, torch.nn.Identity):
        return False
    try:
        weight = linear_map(head, head_width(model), "head").weight
    except InputError:
        return True
    square = weight.shape[0] == weight.shape[1] and not weight.is_meta
    return not (square and torch.equal(weight, torch.eye(len(weight)).to(weight)))


def require_supported(model: torch.nn.Module, architecture: str, *, headless: bool = False) -> None:
    """Check that a model has the sites that are read (docs/method.md, supported models) and, unless `headless`, a head.

    Raises:
        InputError: naming the architecture and the reason.
    """

    def refuse(reason: str) -> InputError:
        return InputError(f"architecture {architecture!r} is not supported: {reason}; take a plain vision transformer")

    if not isinstance(model, FAMILIES):
        raise refuse(f"{type(model).__name__} is not a vision transformer with one residual stream of tokens")
    if not headless and not has_head(model):
        raise refuse(
            "it has no classification head (in a config give one by head, or by options.num_classes with "
            "weights that have one; in Python as model.head)"
        )
    for block in model.blocks:
        if isinstance(block, ParallelScalingBlock) and block.out_proj is None:  # read as `TwoBranchBlock`
            continue
        if isinstance(model, VisionTransformer) and type(block) not in (Block, ResPostBlock, TwoBranchBlock):
            raise refuse(f"its blocks are {type(block).__name__}, whose branches do not follow one another")
        if not all(hasattr(block, name) for name in ("drop_path1", "drop_path2", "attn", "mlp")):
            raise refuse(f"its blocks ({type(block).__name__}) have no separate attention and MLP branches")
        if not hasattr(block.attn, "proj") or "Diff" in type(block.attn).__name__:
            raise refuse(f"its attention is {type(block.attn).__name__}")
