"""Image folders as they lie on people's disks: splits, lists of classes, stray folders, no images, masks."""

import errno
import os
import re
import unicodedata

import numpy as np
import pytest
from made_data import choice, files, png
from PIL import Image

from classlens.data.image_folder import ImageFolder
from classlens.data.mask import CLASS, CONTEXT
from classlens.data.select import select
from classlens.data.webdataset import WebDataset
from classlens.errors import InputError

IMAGE = png()


def lay(root, *paths):
    """Make files, and the folders that end with a slash."""
    for path in paths:
        place = root / path
        (place if path.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            place.write_bytes(IMAGE)


def folder(root, masks=None):
    return ImageFolder(str(root), masks and str(masks), "d")


def choose(root, **changes):
    return select(folder(root), choice(**changes))


def doubts(root, **changes):
    return folder(root).doubts(choice(**changes))


def indices(chosen):
    return {item.class_id: item.class_index for item in chosen}


@pytest.fixture
def root(tmp_path):
    lay(tmp_path / "photos", *(f"{one}/{name}" for one in ("cat", "dog") for name in ("b.png", "a.JPG", "c.webp")))
    return tmp_path / "photos"


def test_one_folder_is_split_by_number(root):
    chosen = choose(root)
    assert files(chosen, "evaluation") == ["cat/a.JPG", "dog/a.JPG"]
    assert files(chosen, "training") == ["cat/b.png", "dog/b.png"]
    assert [item.class_index for item in chosen] == [0, 1, 0, 1]
    every = choose(root, per_class=None)
    assert (len(files(every, "evaluation")), files(every, "training")) == (6, [])


@pytest.mark.parametrize(
    ("there", "evaluation", "training"),
    [
        *((("train", other), other, "train") for other in ("val", "valid", "test", "eval")),
        (("train", "validation", "val", "test"), "validation", "train"),
        (("train", "val", "test"), "val", "train"),
        (("Train", "VAL"), "VAL", "Train"),
        (("Training", "Testing"), "Testing", "Training"),
    ],
)
def test_usual_names_of_splits(tmp_path, there, evaluation, training):
    lay(tmp_path, *(f"{part}/{one}/{part}.png" for part in there for one in ("cat", "dog")))
    chosen = choose(tmp_path)
    assert files(chosen, "evaluation") == [f"{evaluation}/{one}/{evaluation}.png" for one in ("cat", "dog")]
    assert files(chosen, "training") == [f"{training}/{one}/{training}.png" for one in ("cat", "dog")]
    assert doubts(tmp_path) == []
    [note] = folder(tmp_path).notes()
    assert f"evaluation images come from {evaluation}/, training images come from {training}/" in note
    for other in {*there} - {evaluation, training}:
        assert f"{other}/" in note.partition(";")[2]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (("train/cat/a.png", "val/a.png", "val/b.png"), r"val has 2 images and no folders of classes; sort them"),
        (("train/a.png", "val/cat/a.png"), r"train has 1 images and no folders of classes"),
        (("train/cat/a.png", "test/a.png"), r"point root to \S+/train, whose images are then split by number"),
        (("train/cat/a.png", "val/"), r"val has 0 images and no folders"),
        (("train/cat/a.png", "train/dog/a.png"), r"has train/, but no validation/ or .* beside it; add that"),
        (("val/cat/a.png", "test/cat/a.png"), r"has val/, but no train/ or training/ beside it"),
        (("train/cat/a.png", "val/cat/", "val/a.png"), r"cat \(0\)"),
        (("a.png",), "has no folders of classes"),
        ((), r"datasets\.d\.root: there is no folder"),
    ],
)
def test_half_sorted_layouts_are_refused(tmp_path, paths, message):
    lay(tmp_path / "root", *paths)
    with pytest.raises(InputError, match=message):
        choose(tmp_path / "root")


def test_a_list_of_classes_fixes_indices_and_names_plain_folders(root):
    (root / "classes.txt").write_text("bird\ndog a good dog\ncat\n")
    found = {(item.class_id, item.class_index, item.class_name) for item in choose(root)}
    assert found == {("cat", 2, "cat"), ("dog", 1, "a good dog")}
    assert folder(root).class_count() == 3
    for name in ("../good/a", "..", "a/b", "/tmp", "."):
        (root / "classes.txt").write_text(f"dog\ncat\n{name} x")
        with pytest.raises(InputError, match=r"classes\.txt: .* is not the plain name of a folder"):
            choose(root)


def test_classes_that_are_called_like_parts_are_some_where_a_list_says_so(tmp_path):
    for name in ("images", "labels", "Masks", "annotations", "thumbs", "valid"):
        lay(tmp_path / f"of {name}", f"{name}/a.png", "cat/a.png")
        [doubt] = doubts(tmp_path / f"of {name}")
        assert f"{name} among the classes" in doubt
    tmp_path /= "trains"
    lay(tmp_path, *(f"{one}/{number}.png" for one in ("car", "train") for number in "ab"))
    assert indices(choose(tmp_path)) == {"car": 0, "train": 1}
    assert re.search(r"train among the classes; .*list all classes in \S+/classes\.txt", doubts(tmp_path)[0])
    (tmp_path / "classes.txt").write_text("train\ncar\n")
    assert doubts(tmp_path) == []
    assert indices(choose(tmp_path)) == {"car": 1, "train": 0}


def test_folders_without_a_file_are_no_classes(tmp_path):
    lay(tmp_path, "ant/", "bee/a.png", "bee/b.png", "lost+found/a.png", "@eaDir/x/a.png", ".ipynb_checkpoints/a.png")
    lay(tmp_path, "__MACOSX/bee/._a.png", "bee/Thumbs.db")
    assert indices(choose(tmp_path)) == {"bee": 0}
    [doubt] = doubts(tmp_path)
    assert "ant, @eaDir, __MACOSX, lost+found are empty, or made by a system, and no classes" in doubt
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    assert indices(choose(tmp_path)) == {"bee": 1}


@pytest.mark.parametrize("per_class", [1, None])
@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        ([f"bee/{number}.HEIC" for number in range(5)], r"bee \(0: its files are none .* 5 \.heic\)"),
        (["bee/images/a.png"], r"bee \(0: it holds folders, such as images, and no images\)"),
        (["bee/README"], r"bee \(0: its files .* 1 without suffix\)"),
    ],
)
def test_a_class_of_files_that_are_not_read_has_too_few(tmp_path, per_class, paths, reason):
    lay(tmp_path, *paths, *(f"{one}/{number}.png" for one in ("ant", "cow") for number in "ab"))
    with pytest.raises(InputError, match=reason):
        choose(tmp_path, per_class=per_class)
    for changes in ({"too_few": "skip"}, {"exclude_classes": ["bee"]}):
        assert indices(choose(tmp_path, per_class=per_class, **changes)) == {"ant": 0, "cow": 2}


def test_what_is_passed_over_is_counted(tmp_path):
    lay(tmp_path, "ant/a.png", "ant/b.png", "ant/c.HEIC", "ant/d.heic", "ant/e.txt", "ant/more/f.png", "stray.png")
    lay(tmp_path, "ant/.hidden.png", "ant/0.png/", ".cache/")
    assert files(choose(tmp_path), "evaluation") == ["ant/a.png"]
    suffixes, nested, stray = doubts(tmp_path)
    assert "3 files of classes are passed over" in suffixes
    assert "(2 .heic, 1 .txt)" in suffixes
    assert "folders inside of ant are passed over" in nested
    assert "1 images in" in stray


@pytest.mark.parametrize(
    ("names", "doubt"),
    [
        ([str(number) for number in range(11)], r"'2' has the class index 3; as numbers it would have 2; say"),
        (["class2", "class10", "class1"], r"'class2' has the class index 2; as numbers it would have 1"),
        (["2. bee", "10. ant"], r"'2\. bee' has the class index 1; as numbers it would have 0"),
        ([unicodedata.normalize("NFD", name) for name in ("élan", "fox")], "in Unicode's composed form it would have"),
        ([str(number) for number in range(10)], None),
        (["001.a", "010.b", "002.c"], None),
        (["n01440764", "n02102040"], None),
        (["a2", "b10"], None),
    ],
)
def test_names_that_sort_otherwise_are_doubted(tmp_path, names, doubt):
    lay(tmp_path, *(f"{name}/a.png" for name in names))
    found = doubts(tmp_path)
    assert bool(found) == bool(doubt)
    if doubt:
        assert re.search(doubt, found[0])
        (tmp_path / "classes.txt").write_text("\n".join(f"{name}\tx" for name in names))
        assert doubts(tmp_path) == []


def test_classes_that_differ_between_splits(tmp_path):
    lay(tmp_path, "train/Cat/a.png", "train/dog/a.png", "val/cat/a.png", "val/dog/a.png")
    assert indices(choose(tmp_path, per_class=None)) == {"Cat": 0, "cat": 1, "dog": 2}
    in_val, in_train = doubts(tmp_path)
    assert "classes cat lie in val/ (evaluation) alone, not in train/ (upper and lower case of cat differ)" in in_val
    assert "classes Cat lie in train/ (training) alone, not in val/" in in_train
    with pytest.raises(InputError, match=r"Cat \(0\)"):
        choose(tmp_path)


def test_folders_in_two_forms_of_unicode_are_one_class(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    lay(tmp_path, f"train/{nfd}/a.png", f"val/{nfc}/b.png")
    chosen = choose(tmp_path)
    assert indices(chosen) == {nfc: 0}
    assert [item.file for item in chosen] == [f"val/{nfc}/b.png", f"train/{nfd}/a.png"]
    assert all((tmp_path / item.file).is_file() for item in chosen)
    lay(tmp_path, f"train/{nfc}/a.png")
    with pytest.raises(InputError, match="two forms of Unicode; put their images into one"):
        choose(tmp_path)


def test_classes_that_are_left_out_must_exist(tmp_path):
    nfd = unicodedata.normalize("NFD", "Bär")
    lay(tmp_path, *(f"{one}/a.png" for one in ("ant", nfd)))
    assert indices(choose(tmp_path, exclude_classes=["Bär"])) == {"ant": 1}
    assert doubts(tmp_path, exclude_classes=["Bär"]) == []
    [doubt] = doubts(tmp_path, exclude_classes=["ants"])
    assert "exclude_classes: there is no class ants; did you mean ant?" in doubt


def test_a_class_whose_link_leads_nowhere_is_doubted(tmp_path):
    """Of a disk that is not mounted, say: the classes after it have other indices."""
    lay(tmp_path, "ant/0.png", "bee/0.png", "dog/0.png")
    (tmp_path / "cat").symlink_to(tmp_path / "gone")
    [doubt] = doubts(tmp_path)
    assert f"links cat in {tmp_path} lead nowhere" in doubt


@pytest.mark.parametrize("name", ["Classes.txt", "classes.csv", "class_to_idx.json", "val/classes.txt"])
def test_a_list_of_classes_that_is_not_read_is_named(tmp_path, name):
    lay(tmp_path, *(f"{split}/{one}/0.png" for split in ("train", "val") for one in ("ant", "bee")))
    (tmp_path / name).write_text("bee\nant\n")
    assert doubts(tmp_path) == [
        f"{tmp_path / name} is not read; if it says the order of classes, put that into {tmp_path / 'classes.txt'}"
    ]
    (tmp_path / "classes.txt").write_text("bee\nant\n")
    assert doubts(tmp_path) == []


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


@pytest.mark.parametrize("place", [b"caf\xe9", b"cat/caf\xe9.png"])
def test_names_that_are_no_text_are_refused(root, place):
    path = os.fsencode(root) + b"/" + place
    if place.endswith(b".png"):
        os.link(root / "cat/a.JPG", path)
    else:
        os.mkdir(path)
    with pytest.raises(InputError, match=r"the name b'.*caf\\xe9.*' is not UTF-8; rename"):
        choose(root)


@pytest.mark.parametrize("kind", [ImageFolder, WebDataset])
def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch, kind):
    def scan(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr("os.scandir", scan)
    message = f"the folder {tmp_path} cannot be read .Permission denied.; look at its owner"
    with pytest.raises(InputError, match=message):
        kind(str(tmp_path), None, "d").stimuli(choice())


def test_raw_files(root, tmp_path):
    chosen, masks = choose(root), tmp_path / "masks"
    assert folder(root).image_files(chosen) == [str(root / item.file) for item in chosen]
    assert not folder(root).has_masks
    for ask in (lambda: folder(root).mask_files(chosen), lambda: folder(root).mask("cat/a.jpg", "cat")):
        with pytest.raises(InputError, match=r"datasets\.d: there are no masks"):
            ask()
    assert folder(root, masks).has_masks
    with pytest.raises(InputError, match=r"datasets\.d\.masks: cat/a\.JPG has no mask .*cat/a\.png"):
        folder(root, masks).mask_files(chosen)
    lay(masks, "cat/a.png", "dog/a.png")
    assert folder(root, masks).mask_files(chosen) == [str(masks / "cat/a.png"), str(masks / "dog/a.png")]
    (masks / "cat/a.png").write_text("nothing")
    with pytest.raises(InputError, match=r"mask .*cat/a\.png cannot be read"):
        folder(root, masks).mask("cat/a.JPG", "cat")


@pytest.mark.parametrize("below", ["validation/cat", "cat"])
def test_masks_of_split_folders(tmp_path, below):
    lay(tmp_path / "masks", f"{below}/v.png")
    assert folder(tmp_path, tmp_path / "masks").mask("validation/cat/v.jpeg", "cat").shape == (5, 6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_pixels_that_are_not_zero_are_class_and_turned_as_the_image(tmp_path, mode):
    shown = np.zeros((4, 3), bool)
    shown[1:, 2] = True
    if mode == "1":
        image = Image.fromarray(shown.astype(np.uint8) * 255).convert("1")
    elif mode in ("L", "I;16", "P"):
        image = Image.fromarray(shown.astype(np.uint16 if mode == "I;16" else np.uint8))
    else:
        image = Image.fromarray(shown.astype(np.uint8) * 7).convert(mode)
    if mode == "P":
        image.putpalette([0, 0, 0, 0, 0, 0])  # black, and still another index than 0
    (tmp_path / "cat").mkdir()
    orientation = Image.Exif()
    orientation[0x0112] = 6
    for exif, expected in ((None, shown), (orientation, np.rot90(shown, -1))):
        image.save(tmp_path / "cat/a.png", exif=exif)
        found = folder("nowhere", tmp_path).mask("cat/a.jpg", "cat")
        assert np.array_equal(found, np.where(expected, CLASS, CONTEXT))


# A flat folder with a table of labels


def test_a_table_says_the_classes(tmp_path):
    lay(tmp_path, *(f"{name}.png" for name in "abcd"), "masks/a.png")
    table, source = tmp_path / "labels.csv", folder(tmp_path, tmp_path / "masks")
    table.write_text("image,class\nb.png,dog\na.png,cat\nd.png,dog\nb.png,dog\n")
    found = [(one.split, one.class_index, one.class_id, one.file) for one in source.stimuli(choice())]
    assert found == [
        ("evaluation", 0, "cat", "a.png"),
        ("evaluation", 1, "dog", "b.png"),
        ("training", 1, "dog", "d.png"),
    ]
    assert source.class_ids() == ["cat", "dog"]
    assert source.image_files(source.stimuli(choice())) == [str(tmp_path / f"{name}.png") for name in "abd"]
    assert source.mask("a.png", "cat").all()
    assert source.notes() == ["labels.csv says the classes of 3 images"]
    assert doubts(tmp_path) == ["datasets.d.root: labels.csv does not name 1 images: c.png"]
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    assert folder(tmp_path).class_ids() == ["dog", "cat"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,class\na.png,cat\n", "no column image; its header is to have image,class"),
        ("image,class\nz.png,cat\n", r"line 2: there is no image 'z.png'"),
        ("image,class\n../a.png,cat\n", r"line 2: there is no image '../a.png'"),
        ("image,class\na.png,\n", "line 2: a.png has no class"),
        ("image,class\n", "names no image"),
        ("image,class\na.png,cat\na.png,dog\n", r"line 3: a.png has several classes \(cat, dog\).*separate images"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, table, message):
    lay(tmp_path, "a.png")
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        choose(tmp_path)
