"""Every explanation: what it is called, what it needs of a model, what computes it. Imports no torch, as planning asks.

A further explanation is a module with a function that makes an `explainer.Explainer` of a model, and an entry here.
"""

from __future__ import annotations

from dataclasses import dataclass

from classlens.errors import InputError

CLASS_TOKEN, CLASS_TOKEN_POOLING, PROBES = "a [CLS] token", "a head that reads [CLS]", "linear probes"
SEVERAL_CLASSES = "several classes"
REASONS = {
    CLASS_TOKEN: "it reads the [CLS] token, which this model does not have",
    CLASS_TOKEN_POOLING: "it reads what the [CLS] token attends to, which this model's output does not depend on at "
    "the last block, because it averages the image tokens",
    SEVERAL_CLASSES: "it reads the cross-entropy of classes, and a score has none",
    PROBES: "it comes from linear probes, which the workflow fits to training images",
}
"""Why an explanation does not apply, by what is missing."""


@dataclass(frozen=True)
class Method:
    """An explanation.

    Attributes:
        name: in configs, files and tables.
        label: in figures.
        needs: keys of `REASONS`, in the order in which they are told of.
        compute: "module:function" of what makes an explainer of a model; empty where no model is run for it.
        has_maps: it says what each head of each block contributes, so that heat maps can show it.
        maps_of: what its maps are of, for captions; "" where there is no more to say.
    """

    name: str
    label: str
    needs: tuple[str, ...] = ()
    compute: str = ""
    has_maps: bool = False
    maps_of: str = ""


_LOCAL = (CLASS_TOKEN, SEVERAL_CLASSES)
_READS_ATTENTION = (CLASS_TOKEN, CLASS_TOKEN_POOLING)
_HERE = "classlens.explanations"
_LOCAL_LOSS = "of a local loss, with respect to what [CLS] attends to"
_WRITTEN = "what heads write into the class's logit from each token"
_OF_BLOCKS = "of the class's logit behind each block, with respect to what tokens attend to"

ENTRIES = (
    Method("gradient", "gradient", _LOCAL, f"{_HERE}.gradient:gradient", True, _LOCAL_LOSS),
    Method(
        "gradient_logit", "gradient of logit", (CLASS_TOKEN,), f"{_HERE}.gradient:gradient_logit", True, _LOCAL_LOSS
    ),
    Method(
        "gradient_double_softmax",
        "gradient, double softmax",
        _LOCAL,
        f"{_HERE}.gradient:gradient_double_softmax",
        True,
        _LOCAL_LOSS,
    ),
    Method("chefer", "Chefer", _READS_ATTENTION, f"{_HERE}.chefer:chefer"),
    Method("rollout", "rollout", _READS_ATTENTION, f"{_HERE}.rollout:rollout"),
    Method("attention", "attention", _READS_ATTENTION, f"{_HERE}.attention:attention"),
    Method("random", "random"),
    Method("probe", "linear probes", (PROBES,)),
    Method("attn_lrp", "AttnLRP", (), f"{_HERE}.lrp:attn_lrp"),
    Method("cp_lrp", "CP-LRP", (), f"{_HERE}.lrp:cp_lrp"),
    Method("legrad", "LeGrad", (), f"{_HERE}.legrad:legrad", True, _OF_BLOCKS),
    Method("legrad_cls", "LeGrad at [CLS]", (CLASS_TOKEN,), f"{_HERE}.legrad:legrad_cls", True, _OF_BLOCKS),
    Method("integrated_gradients", "integrated gradients", (), f"{_HERE}.integrated:integrated_gradients"),
    Method("direct", "direct", (), "classlens.attribution.direct:direct", True, _WRITTEN),
)
METHODS = {method.name: method for method in ENTRIES}


def applicable_methods(
    *, has_class_token: bool, class_token_pooling: bool, several_classes: bool = True
) -> tuple[str, ...]:
    """Return the explanations that mean something for a model; those by probes need more than a model.

    Args:
        has_class_token: token 0 is [CLS].
        class_token_pooling: the head reads [CLS].
        several_classes: its output is no score.
    """
    there = {
        CLASS_TOKEN: has_class_token,
        CLASS_TOKEN_POOLING: class_token_pooling,
        SEVERAL_CLASSES: several_classes,
        PROBES: False,
    }
    return tuple(name for name, method in METHODS.items() if all(there[need] for need in method.needs))


def require_method(
    method: str, model: str, *, has_class_token: bool, class_token_pooling: bool, several_classes: bool = True
) -> None:
    """Check that an explanation exists and can be computed from a model and images alone.

    Raises:
        InputError: it cannot; the message says why and what there is.
    """
    if method not in METHODS:
        raise InputError(f"explanation {method!r} is unknown; take one of {', '.join(METHODS)}")
    there = {
        CLASS_TOKEN: has_class_token,
        CLASS_TOKEN_POOLING: class_token_pooling,
        SEVERAL_CLASSES: several_classes,
    }
    missing = [need for need in METHODS[method].needs if not there.get(need)]
    if missing:
        others = applicable_methods(
            has_class_token=has_class_token, class_token_pooling=class_token_pooling, several_classes=several_classes
        )
        raise InputError(
            f"explanation {method!r} does not apply to {model}: {REASONS[missing[0]]}; take {' or '.join(others)}"
        )
