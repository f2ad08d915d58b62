"""The timm model inside what a user passes in.

Wrappers are taken off, adapters of PEFT are merged into copies of the layers that have them, and heads that are linear
in evaluation mode become plain linear layers. Modules that have to change are copied, as are those that contain them;
all others are shared with the given model, which stays as it is.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from classlens.errors import InputError
from classlens.models.build import FAMILIES
from classlens.models.canonical import some
from classlens.models.facts import SCORE
from classlens.models.linear import LinearMap, linear_map, outputs_of, replaced, zeros_for
from classlens.models.one_output import BINARY, HEADS, NEGATIVE, POSITIVE, linear_head, two_class_head, with_two_outputs
from classlens.models.parallel import two_branches
from classlens.models.pooling import head_width

WRAPPERS = (
    ("torch.nn", "DataParallel", "module"),
    ("torch.nn.parallel", "DistributedDataParallel", "module"),
    ("torch.optim.swa_utils", "AveragedModel", "module"),
    ("timm.utils", "ModelEma", "ema"),
    ("timm.utils", "ModelEmaV2", "module"),
    ("timm.utils", "ModelEmaV3", "module"),
    ("torch._dynamo.eval_frame", "OptimizedModule", "_orig_mod"),
    ("peft.peft_model", "PeftModel", "base_model"),
    ("peft.mixed_model", "PeftMixedModel", "base_model"),
    ("peft.tuners.tuners_utils", "BaseTuner", "model"),
)
"""Classes that compute what the module inside them computes, and the attribute that holds it. Their libraries are not
imported here: whoever has such an object has imported its module."""
ADAPTED, REPLACED = ("peft.tuners.tuners_utils", "BaseTunerLayer"), ("peft.utils.other", "ModulesToSaveWrapper")
"""Layers of PEFT that adapters change or take the place of."""
MOST_NAMED = 3
"""Models inside a module that a message names, at most."""


@dataclass(frozen=True)
class Opened:
    """A given model, opened.

    Attributes:
        model: a timm model; `num_classes` is the number of their outputs.
        one_output: the given model has one output.
    """

    model: Any
    one_output: bool


def open_model(given: Any, one_output: str | None = None) -> Opened:
    """Return the timm model inside a given one, see above.

    Args:
        given: a timm model, or DataParallel, DistributedDataParallel, torch.compile, AveragedModel, timm's ModelEma or
            PEFT around it or its parts. What has none in it comes back as it is.
        one_output: BINARY or None: one output becomes two classes, see `classlens.models.one_output`; SCORE: it stays.

    Raises:
        InputError: the vision transformer lies deeper inside, a head cannot be run, adapters cannot be merged, or a
            module that had to be copied has a forward of its own.
    """
    if one_output not in (BINARY, SCORE, None):
        raise InputError(f"one_output is {one_output!r}; take {BINARY!r} or {SCORE!r}")
    inner = _unwrapped(given)
    if not isinstance(inner, nn.Module):
        raise InputError(
            f"a model is a torch.nn.Module, e.g. timm.create_model('vit_base_patch16_224', pretrained=True), and no "
            f"{type(given).__name__}; build the model and load the weights into it"
        )
    model: Any = _opened(inner, {})
    if isinstance(model, FAMILIES) and (blocks := two_branches(model)) is not None:
        model = _copied(model, {"blocks": blocks})
    if not isinstance(model, FAMILIES):
        _refuse_if_inside(given, inner)
        return Opened(model, False)
    heads = {name: head for name in HEADS if (head := getattr(model, name, None)) is not None}
    if "head" not in heads:
        return Opened(model, False)  # as `require_supported` says, and of a head that changes nothing, too
    width, changed, counts = head_width(model), dict[str, Any](), list[int]()
    for name, head in heads.items():
        found, count = _head_map(head, width, name)
        two = count == 1 and one_output != SCORE
        if found is None and two:
            changed[name] = with_two_outputs(head)
        elif found is not None and (two or not _is_linear(head)):
            changed[name] = (two_class_head if two else linear_head)(found.weight, found.bias)
        counts.append(count)
    single = counts[0] == 1
    count = 2 if single and one_output != SCORE else counts[0]
    if changed or count != model.num_classes:
        model = _copied(model, changed)
        model.num_classes = count
    return Opened(model, single)


def without_wrappers(given: Any) -> Any:
    """Return a given module without wrappers, compilation and adapters in it; see `open_model`."""
    return _opened(_unwrapped(given), {})


def one_output_warning() -> str:
    """Return what is said where one output is read as two classes and nobody said that it may be."""
    return (
        f"the model has one output, which is read as a binary classifier's: two classes with logits -z/2 "
        f"({NEGATIVE}) and z/2 ({POSITIVE}); say one_output={BINARY!r}, or one_output={SCORE!r} if it is a score, as a "
        f"regression's"
    )


def _is_linear(head: Any) -> bool:
    return type(head).forward is nn.Linear.forward and not replaced(head)


def _head_map(head: Any, width: int, name: str) -> tuple[LinearMap | None, int]:
    """Return the map of a head, None where it is not linear, and how many outputs it has."""
    if _is_linear(head) and head.out_features > 1:
        return LinearMap(head.weight, head.bias), head.out_features
    try:
        found = linear_map(head, width, name)
        return found, len(found.weight)
    except InputError:
        return None, outputs_of(head, zeros_for(head, width)).shape[-1]
    except Exception as error:  # whatever a module of the user's own raises
        kind = head._get_name()
        parts = ", ".join(part._get_name() for part in head.children())
        raise InputError(
            f"model.{name} is a {f'{kind} ({parts})' if parts else kind}, which cannot be run on what it is to read, "
            f"vectors of width {width}: {str(error).splitlines()[0]}; give a model whose head was trained on these"
        ) from error


def _is(module: Any, library: str, name: str) -> bool:
    """Tell whether a module is an instance of a library's class, which is so only if that is imported."""
    return isinstance(module, getattr(sys.modules.get(library), name, ()))


def _unwrapped(module: Any) -> Any:
    while True:
        config = getattr(module, "active_peft_config", None)
        if getattr(config, "is_prompt_learning", False):
            raise InputError(
                f"{type(module).__name__} prepends trained prompts, which cannot be merged into weights; take LoRA or "
                f"another adapter of layers"
            )
        place = next((inner for library, name, inner in WRAPPERS if _is(module, library, name)), None)
        if place is None:
            return module
        module = getattr(module, place)


def _opened(module: Any, known: dict[int, Any]) -> Any:
    """Return a module without wrappers, compilation and adapters in it; itself where it has none."""
    if id(module) in known:
        return known[id(module)]
    inner = _unwrapped(module)
    if _is(inner, *ADAPTED):
        inner = _merged(inner)
    elif _is(inner, *REPLACED):
        trained = not inner.disable_adapters and inner.active_adapters
        inner = _opened(inner.modules_to_save[inner.active_adapters[0]] if trained else inner.original_module, known)
    elif not isinstance(inner, torch.jit.ScriptModule):
        children = {name: _opened(part, known) for name, part in inner._modules.items() if part is not None}
        changed = {name: part for name, part in children.items() if part is not inner._modules[name]}
        if changed or inner._compiled_call_impl is not None:
            inner = _copied(inner, changed)
    known[id(module)] = inner
    return inner


def _copied(module: Any, changed: dict[str, Any]) -> Any:
    """Return a module with other children; hooks, parameters, buffers and other children are those of the given one."""
    if replaced(module):
        raise InputError(
            f"the forward of {type(module).__name__} was replaced by {module.forward!r}, so that it cannot be copied "
            f"without its wrappers or with another head; give the model as it was before"
        )
    copied = copy.copy(module)
    copied._modules = {**module._modules, **changed}
    copied._compiled_call_impl = None
    return copied


def until_changed(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Decorate what makes something of a module: it is made anew only after the module changed, see `_state`."""
    made: WeakKeyDictionary[Any, tuple[Any, Any]] = WeakKeyDictionary()

    @wraps(make)
    def kept(module: Any) -> Any:
        state, known = _state(module), made.get(module)
        if known is None or known[0] != state:
            known = made[module] = (state, make(module))
        return known[1]

    return kept


def _state(module: Any) -> tuple[Any, ...]:
    """Return what changes when a module's tensors are changed or its adapters are switched."""
    tensors = [*module.parameters(), *module.buffers()]
    seen = [(id(one), one.data_ptr(), 0 if one.is_inference() else one._version) for one in tensors]
    layers = [one for one in module.modules() for kind in (ADAPTED, REPLACED) if _is(one, *kind)]
    told = ("active_adapters", "merged_adapters", "scaling", "disable_adapters")
    return (seen, repr([[getattr(one, name, None) for name in told] for one in layers]))


@until_changed
def _merged(layer: Any) -> Any:
    """Return the layer that an adapted one amounts to."""
    inner = layer.base_layer
    base = _copied(_merged(inner) if _is(inner, *ADAPTED) else inner, {})
    base._parameters = {
        name: None if one is None else nn.Parameter(one.detach().clone(), one.requires_grad)
        for name, one in base._parameters.items()
    }
    copied = _copied(layer, {"base_layer": base})
    for name, value in vars(copied).items():
        if isinstance(value, list | dict):
            setattr(copied, name, copy.copy(value))  # merging takes notes in them
    try:
        if base._parameters.get("weight") is None:
            raise TypeError("the weight is no parameter of the layer itself")
        if copied.disable_adapters:
            if copied.merged:
                copied.unmerge()
        elif not copied.merged:
            copied.merge()
    except Exception as error:  # whatever a kind of adapter raises that cannot be merged
        raise InputError(
            f"the adapters of {type(layer).__name__} cannot be merged into its weights ({error}); give the model that "
            f"peft's merge_and_unload() returns"
        ) from error
    return base


def _refuse_if_inside(given: Any, inner: Any) -> None:
    """Refuse a module that is no vision transformer of timm but has one in it.

    Raises:
        InputError: naming where.
    """
    if not isinstance(given, nn.Module):
        given = inner
    places: dict[str, Any] = {}
    for name, module in given.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in places)
        if name and not inside and isinstance(found := _unwrapped(module), FAMILIES):
            places[name] = found
    if not places:
        return
    named = [f"model{_path(given, name)}" for name in places]
    headless = [name for name, found in zip(named, places.values(), strict=True) if isinstance(found.head, nn.Identity)]
    advice = f"; {headless[0]} has no head: give it the linear one, {headless[0]}.head = ..." if headless else ""
    kind = type(inner).__name__
    raise InputError(
        f"{kind} is no vision transformer of timm but holds {some(named, MOST_NAMED)}: give that, "
        f"Lens({named[0]}); what {kind} does before and after it is then not seen{advice}"
    )


def _path(module: Any, name: str) -> str:
    """Return how Python reaches a module inside of another one."""
    path = ""
    for part in name.split("."):
        indexed = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        path += f"[{int(part) if part.isdigit() else repr(part)}]" if indexed else f".{part}"
        module = module._modules[part]
    return path
