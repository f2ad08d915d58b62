"""The selection of images that all kinds of data sets share."""

import logging
from types import SimpleNamespace

import pytest

from classlens.data import select as selection
from classlens.data.kinds import KINDS, kind_of, open_dataset
from classlens.data.source import Source
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

CHOICE = {"per_class": 2, "train_per_class": 1, "exclude_classes": [], "too_few": "error"}


def stimuli(split, class_id, count):
    return [Stimulus(split, ord(class_id), class_id, class_id.upper(), f"{split}/{class_id}{i}") for i in range(count)]


def counts(chosen):
    """Return (split, class) -> files, in order of appearance."""
    found = {}
    for item in chosen:
        found.setdefault((item.split, item.class_id), []).append(item.file)
    return found


def select(offered, **changes):
    """Choose among evaluation and training images of classes, given as numbers per class."""
    images = [
        item
        for place, split in enumerate(("evaluation", "training"))
        for class_id, numbers in offered.items()
        for item in stimuli(split, class_id, numbers[place])
    ]
    return selection.select(
        SimpleNamespace(stimuli=lambda _: images, without_images=dict, name="mine"), {**CHOICE, **changes}
    )


def test_the_first_images_of_every_class_evaluation_before_training():
    offered = {"b": (3, 2), "a": (2, 2)}
    assert [item.file for item in select(offered)] == [
        *("evaluation/b0", "evaluation/b1", "evaluation/a0", "evaluation/a1"),
        *("training/b0", "training/a0"),
    ]


def test_null_takes_all_images():
    offered = {"a": (1, 4), "b": (5, 0)}
    chosen = counts(select(offered, per_class=None, train_per_class=None))
    assert {key: len(files) for key, files in chosen.items()} == {
        ("evaluation", "a"): 1,
        ("evaluation", "b"): 5,
        ("training", "a"): 4,
    }


def test_excluded_classes_are_left_out_of_both_splits():
    offered = {"a": (2, 2), "b": (2, 2), "c": (0, 0)}
    assert {item.class_id for item in select(offered, exclude_classes=["a", "c"])} == {"b"}
    assert {item.split for item in select(offered, exclude_classes=["c"], train_per_class=0)} == {"evaluation"}


def test_too_few_images_are_an_error_that_names_class_and_key():
    offered = {"a": (2, 2), "b": (1, 2), "c": (0, 2)}
    with pytest.raises(InputError, match=r"datasets\.mine: .*per_class = 2 .*: b \(1\), c \(0\); lower per_class"):
        select(offered)


def test_an_error_names_five_classes_at_most():
    offered = dict.fromkeys("abcdefg", (1, 0))
    with pytest.raises(InputError, match=r"e \(1\) and more;") as error:
        select(offered)
    assert "f (1)" not in str(error.value)


def test_too_few_images_can_be_skipped_and_are_named_in_the_log(caplog):
    offered = {"a": (2, 2), "b": (1, 2), "c": (2, 0)}
    with caplog.at_level(logging.WARNING):
        chosen = select(offered, too_few="skip")
    assert {item.class_id for item in chosen} == {"a", "c"}
    assert caplog.messages == ["datasets.mine: skipped for want of images: b"]


def test_a_data_set_without_evaluation_image_is_refused():
    offered = {"a": (2, 2)}
    with pytest.raises(InputError, match=r"datasets\.mine gives no evaluation image: exclude_classes names"):
        select(offered, exclude_classes=["a"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_by_its_name(kind):
    source = open_dataset({"kind": kind, "root": "somewhere", "masks": None}, "mine")
    assert isinstance(source, kind_of({"kind": kind}))
    assert (isinstance(source, Source), source.name) == (True, "mine")
    assert (source.needs_root, source.takes_masks) == (kind != "digits", kind == "image_folder")
