"""stimuli.csv: its columns, its numbering, its digests."""

import csv
import hashlib

import pytest
from conftest import GOLDEN

from classlens.data.listing import list_stimuli
from classlens.data.select import select
from classlens.data.stimulus import Listed, Stimulus, read_stimuli, write_stimuli

ROOT = GOLDEN / "imagenet_s"
CHOICE = {"per_class": 2, "train_per_class": 3, "exclude_classes": [], "too_few": "error", "masks": None}
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


def test_columns_are_those_of_the_file_contract(table):
    write_stimuli(STIMULI, ["w", "x", "y", "z"], table)
    assert table.read_text().splitlines()[0] == "split,image,class_index,class_id,class_name,file,sha256"
    assert b"\r" not in table.read_bytes()


def test_images_count_from_zero_within_their_split(table):
    write_stimuli(STIMULI, ["w", "x", "y", "z"], table)
    assert [(row["split"], row["image"]) for row in rows_of(table)] == [
        ("evaluation", "0"),
        ("evaluation", "1"),
        ("training", "0"),
        ("training", "1"),
    ]


def test_names_with_commas_and_quotes_survive(table):
    write_stimuli(STIMULI, ["w", "x", "y", "z"], table)
    assert [row["class_name"] for row in rows_of(table)] == [item.class_name for item in STIMULI]


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
    list_stimuli("imagenet_s", str(ROOT), CHOICE, table, threads=3)
    rows = rows_of(table)
    assert [row["split"] for row in rows] == ["evaluation"] * 12 + ["training"] * 18
    for row in rows:
        assert row["sha256"] == hashlib.sha256((ROOT / "ImageNetS919" / row["file"]).read_bytes()).hexdigest()


def test_what_is_selected_is_what_is_listed(table):
    list_stimuli("digits", None, CHOICE, table, threads=2)
    selected = select({"kind": "digits", "root": None, **CHOICE})
    assert [(row["file"], row["class_name"]) for row in rows_of(table)] == [(s.file, s.class_name) for s in selected]


def test_threads_do_not_change_the_table(tmp_path):
    for threads in (1, 5):
        list_stimuli("digits", None, CHOICE, tmp_path / f"{threads}.csv", threads)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "5.csv").read_bytes()
