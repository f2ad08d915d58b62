"""The selection of images that all kinds of data sets share."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from classlens.data import select as selection
from classlens.data.select import class_count, has_masks, raw_images, raw_masks, select
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

DATASET = {
    "kind": "fake",
    "root": None,
    "masks": None,
    "per_class": 2,
    "train_per_class": 1,
    "exclude_classes": [],
    "too_few": "error",
}
GOLDEN_DATASET = {**DATASET, "kind": "imagenet_s", "root": str(GOLDEN / "imagenet_s"), "per_class": 3}
DIGITS = {**DATASET, "kind": "digits"}


def stimuli(split, class_id, count):
    return [Stimulus(split, ord(class_id), class_id, class_id.upper(), f"{split}/{class_id}{i}") for i in range(count)]


def counts(chosen):
    """Return (split, class) -> files, in order of appearance."""
    found = {}
    for item in chosen:
        found.setdefault((item.split, item.class_id), []).append(item.file)
    return found


@pytest.fixture
def offer(monkeypatch):
    """Let the kind `fake` offer images: per class evaluation and training images."""

    def offer(**classes):
        images = [
            item
            for place, split in enumerate(("evaluation", "training"))
            for class_id, numbers in classes.items()
            for item in stimuli(split, class_id, numbers[place])
        ]
        monkeypatch.setitem(selection.KINDS, "fake", SimpleNamespace(stimuli=lambda *_: images))

    return offer


def test_the_first_images_of_every_class_evaluation_before_training(offer):
    offer(b=(3, 2), a=(2, 2))
    assert [item.file for item in select(DATASET)] == [
        *("evaluation/b0", "evaluation/b1", "evaluation/a0", "evaluation/a1"),
        *("training/b0", "training/a0"),
    ]


def test_null_takes_all_images(offer):
    offer(a=(1, 4), b=(5, 0))
    chosen = counts(select({**DATASET, "per_class": None, "train_per_class": None}))
    assert {key: len(files) for key, files in chosen.items()} == {
        ("evaluation", "a"): 1,
        ("evaluation", "b"): 5,
        ("training", "a"): 4,
    }


def test_no_training_image_where_none_is_asked_for(offer):
    offer(a=(2, 4))
    assert {item.split for item in select({**DATASET, "train_per_class": 0})} == {"evaluation"}


def test_excluded_classes_are_left_out_of_both_splits(offer):
    offer(a=(2, 2), b=(2, 2), c=(0, 0))
    assert {item.class_id for item in select({**DATASET, "exclude_classes": ["a", "c"]})} == {"b"}


def test_too_few_images_are_an_error_that_names_class_and_key(offer):
    offer(a=(2, 2), b=(1, 2), c=(0, 2))
    with pytest.raises(InputError, match=r"datasets\.mine: .*per_class = 2 .*: b \(1\), c \(0\); lower per_class"):
        select(DATASET, "mine")


def test_an_error_names_five_classes_at_most(offer):
    offer(**dict.fromkeys("abcdefg", (1, 0)))
    with pytest.raises(InputError, match=r"e \(1\) and more;") as error:
        select(DATASET)
    assert "f (1)" not in str(error.value)


def test_too_few_images_can_be_skipped_and_are_named_in_the_log(offer, caplog):
    offer(a=(2, 2), b=(1, 2), c=(2, 0))
    with caplog.at_level(logging.WARNING):
        chosen = select({**DATASET, "too_few": "skip"}, "mine")
    assert {item.class_id for item in chosen} == {"a", "c"}
    assert caplog.messages == ["datasets.mine: skipped for want of images: b"]


def test_enough_images_are_not_worth_a_warning(offer, caplog):
    offer(a=(2, 0))
    select({**DATASET, "too_few": "skip"})
    assert not caplog.messages


def test_a_data_set_without_evaluation_image_is_refused(offer):
    offer(a=(2, 2))
    with pytest.raises(InputError, match=r"datasets\.mine gives no evaluation image; check root"):
        select({**DATASET, "exclude_classes": ["a"]}, "mine")


@settings(deadline=None, max_examples=30)
@given(per_class=st.integers(1, 35), train_per_class=st.integers(0, 160))
def test_digits_are_never_in_both_splits(per_class, train_per_class):
    chosen = counts(select({**DIGITS, "per_class": per_class, "train_per_class": train_per_class}))
    files = [file for found in chosen.values() for file in found]
    assert len(files) == len(set(files))
    for (split, _), found in chosen.items():
        assert len(found) <= (per_class if split == "evaluation" else train_per_class)


def test_more_digits_than_there_are_is_an_error():
    with pytest.raises(InputError, match=r"per_class = 36 evaluation images: 8 \(35\);"):
        select({**DIGITS, "per_class": 36})


def test_the_number_of_classes():
    assert class_count(DIGITS) == 10
    assert class_count(GOLDEN_DATASET) == 1000


@pytest.mark.parametrize(
    ("kind", "masks", "expected"),
    [
        ("digits", None, True),
        ("imagenet_s", None, True),
        ("image_folder", "masks", True),
        ("image_folder", None, False),
        ("cifar100", None, False),
    ],
)
def test_which_data_sets_have_masks(kind, masks, expected):
    assert has_masks({"kind": kind, "masks": masks}) is expected


def test_digits_come_from_one_file():
    assert raw_images(DIGITS, select(DIGITS)) == raw_masks(DIGITS, select(DIGITS))
    (path,) = raw_images(DIGITS, select(DIGITS))
    assert Path(path).is_file()


def test_raw_files_are_those_of_the_chosen_images():
    images, masks = (
        raw_images(GOLDEN_DATASET, select(GOLDEN_DATASET)),
        raw_masks(GOLDEN_DATASET, select(GOLDEN_DATASET)),
    )
    assert all(Path(path).is_file() for path in images + masks)
    evaluation = [path for path in images if "/validation/" in path]
    assert (len(images), len(evaluation)) == (6 * (3 + 1), 6 * 3)
    # Masks belong to evaluation images alone, in their order.
    assert [Path(path).stem for path in masks] == [Path(path).stem for path in evaluation]
