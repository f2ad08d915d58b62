"""A flat folder of images with labels.csv."""

import pytest
from PIL import Image

from classlens.data.image_folder import ImageFolder
from classlens.errors import InputError

SELECTION = {"per_class": 1, "train_per_class": 1, "exclude_classes": (), "too_few": "error"}


def folder(tmp_path, table):
    for name in "abcd":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
        Image.new("L", (4, 4), 255).save(tmp_path / f"{name}.mask.png")
    (tmp_path / "masks").mkdir(exist_ok=True)
    Image.new("L", (4, 4), 255).save(tmp_path / "masks" / "a.png")
    (tmp_path / "labels.csv").write_text(table)
    return ImageFolder(root=str(tmp_path), name="own", mask_root=str(tmp_path / "masks"))


def test_the_table_says_the_classes(tmp_path):
    source = folder(tmp_path, "image,class\nb.png,dog\na.png,cat\nd.png,dog\nb.png,dog\n")
    assert source.class_ids() == ["cat", "dog"]
    found = [(one.split, one.class_index, one.class_id, one.file) for one in source.stimuli(SELECTION)]
    assert found == [
        ("evaluation", 0, "cat", "a.png"), ("evaluation", 1, "dog", "b.png"), ("training", 1, "dog", "d.png"),
    ]  # fmt: skip
    assert source.image_files(source.stimuli(SELECTION)) == [str(tmp_path / f"{name}.png") for name in "abd"]
    assert source.mask("a.png", "cat").all()
    assert source.notes() == ["labels.csv says the classes of 3 images"]
    assert "labels.csv does not name 5 images: a.mask.png, b.mask.png, c.mask.png, c.png, d.mask.png" in str(
        source.doubts(SELECTION)
    )
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    assert folder(tmp_path, "image,class\nb.png,dog\na.png,cat\n").class_ids() == ["dog", "cat"]


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
def test_what_is_wrong_is_said(table, message, tmp_path):
    with pytest.raises(InputError, match=message):
        folder(tmp_path, table).class_ids()
