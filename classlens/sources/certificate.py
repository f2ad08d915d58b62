"""The certificate that a converted model computes what its own library computes (docs/method.md, models of other
libraries)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform

from classlens.errors import InputError
from classlens.models.device import autocast
from classlens.sources.originals import original
from classlens.sources.source import CROP_MODES, Source
from classlens.sources.texts import ZeroShot

TOLERANCE = 1e-4
"""Largest difference of outputs, as a share of the largest |output|."""
RANDOM_INPUTS = 4

log = logging.getLogger(__name__)


@torch.no_grad()
def certify(
    name: str,
    source: Source,
    model: Any,
    images: Sequence[Image.Image],
    transform: Mapping[str, Any],
    zero_shot: ZeroShot | None = None,
) -> dict[str, Any]:
    """Compare a converted model with the one that its own library makes of the same files, in float32 on the CPU.

    Args:
        name: SOURCE.
        source: what it was found to be.
        model: what was made of it, without a head of the user's own.
        images: pictures, which go through the library's own preprocessing and through ours.
        transform: ours.
        zero_shot: the same model with texts as classes, whose logits are compared, too, where the library's own model
            puts out embeddings of images; None: without texts.

    Returns:
        certified; `text`, the same in a sentence; and, if the library is there, versions, `compared` (what), `inputs`
        (how many), `difference` (the largest), `largest` (|output|), `images` and `agree` (their equal predictions);
        of texts `zero_shot`: `texts` (how many), `difference` and `largest` of logits.

    Raises:
        InputError: outputs or zero-shot logits differ by more than `TOLERANCE`.
    """
    try:
        theirs = original(name, source)
    except ModuleNotFoundError as error:
        told = f"not certified: {error.name} is not installed (pip install 'classlens[sources]')"
        log.warning("%s is %s", name, told)
        return {"certified": False, "library": source.library, "text": told}
    size = tuple(model.patch_embed.img_size)
    prepare: Any = create_transform(
        input_size=(3, *size),
        interpolation=transform["interpolation"],
        crop_pct=transform["crop"],
        crop_mode=CROP_MODES[transform["resize"]],
        mean=transform["mean"],
        std=transform["std"],
        is_training=False,
    )
    ours = [prepare(image) for image in images]
    own = [theirs.prepare(image) for image in images] if theirs.prepare else []
    own = own if all(tuple(one.shape[-2:]) == size for one in own) else []
    noise = torch.randn(RANDOM_INPUTS, 3, *size, generator=torch.Generator().manual_seed(0))
    inputs = torch.cat([noise, *(torch.stack(some) for some in (ours, own) if some)])
    with autocast(torch.device("cpu"), "float32"):
        expected = theirs.forward(inputs).float()
        found = (model.forward_features(inputs) if theirs.hidden else model(inputs)).float()
        of_texts = None if zero_shot is None or theirs.hidden else zero_shot.model(inputs).float()
    if found.shape != expected.shape:
        raise InputError(
            f"{name}: {source.library} puts out {tuple(expected.shape)} of {len(inputs)} inputs, and timm's model "
            f"{tuple(found.shape)}; {WAY_OUT}"
        )
    difference, largest = _differing(found, expected, name, f"timm's model differs from {_own(source)}")
    classes, spoken, told = 0 if theirs.hidden else int(source.options["num_classes"]), {}, ""
    if zero_shot is not None and of_texts is not None:
        tower, classes = zero_shot.tower, len(zero_shot.directions)
        # The length of an image's embedding is frozen, as the lens has it.
        expected, found = tower.logits(expected, zero_shot.directions), tower.frozen(of_texts, found)
        of_logits = _differing(found, expected, name, f"zero-shot logits differ from {_own(source)}")
        spoken = {"zero_shot": {"texts": classes, "difference": of_logits[0], "largest": of_logits[1]}}
        told = f", zero-shot logits of {classes} texts{_to(*of_logits)}"
    count, agree = len(images) if classes else 0, 0
    if count:
        end_to_end = expected[-count:]  # from their own way of pictures, where they have one
        agree = int((found[RANDOM_INPUTS:][:count].argmax(-1) == end_to_end.argmax(-1)).sum())
    predictions = f", {agree} of {count} predictions" if count else ""
    return {
        "certified": True,
        "library": source.library,
        "kind": source.kind,
        "versions": {source.library: theirs.version, "timm": timm.__version__, "torch": torch.__version__},
        "compared": "last hidden state" if theirs.hidden else "output",
        "inputs": len(inputs),
        "difference": difference,
        "largest": largest,
        **spoken,
        "images": count,
        "agree": agree,
        "text": f"outputs equal {_own(source)}{_to(difference, largest)}{told}{predictions}",
    }


WAY_OUT = "take a version of the library that this one was tried with (requirements.lock), or report the model"


def _differing(found: torch.Tensor, expected: torch.Tensor, name: str, what: str) -> tuple[float, float]:
    """Return the largest difference and the largest |value|, if the former is a small share of the latter."""
    difference, largest = float((found - expected).abs().max()), float(expected.abs().max())
    if not difference <= TOLERANCE * largest:
        raise InputError(
            f"{name}: {what} by {difference:.2g} of {largest:.3g}, more than {TOLERANCE:g} of it; {WAY_OUT}"
        )
    return difference, largest


def _to(difference: float, largest: float) -> str:
    return f" to {difference / largest:.0e}" if difference else ""


def _own(source: Source) -> str:
    return f"{source.library}'{'' if source.library.endswith('s') else 's'} own"
