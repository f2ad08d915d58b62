"""LoRA, as peft saves it, merged into the tensors of the model that it adapts; peft itself is not needed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from classlens.errors import InputError
from classlens.models.checkpoint import Tensors, tensors_in

CONFIG, FILES = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")
UNLIKE = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "lora_bias": "LoRA with biases",
    "fan_in_fan_out": "Conv1D layers",
}
"""Settings that change what is merged."""


def adapter_config(folder: Path) -> dict[str, Any] | None:
    """Return the adapter's config in a folder, None where there is none."""
    if not (folder / CONFIG).is_file():
        return None
    try:
        found = json.loads((folder / CONFIG).read_text())
    except ValueError as error:
        raise InputError(f"{folder / CONFIG} is damaged ({error}); copy or download it again") from error
    return dict(found)


def merged(base: Tensors, rename: Callable[[Tensors], Tensors], config: Mapping[str, Any], folder: Path) -> Tensors:
    """Return the tensors of a model with an adapter merged: W + scaling * B A, and layers that were trained whole.

    Args:
        base: the model's, under timm's names.
        rename: brings tensors under timm's names.
        config: the adapter's.
        folder: where its tensors lie.

    Raises:
        InputError: it is no LoRA, adapts layers that the model does not have, or its file is missing.
    """
    unlike = next((name for key, name in UNLIKE.items() if config.get(key)), None)
    if config.get("peft_type") != "LORA" or unlike:
        raise InputError(
            f"{folder / CONFIG} is of {unlike or config.get('peft_type')}, which is not merged here; merge it in "
            f"Python (peft: merge_and_unload()) and save the model, or give the live one, Lens(model)"
        )
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"{folder} has an {CONFIG} but no {FILES[0]}; copy or download it again")
    given = {name.removeprefix("base_model.model."): one for name, one in tensors_in(file).items()}
    stems = [name.partition(".lora_A.")[0] for name in given if ".lora_A." in name]
    changes = {f"{stem}.weight": _scaling(config, stem) * _product(given, stem) for stem in stems}
    found = {**base, **rename({name: one for name, one in given.items() if ".lora_" not in name})}
    for name, change in rename(changes).items():
        if name not in base:
            raise InputError(f"{file} adapts {name} (timm's name), which the model that it is for does not have")
        found[name] = base[name].float() + change.reshape(base[name].shape)
    return found


def _product(given: Mapping[str, torch.Tensor], stem: str) -> torch.Tensor:
    down, up = (given[f"{stem}.lora_{part}.weight"].flatten(1).float() for part in "AB")
    return up @ down


def _scaling(config: Mapping[str, Any], stem: str) -> float:
    rank = _of_pattern(config.get("rank_pattern"), stem, config["r"])
    alpha = _of_pattern(config.get("alpha_pattern"), stem, config["lora_alpha"])
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _of_pattern(patterns: Mapping[str, float] | None, stem: str, default: float) -> float:
    return next((value for key, value in (patterns or {}).items() if re.fullmatch(rf"(.*\.)?{key}", stem)), default)
