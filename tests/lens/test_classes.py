"""Which class has which name."""

from collections import OrderedDict

import numpy as np
import pytest
from tiny_transformers import transformer

from classlens import Lens
from classlens.errors import InputError

NAMES = ["cat", "dog", "hen", "pig", "cow", "owl", "ant"]
SHUFFLED = [3, 0, 6, 1, 5, 2, 4]


@pytest.mark.parametrize(
    "given",
    [
        NAMES,
        tuple(NAMES),
        np.array(NAMES),
        dict.fromkeys(NAMES).keys(),
        {index: NAMES[index] for index in SHUFFLED},
        {str(index): NAMES[index] for index in SHUFFLED},
        {np.int64(index): NAMES[index] for index in SHUFFLED},
        OrderedDict((NAMES[index], index) for index in SHUFFLED),
        {NAMES[index]: str(index) for index in SHUFFLED},
        (name for name in NAMES),
    ],
)
def test_names_in_any_form(given):
    classes = Lens(transformer("plain"), given).classes
    assert list(classes.names(np.arange(7))) == NAMES
    assert classes.indices("pig", 1) == [3]


def test_names_that_are_numbers():
    by_name = Lens(transformer("plain"), {str(10 * index): index for index in SHUFFLED}).classes
    assert list(by_name.names(np.arange(7))) == [str(10 * index) for index in range(7)]
    same = Lens(transformer("plain"), {str(index): index for index in SHUFFLED}).classes
    assert list(same.names(np.arange(7))) == list("0123456")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (set(NAMES), "class_names is a set, which has no order"),
        (frozenset(NAMES), "is a frozenset"),
        ("catdogs", "is a str"),
        (7, "is a int"),
        ({index + 1: name for index, name in enumerate(NAMES)}, "the index 7, but 7 entries"),
        (dict.fromkeys(NAMES, 0), "the index 0 for 'cat' and 'dog'"),
        ({name: index / 2 for index, name in enumerate(NAMES)}, "the index 0.0, which is no whole number"),
        ({name: -index for index, name in enumerate(NAMES)}, "the index -1"),
        ({name: bool(index) for index, name in enumerate(NAMES[:2])}, "the index False, which is no whole number"),
        ({str(index): (index + 1) % 7 for index in range(7)}, "maps numbers to numbers"),
        (dict(enumerate(NAMES[:3])), "3 names, but the model 7 classes"),
        ({}, "0 names, but the model 7 classes"),
    ],
)
def test_names_without_an_order_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        Lens(transformer("plain"), given)


def test_names_that_come_with_the_weights():
    model = transformer("plain")
    config = dict(model.pretrained_cfg)
    for labels in (NAMES, {str(index): NAMES[index] for index in SHUFFLED}):
        model.pretrained_cfg = {**config, "label_names": labels}
        assert list(Lens(model).classes.names(np.arange(7))) == NAMES
    model.pretrained_cfg["label_descriptions"] = {name: f"a {name}" for name in NAMES}
    assert Lens(model).classes.label(5) == "a owl"
    assert Lens(model, class_names=NAMES).classes.label(5) == "owl"
    model.pretrained_cfg["label_names"] = NAMES[:3]
    assert Lens(model).classes.label(2) == "class 2"
