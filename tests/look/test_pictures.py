"""Files, folders and globs become pictures, evenly chosen."""

import pytest
from made_pictures import make_pictures

from classlens.errors import InputError
from classlens.look.pictures import find_pictures


def test_folders_files_and_globs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, *_ = make_pictures(tmp_path / "flat", 3)
    make_pictures(tmp_path / "nested/a/b", 2)
    (tmp_path / "nested/a/.hidden.png").write_bytes(first.read_bytes())
    (tmp_path / "nested/notes.txt").write_text("no picture")
    found, of = find_pictures(["flat/0.png", "nested", "flat/*.png"], 64)
    assert list(found.values()) == ["0.png", "nested/a/b/0.png", "nested/a/b/1.png", "1.png", "2.png"]
    assert of == 5
    chosen, of = find_pictures(["nested", "flat"], 2)
    assert (list(chosen.values()), of) == (["nested/a/b/0.png", "flat/0.png"], 5)
    assert list(find_pictures(["flat"], 64)[0].values()) == [f"flat/{place}.png" for place in range(3)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("there", "there is no such file or folder"),
        ("*.jpg", "no file matches it"),
        ("empty", "empty holds no pictures"),
        ("text.png", "text.png is no picture that can be read"),
    ],
)
def test_what_is_none_is_named(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=message):
        find_pictures([given], 64)
