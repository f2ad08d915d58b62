"""Write the explanation files of a model: `importance` (N, P), and `maps` (N, B, H, P) of gradient methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

import h5py
import numpy as np
import torch

from classlens.batching import batches
from classlens.errors import InputError
from classlens.explanations.chance import random_importance
from classlens.explanations.gradient import GradientExplainer
from classlens.explanations.methods import ATTENTION_METHODS, GRADIENT_METHODS
from classlens.explanations.relevance import AttentionExplainer
from classlens.hdf5 import CHUNK_ROWS, Column, RowWriter
from classlens.perturbation.running import Loaded, Network, evaluating, load, over_images, read_classes

LOSS_NAMES = {
    "gradient": "the cross-entropy",
    "gradient_logit": "minus the logit",
    "gradient_double_softmax": "the cross-entropy of softmax(softmax)",
}
NAMES = {
    "gradient": "minus the gradient of local cross-entropies, summed over blocks and heads",
    "gradient_logit": "the gradient of local logits, summed over blocks and heads",
    "gradient_double_softmax": "minus the gradient of local cross-entropies of softmax(softmax), summed likewise",
    "chefer": "relevance propagated through the blocks by gradient times attention",
    "rollout": "attention rollout",
    "attention": "attention of [CLS] at the last block, mean over heads",
    "random": "drawn at random for every image",
}


def gradient_explanations(
    pixels: Path,
    weights: Path,
    outputs: Mapping[str, Path],
    *,
    batch_size: int,
    classes: Sequence[int] | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write gradient explanations, all from the same forward passes.

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        outputs: the file to write for each method, some of `GRADIENT_METHODS`.
        batch_size: images per forward pass, at most.
        classes: (N), the class to explain of each image; None: the correct one.
        network: see `perturbation.running.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: a method does not apply to the model, or a class is none of the model's.
    """
    _require_among(outputs, GRADIENT_METHODS)
    loaded = load(weights, network)
    explainer = GradientExplainer(loaded.model, list(outputs), loaded.architecture)
    prefix, model = loaded.model.num_prefix_tokens, loaded.model
    shape = (len(model.blocks), model.blocks[0].attn.num_heads, model.patch_embed.num_patches)

    def explain(images: torch.Tensor, target: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        maps = {method: values[..., prefix:] for method, values in explainer(images, target).items()}
        return {method: {"maps": values, "importance": values.sum((1, 2))} for method, values in maps.items()}

    columns = {
        method: {
            **_importance_column(method, shape[-1]),
            # Mantissas of gradients do not compress; packing them would only take time.
            "maps": Column(
                shape,
                np.float32,
                f"minus the gradient of {LOSS_NAMES[method]} with respect to what [CLS] attends to: block, head, token",
                "1",
                compress=False,
            ),
        }
        for method in outputs
    }
    return _write(loaded, pixels, outputs, columns, explain, classes, batch_size)


def attention_explanations(
    pixels: Path,
    weights: Path,
    outputs: Mapping[str, Path],
    *,
    batch_size: int,
    classes: Sequence[int] | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write explanations by attention weights, all from the same passes; arguments as `gradient_explanations`.

    Args:
        outputs: the file to write for each method, some of `ATTENTION_METHODS`.

    Raises:
        InputError: a method does not apply to the model, or a class is none of the model's.
    """
    _require_among(outputs, ATTENTION_METHODS)
    loaded = load(weights, network)
    explainer = AttentionExplainer(loaded.model, list(outputs), loaded.architecture)

    def explain(images: torch.Tensor, target: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        return {method: {"importance": values} for method, values in explainer(images, target).items()}

    columns = {method: _importance_column(method, loaded.model.patch_embed.num_patches) for method in outputs}
    fitting = min(batch_size, explainer.images_that_fit())
    return _write(loaded, pixels, outputs, columns, explain, classes, fitting)


def random_explanation(pixels: Path, output: Path, *, tokens: int, seed: int) -> None:
    """Write the random explanation.

    Args:
        pixels: pixel file of the evaluation images; only their number counts.
        output: the file to write.
        tokens: P.
        seed: of the draws.
    """
    with h5py.File(pixels) as images:
        total = len(images["pixels"])
    with RowWriter(output, total, _importance_column("random", tokens)) as writer:
        for part in batches(total, CHUNK_ROWS):
            writer.append({"importance": random_importance(seed, part.start, part.stop, tokens)})


def _write(
    loaded: Loaded,
    pixels: Path,
    outputs: Mapping[str, Path],
    columns: Mapping[str, Mapping[str, Column]],
    explain: Callable[[torch.Tensor, torch.Tensor], dict[str, dict[str, torch.Tensor]]],
    classes: Sequence[int] | None,
    batch_size: int,
) -> dict[str, Any]:
    chosen = read_classes(pixels, loaded.model.num_classes, classes)
    with ExitStack() as stack:
        stack.enter_context(evaluating(loaded.model))
        writers = {
            method: stack.enter_context(RowWriter(path, len(chosen), columns[method]))
            for method, path in outputs.items()
        }

        def run(images: torch.Tensor, part: slice) -> None:
            with loaded.autocast():
                found = explain(images, torch.from_numpy(chosen[part]).to(loaded.device))
            arrays = {
                method: {name: values.cpu().numpy() for name, values in of_method.items()}
                for method, of_method in found.items()
            }
            for method, of_method in arrays.items():
                if not np.isfinite(of_method["importance"]).all():
                    raise InputError(
                        f"explanation {method} is not finite; check the weights, or set extraction.precision to float32"
                    )
            for method, of_method in arrays.items():
                writers[method].append(of_method)

        over_images(loaded, pixels, batch_size, " ".join(outputs), run)
    return loaded.provenance()


def _importance_column(method: str, tokens: int) -> dict[str, Column]:
    return {"importance": Column((tokens,), np.float32, f"importance of each image token: {NAMES[method]}")}


def _require_among(outputs: Mapping[str, Path], methods: Sequence[str]) -> None:
    for method in outputs:
        if method not in methods:
            raise InputError(f"explanation {method!r} is none of {', '.join(methods)}")
