"""What images carry beside their class: tables, folders, packed files, and the digits with a patch."""

import csv
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_data import Made, choice, files, png, write_tar
from PIL import Image

from classlens.data.groups import attribute_names, write_groups
from classlens.data.image_folder import ImageFolder
from classlens.data.kinds import KINDS, open_dataset
from classlens.data.patched_digits import PatchedDigits
from classlens.data.select import select
from classlens.declared import load
from classlens.errors import InputError

PLACE = {"root": None, "masks": None, "groups": None}
BIRDS = """\
img_id,img_filename,y,split,place,place_filename
1,001.Auk/a.jpg,0,0,1,/o/ocean/1.jpg
2,001.Auk/b.jpg,0,2,0,/b/bamboo/1.jpg
3,002.Jay/a.jpg,1,0,0,/b/bamboo/2.jpg
4,002.Jay/b.jpg,1,2,1,/o/ocean/2.jpg
5,002.Jay/c.jpg,1,1,1,/o/ocean/3.jpg
"""


def grouped(dataset, folder):
    """Return a data set's groups.csv, as jobs write it."""
    dataset = {**PLACE, **dataset}
    kind, source = load(KINDS[dataset["kind"]]), open_dataset(dataset, "own")
    place = {"root": dataset["root"], "name": "own", "arrangement": source.arrangement}
    made, groups = Made(folder, kind, **place).list(per_class=None), folder / "groups.csv"
    asked = dataset["groups"] or {"table": None, "image": "image"}
    table = [asked["table"]] if asked["table"] else []
    names = attribute_names(dataset, source)
    files = {"stimuli": made.stimuli, "table": table, "groups": groups}
    write_groups(**files, attributes=names, image=asked["image"], **made.place)
    with groups.open() as file:
        return list(csv.DictReader(file))


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.fixture
def birds(tmp_path):
    """Waterbirds as it is downloaded, with fewer birds."""
    for row in BIRDS.splitlines()[1:]:
        photo(tmp_path / "birds" / row.split(",")[1])
    (tmp_path / "birds/metadata.csv").write_text(BIRDS)
    table = str(tmp_path / "birds/metadata.csv")
    labels = {"table": table, "image": "img_filename", "class": "y", "split": "split"}
    return {
        "kind": "image_folder",
        "root": str(tmp_path / "birds"),
        "labels": {**labels, "evaluation": "2", "training": "0"},
        "groups": {"table": table, "image": "img_filename", "attributes": ["place"]},
    }


def test_waterbirds(birds, tmp_path):
    source = open_dataset({**PLACE, **birds}, "own")
    images = select(source, choice(per_class=None))
    assert files(images, "evaluation") == ["001.Auk/b.jpg", "002.Jay/b.jpg"]
    assert files(images, "training") == ["001.Auk/a.jpg", "002.Jay/a.jpg"]
    assert [(one.class_index, one.class_id) for one in images] == [(0, "0"), (1, "1")] * 2
    assert source.notes() == ["metadata.csv says the classes of 4 images, evaluation: split 2, training: split 0"]
    assert "does not name 1 images" not in str(source.doubts(choice()))
    assert grouped(birds, tmp_path) == [{"image": "0", "place": "0"}, {"image": "1", "place": "1"}]
    # Without the list, every other column is an attribute.
    birds["groups"]["attributes"] = None
    assert list(grouped(birds, tmp_path)[0]) == ["image", "img_id", "y", "split", "place", "place_filename"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.replace("place,", "where,"), "has no column 'place'"),
        (lambda rows: rows.replace("4,002.Jay/b.jpg,1,2,1", "4,002.Jay/b.jpg,1,2,"), "002.Jay/b.jpg has no place"),
        (lambda rows: rows + "6,001.Auk/b.jpg,0,2,1,x\n", "line 7: 001.Auk/b.jpg has other values above"),
        (lambda rows: rows.replace("4,002.Jay/b.jpg", "4,b.jpg"), "lacks 1 of 2 evaluation images, such as '002.Jay/b"),
    ],
)
def test_what_is_wrong_with_a_table(birds, tmp_path, change, message):
    other = tmp_path / "other.csv"
    other.write_text(change(BIRDS))
    birds["groups"]["table"] = str(other)
    with pytest.raises(InputError, match=message):
        grouped(birds, tmp_path)


@pytest.mark.parametrize("order", [["class", "folder"], ["folder", "class"]])
@pytest.mark.parametrize("splits", [False, True])
def test_folders_of_two_levels(tmp_path, order, splits):
    parts = (("train", "test") if splits else ("",), ("cow", "camel"), ("grass", "sand"), range(2))
    for split, animal, place, number in product(*parts):
        inside = (animal, place) if order[0] == "class" else (place, animal)
        photo(tmp_path / "data" / split / "/".join(inside) / f"{number}.png")
    photo(tmp_path / "data" / "train" / "astray.png" if splits else tmp_path / "data" / "astray.png")
    dataset = {"kind": "image_folder", "root": str(tmp_path / "data"), "group_by": order}
    source = open_dataset({**PLACE, **dataset}, "own")
    assert source.class_ids() == ["camel", "cow"]
    found = grouped(dataset, tmp_path)
    evaluation = files(select(source, choice(per_class=None)), "evaluation")
    assert len(found) == len(evaluation) == 8
    assert [row["folder"] for row in found] == [("grass" if "grass" in file else "sand") for file in evaluation]
    assert "1 images lie above the lower folders" in str(source.doubts(choice()))
    per_class = select(source, choice(per_class=3, train_per_class=None))
    assert len(files(per_class, "evaluation")) == 6
    assert len(files(per_class, "training")) == (8 if splits else 2)


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_packed_images_carry_attributes(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    places, nights = ["land", "sea", "", "sea"], [1, 0, 0, 1]
    if kind == "parquet":
        images = [{"bytes": png(), "path": "x"} for _ in range(4)]
        columns = {"image": images, "label": [0, 1, 0, 1], "place": [place or None for place in places]}
        (tmp_path / kind).mkdir()
        pq.write_table(pa.table({**columns, "night": nights}), tmp_path / kind / "0.parquet")
    else:
        members = [
            (f"{number}.{name}", content)
            for number, (place, night) in enumerate(zip(places, nights, strict=True))
            for name, content in (
                *(("png", png()), ("cls", b"%d" % (number % 2))),
                *(("place.txt", place.encode()), ("night.txt", b"%d" % night)),
            )
        ]
        write_tar(tmp_path / kind / "000000.tar", members)
    groups = {"table": None, "image": "image", "attributes": ["night"]}
    dataset = {"kind": kind, "root": kind, "groups": groups}
    # Class by class, so that images 0, 2, 1, 3 come one after the other.
    assert [row["night"] for row in grouped(dataset, tmp_path)] == ["1", "0", "0", "1"]
    groups["attributes"] = ["place"]
    with pytest.raises(InputError, match=r"#2.* has no place"):
        grouped(dataset, tmp_path)
    groups["attributes"] = ["weather"]
    with pytest.raises(InputError, match="weather"):
        grouped(dataset, tmp_path)


@pytest.mark.parametrize("share", [0.95, 0.5, 1.0])
def test_digits_with_a_patch(share):
    source = PatchedDigits(None, arrangement={"patched": share})
    images = source.stimuli(choice())
    training = [one for one in images if one.split == "training"]
    evaluation = [one for one in images if one.split == "evaluation"]
    agrees = np.mean([one.file.endswith("+patch") == (one.class_index < 5) for one in training])
    assert agrees == pytest.approx(share, abs=0.03)
    assert len({one.file.removesuffix("+patch") for one in training}) == len(training) == 1433
    carried = source.attributes([one.file for one in evaluation], ["patch"])["patch"]
    assert carried == ["without", "with"] * 364
    plain, patched = (np.asarray(source.image(one.file))[..., 0] for one in evaluation[:2])
    assert (patched[:2, :2] == 255).all()
    assert (np.delete(plain, [0, 1], 0) == np.delete(patched, [0, 1], 0)).all()
    masks = [source.mask(one.file, one.class_id) for one in evaluation[:2]]
    assert np.array_equal(*masks)


def test_a_kind_that_says_nothing():
    assert attribute_names(PLACE, open_dataset({**PLACE, "kind": "digits"})) == []
    with pytest.raises(InputError, match="this kind holds no place"):
        open_dataset({**PLACE, "kind": "digits"}, "own").attributes(["x"], ["place"])


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("image,place", ["place"]),
        ("\ufeffimage, place ,hour", ["place", "hour"]),
        (",image,place,", ["place"]),
        ("image,place,place", None),
        ("image", None),
        ('image,"' + "x" * 200_000, None),
    ],
)
def test_headers(tmp_path, header, names):
    (tmp_path / "groups.csv").write_text(f"{header}\n")
    dataset = {**PLACE, "kind": "digits", "groups": {"table": str(tmp_path / "groups.csv"), "image": "image"}}
    dataset["groups"]["attributes"] = None
    if names is None:
        with pytest.raises(InputError, match=r"groups\.csv"):
            attribute_names(dataset, open_dataset(dataset, "own"))
    else:
        assert attribute_names(dataset, open_dataset(dataset, "own")) == names


def test_names_of_packed_attributes():
    for names in (["image"], ["place", "place"]):
        groups = {"table": None, "image": "image", "attributes": names}
        dataset = {**PLACE, "kind": "webdataset", "root": "x", "groups": groups}
        with pytest.raises(InputError, match=r"datasets\.own\.groups: attributes are .*; give one at least, each once"):
            attribute_names(dataset, open_dataset(dataset, "own"))


def test_images_of_several_and_of_other_splits(birds, tmp_path):
    table = tmp_path / "birds/metadata.csv"
    table.write_text(BIRDS + "6,./001.Auk/a.jpg,0,2,1,x\n")
    with pytest.raises(InputError, match=r"line 7: 001\.Auk/a\.jpg is of two splits \(0, 2\)"):
        open_dataset({**PLACE, **birds}, "own").class_ids()
    for name in ("loose", "none"):
        photo(tmp_path / f"birds/{name}.jpg")
    table.write_text(BIRDS + "6,loose.jpg,0,1,1,x\n")
    assert "does not name 1 images: none.jpg" in str(open_dataset({**PLACE, **birds}, "own").doubts(choice()))


def test_images_and_masks_of_two_levels(tmp_path):
    for animal in ("cow", "sheep"):
        photo(tmp_path / f"data/{animal}/grass/1.png")
    photo(tmp_path / "masks/grass/1.png")
    photo(tmp_path / "masks/sheep/grass/1.png")
    place = {"mask_root": str(tmp_path / "masks"), "arrangement": {"group_by": ["class", "folder"]}}
    with pytest.raises(InputError, match="has no images in folders of two levels, class and folder"):
        ImageFolder(str(tmp_path / "data/cow"), **place).class_ids()
    source = ImageFolder(str(tmp_path / "data"), **place)
    assert source.mask_path("sheep/grass/1.png") == tmp_path / "masks/sheep/grass/1.png"
    with pytest.raises(InputError, match=r"cow/grass/1\.png has no mask"):
        source.mask_path("cow/grass/1.png")
