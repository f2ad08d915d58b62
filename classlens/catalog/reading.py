"""What is said of a model's tokens and of what its head reads. Imports no torch, as planning asks."""

from __future__ import annotations

from collections.abc import Mapping

from classlens.models.facts import CLASS_TOKEN_POOLING


def prefix_names(count: int, *, has_class_token: bool, distilled: bool) -> list[str]:
    """Return what the `count` tokens in front of the image tokens are called."""
    names = ["[CLS]"] if has_class_token else []
    names += ["distillation"] if distilled else []
    return [*names, *(f"register {number + 1}" for number in range(count - len(names)))]


def pooling_notes(lacks: Mapping[str, str], *, has_class_token: bool, class_token_pooling: bool) -> list[str]:
    """Say of a model whose head reads something else than [CLS] what that is.

    Args:
        lacks: what explanations need and it does not have, see `classlens.models.needs.lacks`.
        has_class_token: it has [CLS].
        class_token_pooling: its head reads that.
    """
    if reads := lacks.get(CLASS_TOKEN_POOLING, "").partition(", but ")[2]:
        return [f"{'' if has_class_token else 'The model has no [CLS] token; '}{reads}."]
    if not has_class_token:
        return ["The model has no [CLS] token; its head reads the mean of the image tokens."]
    return (
        [] if class_token_pooling else ["The head of the model does not read [CLS] but the mean of the image tokens."]
    )
