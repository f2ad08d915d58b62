"""Names of the perturbations, and which model each applies to. Imports no torch, so that a workflow can ask cheaply."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from classlens.errors import InputError

ATTENTION_KINDS = ("self_only", "no_cls", "no_cls_renormalised")
"""What image tokens may attend to, in every block; see `classlens.passes.attention_perturbation`."""
REMOVED_LABELS: Mapping[str, int] = MappingProxyType({"no_context": 0, "no_class": 1})
"""Label of the image tokens that a token perturbation takes out; ignored tokens (-1) always stay."""
TOKEN_KINDS = tuple(REMOVED_LABELS)


def applicable_attention_kinds(*, has_class_token: bool) -> tuple[str, ...]:
    """Return the attention perturbations that mean something for a model."""
    return ATTENTION_KINDS if has_class_token else ("self_only",)


def require_attention_kind(kind: str, model: str, *, has_class_token: bool) -> None:
    """Check that an attention perturbation exists and applies to a model.

    Raises:
        InputError: it does not; the message says why and what there is.
    """
    if kind not in ATTENTION_KINDS:
        raise InputError(f"attention perturbation {kind!r} is unknown; take one of {', '.join(ATTENTION_KINDS)}")
    if kind not in applicable_attention_kinds(has_class_token=has_class_token):
        raise InputError(
            f"attention perturbation {kind!r} does not apply to {model}: it removes attention to the [CLS] token, "
            f"which this model does not have; take self_only"
        )


def require_token_kind(kind: str) -> None:
    """Check that a token perturbation exists.

    Raises:
        InputError: it does not.
    """
    if kind not in TOKEN_KINDS:
        raise InputError(f"token perturbation {kind!r} is unknown; take one of {', '.join(TOKEN_KINDS)}")
