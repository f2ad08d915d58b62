"""stimuli.csv: its columns, its numbering, its digests."""

import csv
import hashlib
import logging
import re

import pytest
from conftest import GOLDEN
from made_data import chosen

from classlens.data.digits import Digits
from classlens.data.imagenet_s import ImageNetS
from classlens.data.listing import list_stimuli
from classlens.data.select import select
from classlens.data.stimulus import Listed, Stimulus, class_names, read_stimuli, write_stimuli

ROOT = GOLDEN / "imagenet_s"
CHOICE = {"per_class": 2, "train_per_class": 3, "exclude_classes": [], "too_few": "error"}
STIMULI = [
    Stimulus("evaluation", 7, "b", 'stork, "black", Ciconia', "validation/b/1.JPEG"),
    Stimulus("evaluation", 3, "a", "bittern", "validation/a/9.JPEG"),
    Stimulus("training", 7, "b", "Störche", "test/b/5.JPEG"),
    Stimulus("training", 3, "a", "bittern", "test/a/2.JPEG"),
]


@pytest.fixture
def table(tmp_path):
    return tmp_path / "stimuli.csv"


def rows_of(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def list_images(source, table, root=None, threads=1):
    place = {"source": source, "root": root, "mask_root": None}
    choice = {"selection": CHOICE, "chosen": chosen(selection=CHOICE, **place)}
    list_stimuli(raw=[], table=str(table), threads=threads, **choice, **place)


def test_the_table_follows_the_file_contract(table):
    write_stimuli(STIMULI, ["w", "x", "y", "z"], table)
    assert table.read_text().splitlines()[0] == "split,image,class_index,class_id,class_name,file,sha256"
    assert b"\r" not in table.read_bytes()
    # Images count from zero within their split.
    assert [(row["split"], row["image"]) for row in rows_of(table)] == [
        ("evaluation", "0"),
        ("evaluation", "1"),
        ("training", "0"),
        ("training", "1"),
    ]
    assert [row["class_name"] for row in rows_of(table)] == [item.class_name for item in STIMULI]


def test_names_of_classes(table):
    write_stimuli(STIMULI[:2], "wx", table)
    assert class_names(str(table)) == {7: 'stork, "black", Ciconia', 3: "bittern"}


def test_one_split_is_read_in_order(table):
    write_stimuli(STIMULI, ["w", "x", "y", "z"], table)
    assert read_stimuli(table, "evaluation") == [
        Listed("evaluation", 7, "b", "validation/b/1.JPEG", "w"),
        Listed("evaluation", 3, "a", "validation/a/9.JPEG", "x"),
    ]
    assert [item.file for item in read_stimuli(table, "training")] == ["test/b/5.JPEG", "test/a/2.JPEG"]


@pytest.mark.parametrize("digests", [["x"] * 3, ["x"] * 5])
def test_a_digest_too_few_or_too_many_is_an_error(table, digests):
    with pytest.raises(ValueError, match="argument 2"):
        write_stimuli(STIMULI, digests, table)


def test_digests_are_those_of_the_files(table):
    list_images(ImageNetS, table, str(ROOT), threads=3)
    rows = rows_of(table)
    assert [row["split"] for row in rows] == ["evaluation"] * 12 + ["training"] * 18
    for row in rows:
        assert row["sha256"] == hashlib.sha256((ROOT / "ImageNetS919" / row["file"]).read_bytes()).hexdigest()


def test_what_is_selected_is_what_is_listed_from_any_number_of_threads(tmp_path):
    for threads in (1, 5):
        list_images(Digits, tmp_path / f"{threads}.csv", threads=threads)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "5.csv").read_bytes()
    selected = select(Digits(None), CHOICE)
    assert [row["file"] for row in rows_of(tmp_path / "1.csv")] == [item.file for item in selected]


def test_how_many_of_how_many_images_are_taken_is_in_the_log(table, caplog):
    caplog.set_level(logging.INFO)
    list_images(Digits, table)
    wanted = CHOICE["per_class"], CHOICE["train_per_class"]
    told = rf"datasets.\w+: {wanted[0]} of \d+ to \d+ per class for evaluation, {wanted[1]} of \d+ to \d+ per class"
    assert re.search(told, caplog.text)


def test_too_few_training_images_are_a_warning_in_the_log(table, caplog):
    choice = {**CHOICE, "train_per_class": 200}
    place = {"root": None, "mask_root": None, "name": "mine"}
    place["source"] = Digits
    choice = {"selection": choice, "chosen": chosen(selection=choice, **place)}
    list_stimuli(raw=[], table=str(table), threads=1, **choice, **place)
    assert "datasets.mine: 10 of 10 classes have fewer training images than train_per_class = 200" in caplog.text
    assert "8 (139)" in caplog.text
    caplog.clear()
    list_images(Digits, table)
    assert not caplog.records
