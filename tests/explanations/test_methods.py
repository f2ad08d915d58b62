"""Which explanation applies to which model, and what computes it."""

import pytest

from classlens.catalog.methods import (
    CLASS_TOKEN,
    CLASS_TOKEN_POOLING,
    METHODS,
    REASONS,
    applicable_methods,
    require_method,
)
from classlens.errors import InputError

READS = {}
AVERAGES = {CLASS_TOKEN_POOLING: REASONS[CLASS_TOKEN_POOLING]}
WITHOUT = {CLASS_TOKEN: REASONS[CLASS_TOKEN], **AVERAGES}
FACTS = {"reads": READS, "averages": AVERAGES, "without": WITHOUT}


def test_which_method_applies_to_which_model():
    everywhere = {"random", "direct", "attn_lrp", "cp_lrp", "legrad", "integrated_gradients"}
    of_class_token = {"gradient", "gradient_logit", "gradient_double_softmax", "legrad_cls"}
    found = {name: set(applicable_methods(facts)) for name, facts in FACTS.items()}
    assert found["reads"] == set(METHODS) - {"probe"}
    assert everywhere | of_class_token <= found["averages"]
    assert everywhere <= found["without"]
    assert not found["averages"] & {"chefer", "rollout", "attention", "probe"}
    assert not found["without"] & (of_class_token | {"chefer", "rollout", "attention", "probe"})
    require_method("gradient", "vit", AVERAGES)


@pytest.mark.parametrize(
    ("method", "facts", "message"),
    [
        ("chefre", READS, "'chefre' is unknown; take one of gradient, "),
        ("gradient_logit", WITHOUT, r"does not apply to vit: .*\[CLS\].*does not have; take random or attn_lrp or"),
        ("rollout", WITHOUT, "does not have; take random or"),
        ("legrad_cls", WITHOUT, r"it reads the \[CLS\] token, which this model does not have; take"),
        ("chefer", AVERAGES, "does not apply to vit: .* averages the image tokens; take gradient or"),
        ("probe", READS, "does not apply to vit: it comes from linear probes"),
    ],
)
def test_others_are_refused_with_the_reason(method, facts, message):
    with pytest.raises(InputError, match=message):
        require_method(method, "vit", facts)
