"""Images in one folder per class, with and without masks, split by folder or by number."""

import os

import numpy as np
import pytest
from PIL import Image

from classlens.data.image_folder import ImageFolder
from classlens.data.mask import CLASS, CONTEXT
from classlens.data.select import select
from classlens.errors import InputError

RNG = np.random.default_rng(0)


def add(folder, *names, size=(6, 5)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(RNG.integers(0, 256, (*size[::-1], 3), np.uint8)).save(folder / name)


def folder(root, masks=None):
    return ImageFolder(str(root), masks and str(masks), "mine")


def choose(root, **changes):
    choice = {"per_class": 1, "train_per_class": 1, "exclude_classes": [], "too_few": "error", **changes}
    return select(folder(root), choice)


@pytest.fixture
def root(tmp_path):
    for class_id in ("cat", "dog"):
        add(tmp_path / "photos" / class_id, "b.png", "a.JPG", "c.webp")
    return tmp_path / "photos"


def files(chosen, split):
    return [item.file for item in chosen if item.split == split]


def test_one_folder_is_split_by_number(root):
    chosen = choose(root)
    assert files(chosen, "evaluation") == ["cat/a.JPG", "dog/a.JPG"]
    assert files(chosen, "training") == ["cat/b.png", "dog/b.png"]
    assert [item.class_index for item in chosen] == [0, 1, 0, 1]
    every = choose(root, per_class=None)
    assert (len(files(every, "evaluation")), files(every, "training")) == (6, [])


def test_folders_of_splits(root):
    split = root.parent / "split"
    add(split / "train/cat", "t.png")
    add(split / "validation/cat", "v.png")
    add(split / "validation/ant", "v.png")
    chosen = choose(split)
    assert files(chosen, "evaluation") == ["validation/ant/v.png", "validation/cat/v.png"]
    assert files(chosen, "training") == ["train/cat/t.png"]
    assert {item.class_id: item.class_index for item in chosen} == {"ant": 0, "cat": 1}


def test_a_list_of_classes_fixes_indices_and_names(root):
    (root / "classes.txt").write_text("bird\ndog a good dog\ncat\n")
    chosen = choose(root)
    assert {(item.class_id, item.class_index, item.class_name) for item in chosen} == {
        ("cat", 2, "cat"),
        ("dog", 1, "a good dog"),
    }
    assert folder(root).class_count() == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog", "lacks the class folders cat"),
        ("dog\ncat\ndog", "names a class twice"),
        *(
            (f"dog\ncat\n{name} x", "is not the plain name of a folder")
            for name in ("../good/a", "..", "a/b", "/tmp", ".")
        ),
    ],
)
def test_a_wrong_list_of_classes_is_refused(root, text, message):
    (root / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=rf"classes\.txt:? .*{message}"):
        choose(root)


def test_what_is_no_image_by_name_is_left_alone(root):
    (root / "cat/0-notes.txt").write_text("remember the milk")
    (root / "cat/.hidden.png").touch()
    (root / ".cache").mkdir()
    assert files(choose(root), "evaluation") == ["cat/a.JPG", "dog/a.JPG"]


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (lambda path: path.write_text("not an image"), "cannot be read as an image"),
        (os.mkfifo, "is not a regular file"),  # reading it would wait for ever
        (lambda path: path.symlink_to("nowhere"), "cannot be read"),
    ],
)
def test_what_is_no_image_inside_is_refused(root, put, message):
    (root / "cat/a.JPG").unlink()
    put(root / "cat/a.JPG")
    assert files(choose(root), "evaluation")[0] == "cat/a.JPG"
    with pytest.raises(InputError, match=rf"cat/a\.JPG {message}"):
        folder(root).image("cat/a.JPG")


def test_a_folder_of_an_images_name_is_no_image(root):
    (root / "cat/0.png").mkdir()
    assert files(choose(root), "evaluation") == ["cat/a.JPG", "dog/a.JPG"]


@pytest.mark.parametrize("place", [b"caf\xe9", b"cat/caf\xe9.png"])
def test_names_that_are_no_text_are_refused(root, place):
    path = os.fsencode(root) + b"/" + place
    if place.endswith(b".png"):
        os.link(root / "cat/a.JPG", path)
    else:
        os.mkdir(path)
    with pytest.raises(InputError, match=r"the name b'.*caf\\xe9.*' is not UTF-8; rename"):
        choose(root)


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"datasets\.mine\.root: there is no folder"):
        choose(tmp_path / "nothing")
    with pytest.raises(InputError, match="has no folders of classes"):
        folder(tmp_path).class_count()


def test_a_class_with_too_few_images(root):
    add(root / "emu", "only.png")
    with pytest.raises(InputError, match=r"emu \(1\)"):
        choose(root, per_class=2)
    assert {item.class_id for item in choose(root, per_class=2, too_few="skip")} == {"cat", "dog"}


def test_raw_files(root, tmp_path):
    chosen, masks = choose(root), tmp_path / "masks"
    assert folder(root).image_files(chosen) == [str(root / item.file) for item in chosen]
    assert not folder(root).has_masks
    for ask in (lambda: folder(root).mask_files(chosen), lambda: folder(root).mask("cat/a.jpg", "cat")):
        with pytest.raises(InputError, match=r"datasets\.mine: there are no masks"):
            ask()
    assert folder(root, masks).has_masks
    with pytest.raises(InputError, match=r"datasets\.mine\.masks: cat/a\.JPG has no mask .*cat/a\.png"):
        folder(root, masks).mask_files(chosen)
    for class_id in ("cat", "dog"):
        add(masks / class_id, "a.png")
    assert folder(root, masks).mask_files(chosen) == [str(masks / "cat/a.png"), str(masks / "dog/a.png")]


@pytest.mark.parametrize("below", ["validation/cat", "cat"])
def test_masks_of_split_folders(tmp_path, below):
    add(tmp_path / "masks" / below, "v.png")
    assert folder(tmp_path, tmp_path / "masks").mask("validation/cat/v.jpeg", "cat").shape == (5, 6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_pixels_that_are_not_zero_are_class(tmp_path, mode):
    shown = np.zeros((4, 3), bool)
    shown[1:, 2] = True
    if mode in ("L", "1", "I;16", "P"):
        image = Image.fromarray(shown.astype(np.uint16 if mode == "I;16" else np.uint8) * (255 if mode == "1" else 1))
        image = image.convert("1") if mode == "1" else image
        if mode == "P":
            image.putpalette([0, 0, 0, 0, 0, 0])  # black, and still another index than 0
    else:
        image = Image.fromarray(shown.astype(np.uint8) * 7).convert(mode)
    (tmp_path / "cat").mkdir()
    image.save(tmp_path / "cat/a.png")
    assert np.array_equal(folder("nowhere", tmp_path).mask("cat/a.jpg", "cat"), np.where(shown, CLASS, CONTEXT))


def test_a_mask_that_is_no_image_is_named(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.png").write_text("nothing")
    with pytest.raises(InputError, match=r"mask .*cat/a\.png cannot be read"):
        folder("nowhere", tmp_path).mask("cat/a.jpg", "cat")
