"""Names of the explanations, and which model each applies to. Imports no torch, so that a workflow can ask cheaply."""

from __future__ import annotations

from classlens.errors import InputError

GRADIENT_METHODS = ("gradient", "gradient_logit", "gradient_double_softmax")
"""From one forward pass; see `classlens.explanations.gradient`."""
ATTENTION_METHODS = ("chefer", "rollout", "attention")
"""From the attention weights of all blocks; see `classlens.explanations.relevance`."""
METHODS = (*GRADIENT_METHODS, *ATTENTION_METHODS, "random")
"""What can be computed from a model and an image. `probe` explanations come from linear probes instead."""


def applicable_methods(*, has_class_token: bool, class_token_pooling: bool) -> tuple[str, ...]:
    """Return the explanations that mean something for a model.

    Args:
        has_class_token: token 0 is [CLS].
        class_token_pooling: the head reads [CLS].
    """
    gradient = GRADIENT_METHODS if has_class_token else ()
    attention = ATTENTION_METHODS if has_class_token and class_token_pooling else ()
    return (*gradient, *attention, "random")


def require_method(method: str, model: str, *, has_class_token: bool, class_token_pooling: bool) -> None:
    """Check that an explanation exists and applies to a model.

    Raises:
        InputError: it does not; the message says why and what there is.
    """
    if method not in METHODS:
        raise InputError(f"explanation {method!r} is unknown; take one of {', '.join(METHODS)}")
    there = applicable_methods(has_class_token=has_class_token, class_token_pooling=class_token_pooling)
    if method in there:
        return
    reason = (
        "which this model does not have"
        if not has_class_token
        else "which this model's output does not depend on at the last block, because it averages the image tokens"
    )
    raise InputError(
        f"explanation {method!r} does not apply to {model}: it reads what the [CLS] token attends to, {reason}; "
        f"take {' or '.join(there)}"
    )
