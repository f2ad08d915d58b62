"""classes.txt: which line is which class, in all the forms that people write."""

import re
import unicodedata

import pytest

from classlens.data.classes import doubtful_ids, read_classes
from classlens.errors import InputError


def read(tmp_path, text, *folders):
    (tmp_path / "classes.txt").write_bytes(text.encode())
    return list(read_classes(tmp_path / "classes.txt", folders).items())


SHARK, PIG = ("great white shark", "guinea pig")
PLAIN = [(SHARK, SHARK), (PIG, PIG)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{SHARK}\n{PIG}\n", PLAIN),
        (f"{SHARK}\r\n{PIG}\r\n", PLAIN),
        (f"\ufeff{SHARK}\n\n{PIG}", PLAIN),
        (f"{SHARK}\tshark\n{PIG}\tCavia porcellus\n", [(SHARK, "shark"), (PIG, "Cavia porcellus")]),
        (f"{SHARK},shark\n{PIG}, Cavia porcellus", [(SHARK, "shark"), (PIG, "Cavia porcellus")]),
        (f'"{SHARK}","shark, a fish"\n"{PIG}",pig\n', [(SHARK, "shark, a fish"), (PIG, "pig")]),
        (f"{SHARK} (fish)\n{PIG} the pig", [(SHARK, "(fish)"), (PIG, "the pig")]),
        (f"0\t{SHARK}\n1\t{PIG}", PLAIN),
        (f"1 {PIG}\n0 {SHARK}", PLAIN),
        (f"1,{PIG}\n0,{SHARK}", PLAIN),
        (f"1\t{PIG}\tpig\n0\t{SHARK}\tshark", [(SHARK, "shark"), (PIG, "pig")]),
        (f"ant\n{SHARK}\nbig bee\n{PIG}", [("ant", "ant"), PLAIN[0], ("big", "bee"), PLAIN[1]]),
        # Classes without folders may begin alike.
        (
            f"great grey owl\ngreat auk\n{SHARK}\n{PIG}",
            [("great grey owl", "great grey owl"), ("great auk", "great auk"), *PLAIN],
        ),
    ],
)
def test_folders_with_spaces_are_found_in_every_form(tmp_path, text, expected):
    assert read(tmp_path, text, SHARK, PIG) == expected


def test_a_line_is_read_as_the_folders_allow(tmp_path):
    assert read(tmp_path, "cat dog\ncat\n", "cat", "cat dog") == [("cat dog", "cat dog"), ("cat", "cat")]
    assert read(tmp_path, "cat the cat\ncat dog x\n", "cat", "cat dog") == [("cat", "the cat"), ("cat dog", "x")]
    digits = [str(digit) for digit in range(3)]
    assert read(tmp_path, "0 zero\n1 one\n2 two", *digits) == [("0", "zero"), ("1", "one"), ("2", "two")]
    assert [one for one, _ in read(tmp_path, "2\n0\n1", *digits)] == ["2", "0", "1"]
    assert [one for one, _ in read(tmp_path, "# 1\nb", "# 1", "b")] == ["# 1", "b"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_both_forms_of_unicode_are_one_name(tmp_path, form):
    folder = unicodedata.normalize(form, "Grüße café")
    for other in ("NFC", "NFD"):
        text = unicodedata.normalize(other, "Grüße café\thello\n")
        assert read(tmp_path, text, folder) == [(folder, "hello")]


@pytest.mark.parametrize(
    ("text", "folders", "message"),
    [
        ("cat dog", ("cat", "cat dog"), r"line 1 \('cat dog'\) can be read in two ways.*put a tab"),
        ("0 1\n1 0", ("0", "1"), r"line 1 \('0 1'\) can be read in two ways"),
        ("1 cat\n2 dog", ("cat", "dog"), r"line 2 \('2 dog'\) begins with the index 2; indices are 0\.\.1, each once"),
        ("0\tcat\n0\tdog", ("cat", "dog"), r"line 2 .* begins with the index 0"),
        ("cat 1\ndog 0", ("cat", "dog"), r"line 1 \('cat 1'\) ends with a number.*put them first"),
        ("folder,name\ncat,Cat\ndog,Dog", ("cat", "dog"), r"line 1 \('folder,name'\) is a header.*remove it"),
        ("great\ngreat white", ("great",), r"names a class twice: 'great', again in line 2 .*a tab ends an id"),
        ("cat\ncat", ("cat",), "names a class twice"),
        ("cats\ndog", ("cat", "dog"), "lacks the class folders cat; add a line"),
        ("# mine\nb\na\n", ("a", "b"), r"line 1 \('# mine'\) is a comment"),
    ],
)
def test_what_remains_doubtful_is_refused_by_its_line(tmp_path, text, folders, message):
    with pytest.raises(InputError, match=rf"classes\.txt:? .*{message}"):
        read(tmp_path, text, *folders)


def test_a_tab_settles_what_can_be_read_in_two_ways(tmp_path):
    assert read(tmp_path, "cat\tdog\nx", "cat") == [("cat", "dog"), ("x", "x")]
    assert read(tmp_path, "great\ngreat white\tshark", "great") == [("great", "great"), ("great white", "shark")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n01440764 tench, Tinca tinca\nn01443537 goldfish", ["tench, Tinca tinca", "goldfish"]),
        ("2 bird\n0 ant\n1 bee", ["ant", "bee", "bird"]),
        ("0 ant\n1 bee", ["ant", "bee"]),
        ("ant\tthe ant\nbig bee\tthe bee", ["the ant", "the bee"]),
        ("0,ant\n1,bee", ["ant", "bee"]),
    ],
)
def test_without_folders_ids_are_first_words_and_numbers_indices(tmp_path, text, expected):
    assert [name for _, name in read(tmp_path, text)] == expected


@pytest.mark.parametrize(
    ("classes", "doubt"),
    [
        ({"great": "white shark", "pig": "pig"}, "great 'white shark' is read as the id 'great'.*put a tab"),
        ({"1": "ant", "2": "bee"}, r"line 1 is class 0, but begins with 1; write 0\.\.1 there"),
        ({"0": "ant", "1": "bee"}, None),
        ({"n01440764": "tench"}, None),
        ({"ant": "ant", "bee": "bee"}, None),
    ],
)
def test_lists_without_folders_are_doubted(classes, doubt):
    found = doubtful_ids(classes)
    assert found is None if doubt is None else re.search(doubt, found)
