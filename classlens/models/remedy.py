"""Which options of an architecture would take the tensors of a checkpoint: tried, not looked up."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.checkpoint import Tensors
from classlens.models.harmless import sorted_out
from classlens.models.match import Misfits, adapted, compare, expected_tensors, of_head

MOST_ROUNDS = 6
BLOCK = re.compile(r"blocks\.(\d+)\.")
ANY = 1e-5
"""Of options whose value the checkpoint replaces (init_values)."""


ADVICE = {
    r"^(dist_token|head_dist)": "it is of a distilled model: take such an architecture, e.g. "
    "deit_tiny_distilled_patch16_224",
    r"lora_|\.base_layer\.": "it holds adapters (LoRA): merge them first (peft: model.merge_and_unload()) and save "
    "model.state_dict()",
    r"\.weight_[gv]$|\.parametrizations\.": "its layers are parametrised: take that off first "
    "(torch.nn.utils.parametrize.remove_parametrizations) and save model.state_dict()",
    r"^head\.\d+\.": "its head is a Sequential: where what stands in front of the Linear does nothing in evaluation "
    "mode, as Dropout, save the Linear as head.weight and head.bias",
}
"""What extra tensors say by their names, and what to do."""


Recipe = tuple[str, Mapping[str, Any]]
"""The architecture and the options that a model is built from; see `classlens.models.build.build`."""


def remedy(misfits: Misfits, given: Tensors, model: torch.nn.Module, recipe: Recipe | None, *, with_head: bool) -> str:
    """Return what to do about a checkpoint that does not fit.

    Args:
        misfits: in what it does not.
        given: its tensors, under the names that are left without their prefix.
        model: that they were compared with.
        recipe: what it was built from, where that is known.
        with_head: the head comes from the checkpoint.
    """
    names = [*misfits.missing, *misfits.misshapen, *misfits.extra]
    if misfits.missing and all(map(of_head, misfits.missing)) and not misfits.misshapen and not misfits.extra:
        return "the file brings no classification head: give yours by the key `head` (docs/heads.md)"
    if "dist_token" in misfits.missing:
        return "the architecture is a distilled one and the file is not: take the architecture without distillation"
    for pattern, advice in ADVICE.items():
        if any(re.search(pattern, name) for name in misfits.extra):
            return advice
    own = ""
    if names and all(name.startswith("head.") for name in names):
        own = ", or a head for your classes by the key `head` (docs/heads.md)"
    hopeless = 2 * len(misfits.missing) > len(model.state_dict())
    found = _options(given, model, recipe, with_head=with_head) if recipe and not hopeless else []
    if found:
        return f"set {' or '.join(found)}, which takes them{own}"
    if misfits.missing or misfits.misshapen or recipe is None:
        return f"check architecture and options{own}"
    return (
        f"no option of {recipe[0]} takes them, so they belong to another architecture; or, if the model does "
        f"not use them, save its tensors without them"
    )


def _options(given: Tensors, model: Any, recipe: Recipe, *, with_head: bool) -> list[str]:
    """Return the changes of options, each as text, with which the checkpoint would fit; none where none is found.

    From round to round the one change is kept that leaves the fewest tensors that do not fit. Blocks are alike, so one
    of them is built.
    """
    depth = 1 + max((int(match[1]) for name in given if (match := BLOCK.match(name))), default=-1)
    start = {"depth": depth} if depth > 0 and depth != len(model.blocks) else {}
    few = {name: part for name, part in given.items() if not (match := BLOCK.match(name)) or match[1] == "0"}

    def count(changes: Mapping[str, Any]) -> int | None:
        try:
            trial = build(recipe[0], {**recipe[1], **changes, "depth": 1}, device="meta")
        except InputError:
            return None
        tensors, _ = adapted(few, trial, with_head=with_head)
        misfits = compare(tensors, expected_tensors(trial, with_head=with_head))
        _, misfits.extra = sorted_out({name: tensors[name] for name in misfits.extra}, trial, with_head=with_head)
        return misfits.count

    best = count({})
    chosen: list[dict[str, Any]] = [{}]
    useful = list(_candidates(given, model))
    for _ in range(MOST_ROUNDS):
        if not best:
            break
        tried = [(one, count({**chosen[0], **one})) for one in useful if not one.items() <= chosen[0].items()]
        least = min((found for _, found in tried if found is not None), default=best)
        if least >= best:
            return []
        useful = [one for one, found in tried if found != best]  # most options change no tensor
        best, chosen = least, [{**chosen[0], **one} for one, found in tried if found == least]
    if best != 0 or not (start or chosen[0]):
        return []
    return [" and ".join(_text(key, value) for key, value in {**start, **changes}.items()) for changes in chosen]


def _text(key: str, value: Any) -> str:
    return f"options.{key}: {json.dumps(value)}{' (the file has the numbers)' if key == 'init_values' else ''}"


def _candidates(given: Tensors, model: Any) -> Iterator[dict[str, Any]]:
    """Yield changes of one option, with values as the checkpoint's shapes have them."""
    known: dict[str, inspect.Parameter] = {}
    for cls in type(model).__mro__:
        if issubclass(cls, torch.nn.Module) and cls is not torch.nn.Module:
            known = {**inspect.signature(cls.__init__).parameters, **known}
    values: dict[str, list[Any]] = {
        key: [True, False] for key, parameter in known.items() if "bool" in str(parameter.annotation)
    }
    values |= {"global_pool": ["token", "avg"], "init_values": [ANY], "pos_embed": ["learn", "none"]}
    shape = {name: tuple(tensor.shape) for name, tensor in given.items()}
    if patches := shape.get("patch_embed.proj.weight"):
        values |= {"embed_dim": [patches[0]]}
        if len(patches) == 4:
            values |= {"in_chans": [patches[1]], "patch_size": [patches[2]]}
        if hidden := shape.get("blocks.0.mlp.fc1.weight"):
            values["mlp_ratio"] = [hidden[0] / patches[0], hidden[0] / patches[0] / 2]
        if one := shape.get("blocks.0.attn.q_norm.weight"):
            values["num_heads"] = [max(1, patches[0] // one[0])]
    if head := shape.get("head.weight"):
        values["num_classes"] = [head[0]]
    for name, options in {"reg_token": ("reg_tokens", "num_reg_tokens"), "register_tokens": ("reg_tokens",)}.items():
        if name in shape and len(shape[name]) == 3:
            values |= {option: [shape[name][1]] for option in options}
    yield from ({key: value} for key, tried in values.items() if key in known for value in tried)
    if "cls_token" not in given:
        yield {"class_token": False, "global_pool": "avg"}
    if patches and patches[0] != model.embed_dim and patches[0] % model.blocks[0].attn.num_heads:
        yield {"embed_dim": patches[0], "num_heads": max(1, patches[0] // 64)}
