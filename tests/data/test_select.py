"""The selection of images that all kinds of data sets share, and the table that lists it."""

import csv
import hashlib
import logging
import re
from types import SimpleNamespace

import pytest
from conftest import GOLDEN
from made_data import Made, choice

from classlens.data import select as selection
from classlens.data.digits import Digits
from classlens.data.imagenet_s import ImageNetS
from classlens.data.stimulus import Listed, Stimulus, class_names, read_stimuli, write_stimuli
from classlens.errors import InputError

ROOT = GOLDEN / "imagenet_s"


def select(offered, **changes):
    """Choose among evaluation and training images of classes, given as numbers per class."""
    images = [
        Stimulus(split, ord(one), one, one.upper(), f"{split}/{one}{number}")
        for place, split in enumerate(("evaluation", "training"))
        for one, numbers in offered.items()
        for number in range(numbers[place])
    ]
    source = SimpleNamespace(stimuli=lambda _: images, without_images=dict, name="mine")
    return selection.select(source, choice(**{"per_class": 2, **changes}))


def test_the_first_images_of_every_class_or_all_of_them_evaluation_before_training():
    offered = {"b": (3, 2), "a": (2, 2)}
    assert [item.file for item in select(offered)] == [
        *("evaluation/b0", "evaluation/b1", "evaluation/a0", "evaluation/a1"),
        *("training/b0", "training/a0"),
    ]
    found = select({"a": (1, 2), "b": (3, 0)}, per_class=None, train_per_class=None)
    assert [item.file for item in found] == [
        *("evaluation/a0", "evaluation/b0", "evaluation/b1", "evaluation/b2"),
        *("training/a0", "training/a1"),
    ]


def test_excluded_classes_are_left_out_of_both_splits():
    offered = {"a": (2, 2), "b": (2, 2), "c": (0, 0)}
    assert {item.class_id for item in select(offered, exclude_classes=["a", "c"])} == {"b"}
    assert {item.split for item in select(offered, exclude_classes=["c"], train_per_class=0)} == {"evaluation"}
    with pytest.raises(InputError, match=r"datasets\.mine gives no evaluation image: exclude_classes names"):
        select(offered, exclude_classes=["a", "b", "c"])
    with pytest.raises(InputError, match="gives no evaluation image: too_few: skip leaves out every class"):
        select({"a": (1, 1)}, too_few="skip")


def test_too_few_images_are_an_error_that_names_five_classes_at_most_or_skipped_and_logged(caplog):
    offered = {"a": (2, 2), "b": (1, 2), "c": (0, 2)}
    with pytest.raises(InputError, match=r"datasets\.mine: .*per_class = 2 .*: b \(1\), c \(0\); lower per_class"):
        select(offered)
    with pytest.raises(InputError, match=r"e \(1\) and more;") as error:
        select(dict.fromkeys("abcdefg", (1, 0)))
    assert "f (1)" not in str(error.value)
    found = select({"a": (2, 2), "b": (1, 2), "c": (2, 0)}, too_few="skip")
    assert {item.class_id for item in found} == {"a", "c"}
    assert caplog.messages == ["datasets.mine: skipped for want of images: b"]


# The table

STIMULI = [
    Stimulus("evaluation", 7, "b", 'stork, "black", Ciconia', "validation/b/1.JPEG"),
    Stimulus("evaluation", 3, "a", "bittern", "validation/a/9.JPEG"),
    Stimulus("training", 7, "b", "Störche", "test/b/5.JPEG"),
    Stimulus("training", 3, "a", "bittern", "test/a/2.JPEG"),
]


def rows_of(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def table(tmp_path):
    return tmp_path / "stimuli.csv"


def test_the_table_follows_the_file_contract(table):
    write_stimuli(STIMULI, ["w", "x", "y", "z"], table)
    assert table.read_text().splitlines()[0] == "split,image,class_index,class_id,class_name,file,sha256"
    assert b"\r" not in table.read_bytes()
    # Images count from zero within their split.
    numbered = [("evaluation", "0"), ("evaluation", "1"), ("training", "0"), ("training", "1")]
    assert [(row["split"], row["image"]) for row in rows_of(table)] == numbered
    assert [row["class_name"] for row in rows_of(table)] == [item.class_name for item in STIMULI]
    assert read_stimuli(table, "evaluation") == [
        Listed("evaluation", 7, "b", "validation/b/1.JPEG", "w"),
        Listed("evaluation", 3, "a", "validation/a/9.JPEG", "x"),
    ]
    assert [item.file for item in read_stimuli(table, "training")] == ["test/b/5.JPEG", "test/a/2.JPEG"]
    write_stimuli(STIMULI[:2], "wx", table)
    assert class_names(str(table)) == {7: 'stork, "black", Ciconia', 3: "bittern"}
    for count in (3, 5):
        with pytest.raises(ValueError, match="argument 2"):
            write_stimuli(STIMULI, ["x"] * count, table)


def test_digests_are_those_of_the_files(table):
    Made(table.parent, ImageNetS, ROOT).list(threads=3, per_class=2, train_per_class=3)
    rows = rows_of(table)
    assert [row["split"] for row in rows] == ["evaluation"] * 12 + ["training"] * 18
    for row in rows:
        assert row["sha256"] == hashlib.sha256((ROOT / "ImageNetS919" / row["file"]).read_bytes()).hexdigest()


def test_what_is_selected_is_what_is_listed_from_any_number_of_threads(table, caplog):
    caplog.set_level(logging.INFO)
    contents = []
    for threads in (1, 5):
        Made(table.parent, Digits, name="mine").list(threads=threads, per_class=2)
        contents.append(table.read_bytes())
    assert contents[0] == contents[1]
    selected = selection.select(Digits(None), choice(per_class=2))
    assert [row["file"] for row in rows_of(table)] == [item.file for item in selected]
    told = r"datasets.mine: 2 of \d+ to \d+ per class for evaluation, 1 of \d+ to \d+ per class"
    assert re.search(told, caplog.text)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_too_few_training_images_are_a_warning_in_the_log(table, caplog):
    Made(table.parent, Digits, name="mine").list(per_class=2, train_per_class=200)
    assert "datasets.mine: 10 of 10 classes have fewer training images than train_per_class = 200" in caplog.text
    assert "8 (139)" in caplog.text
