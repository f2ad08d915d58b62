"""Image folders as they lie on people's disks: splits, stray folders, files that are no images, orders of names."""

import errno
import re
import unicodedata

import pytest
from made_data import png, write_tar

from classlens.data.image_folder import ImageFolder
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


def choice(**changes):
    return {"per_class": 1, "train_per_class": 1, "exclude_classes": [], "too_few": "error", **changes}


def choose(root, **changes):
    return select(ImageFolder(str(root), None, "d"), choice(**changes))


def doubts(root, **changes):
    return ImageFolder(str(root), None, "d").doubts(choice(**changes))


def indices(chosen):
    return {item.class_id: item.class_index for item in chosen}


@pytest.mark.parametrize(
    ("there", "evaluation", "training"),
    [
        (("train", "val"), "val", "train"),
        (("train", "valid"), "valid", "train"),
        (("train", "test"), "test", "train"),
        (("train", "eval"), "eval", "train"),
        (("train", "validation", "val", "test"), "validation", "train"),
        (("train", "val", "test"), "val", "train"),
        (("Train", "Val"), "Val", "Train"),
        (("TRAIN", "TEST"), "TEST", "TRAIN"),
        (("Training", "Testing"), "Testing", "Training"),
        (("training", "validation"), "validation", "training"),
    ],
)
def test_usual_names_of_splits(tmp_path, there, evaluation, training):
    lay(tmp_path, *(f"{part}/{one}/{part}.png" for part in there for one in ("cat", "dog")))
    chosen = choose(tmp_path)
    of = {split: [item.file for item in chosen if item.split == split] for split in ("evaluation", "training")}
    assert of["evaluation"] == [f"{evaluation}/{one}/{evaluation}.png" for one in ("cat", "dog")]
    assert of["training"] == [f"{training}/{one}/{training}.png" for one in ("cat", "dog")]
    assert doubts(tmp_path) == []
    [note] = ImageFolder(str(tmp_path), None, "d").notes()
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
        (
            ("train/cat/a.png", "train/dog/a.png"),
            r"has train/, but no validation/ or .* beside it; add that",
        ),
        (("val/cat/a.png", "test/cat/a.png"), r"has val/, but no train/ or training/ beside it"),
        (("train/cat/a.png", "val/cat/", "val/a.png"), r"cat \(0\)"),
    ],
)
def test_half_sorted_layouts_are_refused(tmp_path, paths, message):
    lay(tmp_path, *paths)
    with pytest.raises(InputError, match=message):
        choose(tmp_path)


def test_a_class_that_is_called_train_is_one_where_a_list_says_so(tmp_path):
    lay(tmp_path, *(f"{one}/{number}.png" for one in ("car", "train") for number in "ab"))
    assert indices(choose(tmp_path)) == {"car": 0, "train": 1}
    assert re.search(r"train among the classes; .*list all classes in \S+/classes\.txt", doubts(tmp_path)[0])
    (tmp_path / "classes.txt").write_text("train\ncar\n")
    assert doubts(tmp_path) == []
    assert indices(choose(tmp_path)) == {"car": 1, "train": 0}


@pytest.mark.parametrize("name", ["images", "labels", "Masks", "annotations", "thumbs", "valid"])
def test_parts_of_data_sets_among_classes_are_doubted(tmp_path, name):
    lay(tmp_path, f"{name}/a.png", f"{name}/b.png", "cat/a.png", "cat/b.png")
    [doubt] = doubts(tmp_path)
    assert f"{name} among the classes" in doubt


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
    assert indices(choose(tmp_path, per_class=per_class, too_few="skip")) == {"ant": 0, "cow": 2}
    assert indices(choose(tmp_path, per_class=per_class, exclude_classes=["bee"])) == {"ant": 0, "cow": 2}


def test_what_is_passed_over_is_counted(tmp_path):
    lay(tmp_path, "ant/a.png", "ant/b.png", "ant/c.HEIC", "ant/d.heic", "ant/e.txt", "ant/more/f.png", "stray.png")
    suffixes, nested, stray = doubts(tmp_path)
    assert "3 files of classes are passed over" in suffixes
    assert "(2 .heic, 1 .txt)" in suffixes
    assert "folders inside of ant are passed over" in nested
    assert "1 images in" in stray


@pytest.mark.parametrize(
    ("names", "doubt"),
    [
        (
            [str(number) for number in range(11)],
            r"'2' has the class index 3; as numbers it would have 2; say",
        ),
        (["class2", "class10", "class1"], r"'class2' has the class index 2; as numbers it would have 1"),
        (["2. bee", "10. ant"], r"'2\. bee' has the class index 1; as numbers it would have 0"),
        ([str(number) for number in range(10)], None),
        (["001.a", "010.b", "002.c"], None),
        (["n01440764", "n02102040"], None),
        (["a2", "b10"], None),
    ],
)
def test_numbers_that_sort_otherwise_as_text(tmp_path, names, doubt):
    lay(tmp_path, *(f"{name}/a.png" for name in names))
    found = doubts(tmp_path)
    assert bool(found) == bool(doubt)
    if doubt:
        assert re.search(doubt, found[0])
        (tmp_path / "classes.txt").write_text("\n".join(f"{name}\tx" for name in names))
        assert doubts(tmp_path) == []


def test_order_in_both_forms_of_unicode(tmp_path):
    lay(tmp_path, *(f"{unicodedata.normalize('NFD', name)}/a.png" for name in ("élan", "fox")))
    assert "in Unicode's composed form it would have" in doubts(tmp_path)[0]


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


@pytest.mark.parametrize(
    ("shards", "evaluation"),
    [
        (("train-0.tar", "test-0.tar"), "test-0.tar"),
        (("train-0.tar", "test-0.tar", "val-0.tar"), "val-0.tar"),
        (("train/0.tar", "val/0.tar"), "val/0.tar"),
    ],
)
def test_usual_names_of_shards(tmp_path, shards, evaluation):
    for shard in shards:
        members = [
            (f"{label}.{kind}", what) for label in "01" for kind, what in (("png", IMAGE), ("cls", label.encode()))
        ]
        write_tar(tmp_path / "wds" / shard, members)
    chosen = select(WebDataset(str(tmp_path / "wds"), None, "d"), choice())
    assert {item.file.partition("#")[0] for item in chosen if item.split == "evaluation"} == {evaluation}
    assert {item.file.partition("#")[0] for item in chosen if item.split == "training"} == {shards[0]}


def test_where_nothing_is_left_the_cause_is_named(tmp_path):
    lay(tmp_path, "ant/a.png", "bee/a.png")
    with pytest.raises(InputError, match="too_few: skip leaves out every class; lower per_class"):
        choose(tmp_path, per_class=2, too_few="skip")
    with pytest.raises(InputError, match="exclude_classes names every class"):
        choose(tmp_path, exclude_classes=["ant", "bee"])


@pytest.mark.parametrize("kind", [ImageFolder, WebDataset])
def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch, kind):
    def scan(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr("os.scandir", scan)
    with pytest.raises(
        InputError, match=f"the folder {tmp_path} cannot be read .Permission denied.; look at its owner"
    ):
        kind(str(tmp_path), None, "d").stimuli(choice())


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
