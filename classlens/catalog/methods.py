"""Every explanation: what it is called, what it needs of a model, what computes it. Imports no torch, as planning asks.

A further explanation is a module with a function that makes an `explainer.Explainer` of a model, and an entry here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from classlens.errors import InputError
from classlens.models.facts import (
    CLASS_TOKEN,
    CLASS_TOKEN_POOLING,
    PROBES,
    REASONS,
    RELEVANCE,
    SEVERAL_CLASSES,
    SUM_OVER_TOKENS,
    UNGATED,
)


@dataclass(frozen=True)
class Method:
    """An explanation.

    Attributes:
        name: in configs, files and tables.
        label: in figures.
        needs: what it needs of a model, in the order in which it is told of.
        compute: "module:function" of what makes an explainer of a model; empty where no model is run for it.
        has_maps: it says what each head of each block contributes, so that heat maps can show it.
        maps_of: what its maps are of, for captions; "" where there is no more to say.
        signed: importance can be evidence against the class, too; else it is never negative.
        any_score: it explains any number that follows from the model's output; `compute` takes the `score`.
        settings: keys of the config's section `explanations` that `compute` takes.
    """

    name: str
    label: str
    needs: tuple[str, ...] = ()
    compute: str = ""
    has_maps: bool = False
    maps_of: str = ""
    signed: bool = True
    any_score: bool = False
    settings: tuple[str, ...] = ()


_READS_ATTENTION = (CLASS_TOKEN, CLASS_TOKEN_POOLING)
_LOCAL = (CLASS_TOKEN, UNGATED)
_CROSS_ENTROPY = (*_LOCAL, SEVERAL_CLASSES)
_HERE = "classlens.explanations"
_LOCAL_LOSS = "of a local loss, with respect to what [CLS] attends to"
_WRITTEN = "what heads write into the class's logit from each token"
_OF_BLOCKS = "of the class's logit after each block, with respect to what tokens attend to"

ENTRIES = (
    Method("gradient", "gradient", _CROSS_ENTROPY, f"{_HERE}.gradient:gradient", True, _LOCAL_LOSS),
    Method(
        "gradient_logit",
        "gradient of logit",
        _LOCAL,
        f"{_HERE}.gradient:gradient_logit",
        True,
        _LOCAL_LOSS,
        any_score=True,
    ),
    Method(
        "gradient_double_softmax",
        "gradient, double softmax",
        _CROSS_ENTROPY,
        f"{_HERE}.gradient:gradient_double_softmax",
        True,
        _LOCAL_LOSS,
    ),
    Method("chefer", "Chefer", _READS_ATTENTION, f"{_HERE}.chefer:chefer", signed=False, any_score=True),
    Method("rollout", "rollout", _READS_ATTENTION, f"{_HERE}.rollout:rollout", signed=False),
    Method("attention", "attention", _READS_ATTENTION, f"{_HERE}.attention:attention", signed=False),
    Method("random", "random", signed=False),
    Method("probe", "linear probes", (PROBES,)),
    Method("attn_lrp", "AttnLRP", (RELEVANCE,), f"{_HERE}.lrp:attn_lrp", any_score=True),
    Method("cp_lrp", "CP-LRP", (RELEVANCE,), f"{_HERE}.lrp:cp_lrp", any_score=True),
    Method("legrad", "LeGrad", (), f"{_HERE}.legrad:legrad", True, _OF_BLOCKS, signed=False, any_score=True),
    Method(
        "legrad_cls",
        "LeGrad at [CLS]",
        (CLASS_TOKEN,),
        f"{_HERE}.legrad:legrad_cls",
        True,
        _OF_BLOCKS,
        signed=False,
        any_score=True,
    ),
    Method(
        "integrated_gradients", "integrated gradients", (), f"{_HERE}.integrated:integrated_gradients", any_score=True
    ),
    Method("direct", "direct", (SUM_OVER_TOKENS,), f"{_HERE}.direct:direct", True, _WRITTEN),
    Method(
        "attn_lrp_gamma",
        "AttnLRP, gamma",
        (RELEVANCE,),
        f"{_HERE}.lrp:attn_lrp_gamma",
        any_score=True,
        settings=("gamma",),
    ),
    Method(
        "cp_lrp_gamma", "CP-LRP, gamma", (RELEVANCE,), f"{_HERE}.lrp:cp_lrp_gamma", any_score=True, settings=("gamma",)
    ),
)
METHODS = {method.name: method for method in ENTRIES}


def applicable_methods(lacks: Mapping[str, str]) -> tuple[str, ...]:
    """Return the explanations that mean something for a model; those by probes need more than a model.

    Args:
        lacks: what the model lacks, see `classlens.models.needs.lacks`.
    """
    absent = {PROBES, *lacks}
    return tuple(name for name, method in METHODS.items() if not absent.intersection(method.needs))


def require_method(method: str, model: str, lacks: Mapping[str, str]) -> None:
    """Check that an explanation exists and can be computed from a model and images alone.

    Raises:
        InputError: it cannot; the message says why and what there is.
    """
    if method not in METHODS:
        raise InputError(f"explanation {method!r} is unknown; take one of {', '.join(METHODS)}")
    reasons = {PROBES: REASONS[PROBES], **lacks}
    missing = [need for need in METHODS[method].needs if need in reasons]
    if missing:
        others = applicable_methods(lacks)
        raise InputError(
            f"explanation {method!r} does not apply to {model}: {reasons[missing[0]]}; take {' or '.join(others)}"
        )
