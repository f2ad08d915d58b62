"""ImageNet-S in its official layout: what is chosen, what is refused, what masks say."""

import csv
import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN
from made_data import choice, files
from PIL import Image

from classlens.data.imagenet_s import ImageNetS
from classlens.data.mask import CLASS, CONTEXT, IGNORE
from classlens.data.select import select
from classlens.errors import InputError

STORK, BITTERN, CINEMA = CLASSES = ("n02002724", "n02011460", "n03032252")
LAST = "n04209239"
HEADER = "imagenet_id,index,cat,img_name,img_index"
SYNSETS = "ImageNetS919/LOC_synset_mapping.txt"
CATEGORIES = "data/categories/ImageNetS_categories_im919.txt"
STIM_INFO = "ImageNetS919/validation_stim_info.csv"


@pytest.fixture
def root(tmp_path):
    """The golden data set, free to be changed."""
    return shutil.copytree(GOLDEN / "imagenet_s", tmp_path / "images")


@pytest.fixture
def bare(root):
    """The same without stim_info files."""
    for path in root.glob("ImageNetS919/*_stim_info.csv"):
        path.unlink()
    return root


@pytest.fixture(params=["root", "bare"])
def either(request):
    return request.getfixturevalue(request.param)


def opened(root):
    return ImageNetS(str(root), None, "mine")


def select_all(root, **changes):
    return select(opened(root), choice(**{"per_class": 2, "train_per_class": 3, **changes}))


def chosen(root, split="evaluation", **changes):
    return [item for item in select_all(root, **changes) if item.split == split]


def photo(class_id, number):
    """Return the name of an image that the golden data set has."""
    return f"ILSVRC2012_validation_{CLASSES.index(class_id):03d}{number:05d}.JPEG"


def stim_info(root, *rows, header=HEADER):
    (root / STIM_INFO).write_text("\n".join([header, *rows]) + "\n")


def test_the_golden_images(golden):
    root = GOLDEN / "imagenet_s"
    images = chosen(root, per_class=5)
    with (root / STIM_INFO).open(newline="") as table:
        expected = [(f"validation/{r['imagenet_id']}/{r['img_name']}", r["cat"]) for r in csv.DictReader(table)]
    assert [(item.file, item.class_name) for item in images] == expected
    assert [item.class_index for item in images] == list(golden["class_index"])
    source, training = opened(root), chosen(root, "training")
    assert (source.class_count(), source.has_masks) == (1000, True)
    assert source.image_files(images) == [str(root / "ImageNetS919" / item.file) for item in images]
    # Masks belong to evaluation images alone, in their order.
    masks = source.mask_files(images + training)
    assert [Path(path).stem for path in masks] == [Path(item.file).stem for item in images]


def test_stim_info_fixes_images_and_their_order(root):
    before = select_all(root)
    (root / STIM_INFO).write_text("\ufeff" + (root / STIM_INFO).read_text())  # a byte order mark
    assert select_all(root) == before
    rows = [(BITTERN, 133, 3), (BITTERN, 133, 0), (STORK, 128, 4), (STORK, 128, 2), (STORK, 128, 1)]
    stim_info(root, *(f'{class_id},{index},"a, b",{photo(class_id, n)},{n}' for class_id, index, n in rows))
    expected = [f"validation/{c}/{photo(c, n)}" for c, _, n in rows]
    assert files(chosen(root, per_class=None), "evaluation") == expected
    assert files(chosen(root, too_few="skip"), "evaluation") == expected[:4]


def test_stim_info_of_one_split_leaves_the_other_alone(root):
    before = chosen(root)
    (root / STIM_INFO).unlink()
    names = [f"ILSVRC2012_test_{number:08d}.JPEG" for number in (7, 2, 9, 0)]
    rows = [f"{STORK},128,x,{name},0" for name in names]
    (root / "ImageNetS919/test_stim_info.csv").write_text("\n".join([HEADER, *rows]))
    assert [item.file for item in chosen(root, "training")] == [f"test/{STORK}/{name}" for name in names[:3]]
    assert chosen(root) == before


def test_without_stim_info_the_first_images_in_sorted_order(bare):
    folder = bare / "ImageNetS919/validation" / STORK
    (folder / photo(STORK, 0)).rename(folder / "Z.JPEG")
    (folder / "A.JPEG").write_bytes(b"")
    (folder / "A.png").write_bytes(b"")
    assert [item.file for item in chosen(bare)][:2] == [f"validation/{STORK}/{n}" for n in ("A.JPEG", photo(STORK, 1))]
    assert [item.class_id for item in chosen(bare)][::2] == opened(bare).categories()
    before = chosen(bare)
    shutil.rmtree(bare / "ImageNetS919/test")  # training images need not be there
    assert select_all(bare) == before


def test_excluded_classes_need_not_be_there(either):
    for part in ("validation", "test", "validation-segmentation"):
        shutil.rmtree(either / "ImageNetS919" / part / LAST)
    left = select_all(either, exclude_classes=[LAST])
    assert {item.class_id for item in left} == set(opened(either).categories()) - {LAST}
    assert len(opened(either).mask_files(left)) == 5 * 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (".", None, r"datasets\.mine\.root: there is no folder .*images; .*ImageNetS919"),
        (SYNSETS, None, r"datasets\.mine\.root: .*LOC_synset_mapping\.txt is missing"),
        (CATEGORIES, None, r"datasets\.mine\.root: .*ImageNetS_categories_im919\.txt is missing"),
        (f"ImageNetS919/validation/{CINEMA}", None, rf"datasets\.mine\.root: .*validation/{CINEMA} is missing"),
        (CATEGORIES, "n99999999\n", r"datasets\.mine: class n99999999 .*LOC_synset_mapping\.txt"),
        *(
            (name, "n02002724 é\n", rf"{Path(name).name} is not UTF-8 text \(byte 10\); save it as UTF-8")
            for name in (SYNSETS, CATEGORIES, STIM_INFO)
        ),
    ],
)
def test_missing_and_wrong_parts_are_named(bare, name, content, message):
    path = bare / name
    if content:
        path.write_bytes(content.encode("latin-1"))
    else:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=message):
        chosen(bare)


@pytest.mark.parametrize("images_left", [None, 0, 1])
def test_a_class_with_too_few_images_can_be_skipped(bare, caplog, images_left):
    folder = bare / "ImageNetS919/validation" / LAST
    for path in sorted(folder.iterdir())[images_left:]:
        path.unlink()
    if images_left is None:
        shutil.rmtree(bare / "ImageNetS919/test" / LAST)
        folder.rmdir()
    selected = select_all(bare, too_few="skip")
    assert {item.class_id for item in selected} == set(opened(bare).categories()) - {LAST}
    assert any("datasets.mine: skipped" in line and LAST in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("row", "header", "message"),
    [
        (f"{STORK},128,x,absent.JPEG,0", HEADER, r"there is no image .*absent\.JPEG"),
        (f"{STORK},129,x,{photo(STORK, 0)},0", HEADER, rf"{STORK} has the index 129, but line 128"),
        *((f"{STORK},{index},x,{photo(STORK, 0)},0", HEADER, "a whole number. .* needed") for index in ("first", "")),
        (f"{STORK},128", HEADER, "img_name .* needed"),
        *(
            (f"{STORK},128,x,{photo(STORK, 0)},0", HEADER.replace(column, "other"), column)
            for column in ("imagenet_id", "index", "img_name")
        ),
        *(
            (f"{class_id},128,x,{image},1", HEADER, "leads out of the data set")
            for class_id, image in [
                *(("../../..", photo(STORK, 0)), ("..", "validation"), ("/etc", "hosts"), ("", photo(STORK, 0))),
                *((STORK, "../../../outside.JPEG"), (STORK, "/etc/hosts"), (STORK, "..")),
                (BITTERN, f"../{STORK}/{photo(STORK, 0)}"),
            ]
        ),
    ],
)
def test_a_wrong_row_of_stim_info_is_named(root, row, header, message):
    (root.parent / "outside.JPEG").write_bytes(b"")
    stim_info(root, f"{STORK},128,x,{photo(STORK, 1)},0", row, header=header)
    line = 3 if header == HEADER else 2
    with pytest.raises(InputError, match=rf"validation_stim_info\.csv, line {line}: .*{message}"):
        chosen(root, per_class=1)


def test_folders_and_images_may_be_links(either, tmp_path):
    before = chosen(either)
    folder = either / "ImageNetS919/validation" / STORK
    folder.rename(tmp_path / "shared")
    folder.symlink_to(tmp_path / "shared")
    image = either / "ImageNetS919/validation" / BITTERN / photo(BITTERN, 0)
    image.rename(tmp_path / "shared.JPEG")
    image.symlink_to(tmp_path / "shared.JPEG")
    assert chosen(either) == before


def test_masks_are_asked_for_of_chosen_images_alone(root):
    path = opened(root).mask_path(f"validation/{STORK}/{photo(STORK, 4)}")
    path.unlink()
    assert len(opened(root).mask_files(select_all(root))) == 6 * 2
    with pytest.raises(InputError, match=rf"datasets\.mine: .*{re.escape(str(path))}"):
        opened(root).mask_files(select_all(root, per_class=5))


def write_mask(root, pixels):
    """Replace the first mask of the stork."""
    file = f"validation/{STORK}/{photo(STORK, 0)}"
    Image.fromarray(np.array([pixels], np.uint8)).save(opened(root).mask_path(file))
    return file


def test_masks_number_classes_from_one_in_red_and_green(root):
    (root / CATEGORIES).write_text("\n".join([*(f"n{i:08d}" for i in range(299)), STORK]))
    file = write_mask(root, [(44, 1, 0), (44, 0, 0), (44, 1, 9), (232, 3, 0), (0, 0, 0), (43, 1, 0), (1, 44, 0)])
    mask = opened(root).mask(file, STORK)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[CLASS, CONTEXT, CLASS, IGNORE, CONTEXT, CONTEXT, CONTEXT]]


def test_other_classes_are_context(root):
    file, source = write_mask(root, [(1, 0, 0), (2, 0, 0)]), opened(root)
    assert source.mask(file, STORK).tolist() == [[CLASS, CONTEXT]]
    assert source.mask(file, BITTERN).tolist() == [[CONTEXT, CLASS]]
    content = source.mask_path(file).read_bytes()
    assert source.mask_digest(file, BITTERN) == hashlib.sha256(b"2 " + content).hexdigest()
    with pytest.raises(InputError, match=r"n00000000, because ImageNetS_categories_im919\.txt"):
        source.mask(file, "n00000000")
