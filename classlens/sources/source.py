"""What a model of another library amounts to in timm, and the model that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from classlens.errors import InputError
from classlens.models.build import create
from classlens.models.canonical import some
from classlens.models.checkpoint import Tensors
from classlens.models.describe import RESIZES
from classlens.models.match import compare

Convert = Callable[[nn.Module], Tensors]
CROP_MODES = {resize: mode for mode, resize in RESIZES.items()}
"""What timm calls a config's `resize`."""


@dataclass(frozen=True)
class Source:
    """A model of another library.

    Attributes:
        name: how its user names it, for messages.
        library: transformers, torchvision, open_clip or timm.
        kind: what the library calls such models, e.g. "dinov2".
        architecture, options: what timm builds the same model of, see `classlens.models.build.create`.
        convert: returns the tensors under timm's names, given timm's model on the device "meta".
        transform: how pictures become its input, as a config's `transform` says it.
        class_names: of its classes, where it names them.
        left_out: reasons by name of the tensors that have no part in its output.
    """

    name: str
    library: str
    kind: str
    architecture: str
    options: Mapping[str, Any]
    convert: Convert = field(repr=False)
    transform: Mapping[str, Any]
    class_names: Sequence[str] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    def note(self) -> dict[str, Any]:
        """Return what provenance keeps."""
        return {"library": self.library, "kind": self.kind, "left_out": sorted(self.left_out)}


def timm_model(source: Source) -> nn.Module:
    """Return the timm model that computes what a source computes, float32, in evaluation mode.

    It is built without memory, then takes the source's tensors: those that need no change are not copied.

    Raises:
        InputError: tensors are missing, too many or of another shape.
    """
    model: Any = create(source.architecture, source.options, device="meta")
    tensors = source.convert(model)
    misfits = compare(tensors, model.state_dict())
    if misfits.count:
        told = misfits.told(f"a {source.kind}", "(timm's names) are missing")
        raise InputError(
            f"{source.name} is no {source.kind} of {source.library} as its config says: {told}; save the model again, "
            f"see docs/models.md"
        )
    unlike = [name for name, tensor in tensors.items() if not tensor.is_floating_point() or tensor.element_size() < 2]
    if unlike:
        raise InputError(
            f"{source.name}: {some(unlike)} hold no plain floating-point numbers, so the model was quantised; take the "
            f"checkpoint that it was made from"
        )
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    for module in model.modules():
        own = {name: one for name, one in module._buffers.items() if one is not None and one.is_meta}
        if own:
            module._buffers.update({name: torch.empty_like(one, device="cpu") for name, one in own.items()})
            module.init_non_persistent_buffers()
    transform = dict(source.transform)
    model.pretrained_cfg = {
        **model.pretrained_cfg,
        "architecture": source.architecture,
        "num_classes": model.num_classes,
        "input_size": (int(source.options.get("in_chans", 3)), *model.patch_embed.img_size),
        "interpolation": transform["interpolation"],
        "crop_pct": transform["crop"],
        "crop_mode": CROP_MODES[transform["resize"]],
        "mean": tuple(transform["mean"]),
        "std": tuple(transform["std"]),
        "label_names": None if source.class_names is None else list(source.class_names),
        "label_descriptions": None,
    }
    made: nn.Module = model.eval()
    return made
