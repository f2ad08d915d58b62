"""Which explanation applies to which model, and what computes it."""

from importlib import import_module

import pytest

from classlens.errors import InputError
from classlens.explanations.methods import METHODS, applicable_methods, require_method

READS = {"has_class_token": True, "class_token_pooling": True}
AVERAGES = {"has_class_token": True, "class_token_pooling": False}
WITHOUT = {"has_class_token": False, "class_token_pooling": False}


def test_which_method_applies_to_which_model():
    assert applicable_methods(**READS) == tuple(METHODS)[:-1]  # all but those of probes
    assert applicable_methods(**AVERAGES) == (*tuple(METHODS)[:3], "random")
    assert applicable_methods(**WITHOUT) == ("random",)
    require_method("gradient", "vit", **AVERAGES)


@pytest.mark.parametrize(
    ("method", "facts", "message"),
    [
        ("chefre", READS, "'chefre' is unknown; take one of gradient, "),
        ("gradient_logit", WITHOUT, r"does not apply to vit: .*\[CLS\].*does not have; take random$"),
        ("rollout", WITHOUT, "does not have; take random$"),
        ("chefer", AVERAGES, "does not apply to vit: .* averages the image tokens; take gradient or"),
        ("probe", READS, "does not apply to vit: it comes from linear probes"),
    ],
)
def test_others_are_refused_with_the_reason(method, facts, message):
    with pytest.raises(InputError, match=message):
        require_method(method, "vit", **facts)


def test_what_computes_a_method_is_there():
    for method in METHODS.values():
        if method.compute:
            module, function = method.compute.split(":")
            assert callable(getattr(import_module(module), function))
