"""Live models of transformers, torchvision and open_clip, as the timm model that computes the same."""

from __future__ import annotations

import sys
from typing import Any

from classlens.models.opening import until_changed, without_wrappers
from classlens.sources import huggingface, openclip, torch_vision
from classlens.sources.source import Source, timm_model


def brought(given: Any) -> Any:
    """Return the timm model that computes what a live model of another library computes; another one as it is.

    The given model stays as it is. Adapters of PEFT are merged in a copy. What needs no change shares memory with the
    given model, and what was made is made anew only after that changed.

    Raises:
        InputError: timm does not compute the same, see `classlens.sources.source.timm_model`.
    """
    return (_brought(given) or given) if _is_foreign(given) else given


@until_changed
def _brought(given: Any) -> Any:
    source = _source(without_wrappers(given))
    return source and timm_model(source)


def _is_foreign(given: Any) -> bool:
    """Tell whether some module in a given one is of another library, which then is imported."""
    libraries = {"transformers", "torchvision", "open_clip"} & sys.modules.keys()
    modules = given.modules() if hasattr(given, "modules") else ()
    return any(type(module).__module__.partition(".")[0] in libraries for module in modules)


def _source(model: Any) -> Source | None:
    library, name = type(model).__module__.partition(".")[0], type(model).__name__
    if library == "transformers" and hasattr(model, "config"):
        config = {**model.config.to_dict(), "architectures": [name]}
        return huggingface.from_parts(config, model.state_dict(), f"this {name}", {})
    if library == "torchvision" and name == "VisionTransformer":
        return torch_vision.from_module(model, "this VisionTransformer")
    if library == "open_clip" and hasattr(model, "visual"):
        return openclip.from_module(model, f"this {name}")
    return None
