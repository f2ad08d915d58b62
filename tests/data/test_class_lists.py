"""classes.txt: which line is which class, in all the forms that people write."""

import re
import unicodedata

import pytest

from classlens.data.classes import doubtful_ids, read_classes
from classlens.errors import InputError

SHARK, PIG = FOLDERS = ("great white shark", "guinea pig")
PLAIN = [(SHARK, SHARK), (PIG, PIG)]
NAMED = [(SHARK, "shark"), (PIG, "Cavia porcellus")]
DIGITS = ("0", "1", "2")
NFC, NFD = (unicodedata.normalize(form, "Grüße café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("text", "folders", "expected"),
    [
        (f"{SHARK}\n{PIG}\n", FOLDERS, PLAIN),
        (f"{SHARK}\r\n{PIG}\r\n", FOLDERS, PLAIN),
        (f"\ufeff{SHARK}\n\n{PIG}", FOLDERS, PLAIN),
        (f"{SHARK}\tshark\n{PIG}\tCavia porcellus\n", FOLDERS, NAMED),
        (f"{SHARK},shark\n{PIG}, Cavia porcellus", FOLDERS, NAMED),
        (f'"{SHARK}","shark, a fish"\n"{PIG}",pig\n', FOLDERS, [(SHARK, "shark, a fish"), (PIG, "pig")]),
        (f"{SHARK} (fish)\n{PIG} the pig", FOLDERS, [(SHARK, "(fish)"), (PIG, "the pig")]),
        (f"0\t{SHARK}\n1\t{PIG}", FOLDERS, PLAIN),
        (f"1 {PIG}\n0 {SHARK}", FOLDERS, PLAIN),
        (f"1,{PIG}\n0,{SHARK}", FOLDERS, PLAIN),
        (f"1\t{PIG}\tCavia porcellus\n0\t{SHARK}\tshark", FOLDERS, NAMED),
        (f"ant\n{SHARK}\nbig bee\n{PIG}", FOLDERS, [("ant", "ant"), PLAIN[0], ("big", "bee"), PLAIN[1]]),
        # Classes without folders may begin alike.
        (
            f"great grey owl\ngreat auk\n{SHARK}\n{PIG}", FOLDERS,
            [("great grey owl", "great grey owl"), ("great auk", "great auk"), *PLAIN],
        ),
        # A line is read as the folders allow.
        ("cat dog\ncat\n", ("cat", "cat dog"), [("cat dog", "cat dog"), ("cat", "cat")]),
        ("cat the cat\ncat dog x\n", ("cat", "cat dog"), [("cat", "the cat"), ("cat dog", "x")]),
        ("0 zero\n1 one\n2 two", DIGITS, [("0", "zero"), ("1", "one"), ("2", "two")]),
        ("2\n0\n1", DIGITS, [("2", "2"), ("0", "0"), ("1", "1")]),
        ("# 1\nb", ("# 1", "b"), [("# 1", "# 1"), ("b", "b")]),
        # A tab settles what can be read in two ways.
        ("cat\tdog\nx", ("cat",), [("cat", "dog"), ("x", "x")]),
        ("great\ngreat white\tshark", ("great",), [("great", "great"), ("great white", "shark")]),
        # Both forms of Unicode are one name.
        *((f"{text}\thello\n", (folder,), [(folder, "hello")]) for folder in (NFC, NFD) for text in (NFC, NFD)),
        # Without folders ids are first words, and numbers indices.
        ("n1 tench, Tinca tinca\nn2 goldfish", (), [("n1", "tench, Tinca tinca"), ("n2", "goldfish")]),
        ("2 bird\n0 ant\n1 bee", (), [("0", "ant"), ("1", "bee"), ("2", "bird")]),
        ("0 ant\n1 bee", (), [("0", "ant"), ("1", "bee")]),
        ("ant\tthe ant\nbig bee\tthe bee", (), [("ant", "the ant"), ("big bee", "the bee")]),
        ("0,ant\n1,bee", (), [("0", "ant"), ("1", "bee")]),
    ],
)  # fmt: skip
def test_ids_and_names_are_found_in_every_form(tmp_path, text, folders, expected):
    (tmp_path / "classes.txt").write_bytes(text.encode())
    assert list(read_classes(tmp_path / "classes.txt", folders).items()) == expected


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
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=rf"classes\.txt:? .*{message}"):
        read_classes(tmp_path / "classes.txt", folders)


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
