"""Pictures that a user names."""

from pathlib import Path

import pytest

from classlens.data.given import given_pictures
from classlens.errors import InputError

FILES = ("b.png", "a.JPG", "sub/c.jpeg", "sub/notes.txt", ".hidden/d.png", "._a.jpg", "__MACOSX/e.png", "odd.pic")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in FILES:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "photos"))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["photos"], ["a.JPG", "b.png", "sub/c.jpeg"]),
        (["photos/sub", "photos"], ["sub/c.jpeg", "a.JPG", "b.png"]),
        (["photos/odd.pic", "photos/b.png"], ["odd.pic", "b.png"]),
        (["photos/*.*"], ["a.JPG", "b.png"]),
        (["photos/**/*.jpeg"], ["sub/c.jpeg"]),
        (["~/b.png"], ["b.png"]),
    ],
)
def test_files_folders_and_patterns(arguments, expected, folder):
    assert [path.absolute() for path in given_pictures(arguments)] == [folder / "photos" / name for name in expected]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there are no pictures; give"),
        (["empty"], "no pictures in the folder empty"),
        (["photos/none.png"], "there is no picture photos/none.png"),
        (["photos/*.bmp"], r"no picture fits the pattern photos/\*\.bmp"),
    ],
)
def test_what_is_not_there(arguments, message):
    with pytest.raises(InputError, match=message):
        given_pictures(list(map(Path, arguments)))
