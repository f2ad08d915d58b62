"""Images in shards: what is chosen and read, of tar files in particular, and what is refused by shard and key."""

import os
import tarfile

import numpy as np
import pytest
import webdataset
from made_data import choice, files, left_half, png, write_parquet, write_tar
from PIL import Image

from classlens.data import parquet
from classlens.data import webdataset as tar
from classlens.data.mask import CLASS, CONTEXT
from classlens.data.parquet import Parquet
from classlens.data.select import select
from classlens.data.webdataset import WebDataset
from classlens.errors import InputError


@pytest.fixture(autouse=True)
def _memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def opened(root, kind=WebDataset):
    return kind(str(root), None, "mine")


def choose(root, kind=WebDataset, **changes):
    return select(opened(root, kind), choice(**changes))


def samples(*labels, first=0, mask=None):
    """Return the members of a sample per label."""
    return [
        member
        for number, label in enumerate(labels, start=first)
        for member in (
            (f"{number:06d}.png", png()),
            (f"{number:06d}.cls", str(label).encode()),
            *([(f"{number:06d}.mask.png", mask)] if mask else []),
        )
    ]


@pytest.fixture
def root(tmp_path):
    """Two shards of three classes, which share evaluation and training images."""
    write_tar(tmp_path / "wds/000000.tar", samples(0, 1, 0, 2))
    write_tar(tmp_path / "wds/000001.tar", samples(1, 2, 0))
    return tmp_path / "wds"


# Of all kinds of shards


def test_shards_are_split_by_number(root):
    chosen = choose(root)
    assert files(chosen, "evaluation") == ["000000.tar#000000.png", "000000.tar#000001.png", "000000.tar#000003.png"]
    assert files(chosen, "training") == ["000000.tar#000002.png", "000001.tar#000000.png", "000001.tar#000001.png"]
    classes = [(item.class_index, item.class_id, item.class_name) for item in chosen[:3]]
    assert classes == [(label, str(label), str(label)) for label in range(3)]
    every = choose(root, per_class=None)
    assert (len(files(every, "evaluation")), files(every, "training")) == (7, [])
    # Raw files are the shards of chosen images alone.
    write_tar(root / "000002.tar", samples(0))
    assert opened(root).image_files(choose(root)) == [str(root / f"00000{shard}.tar") for shard in range(2)]


@pytest.mark.parametrize(
    ("others", "evaluation", "training"),
    [
        ((), "validation/a.tar", "train/a.tar"),
        (("test-0.tar",), "validation-0.tar", "train-0.tar"),
        ((), "test-0.tar", "train-0.tar"),
        (("test-0.tar",), "val-0.tar", "train-0.tar"),
        ((), "val/0.tar", "train/0.tar"),
    ],
)
def test_shards_of_splits(tmp_path, others, evaluation, training):
    for name, labels in ((evaluation, (1, 0)), (training, (0, 1, 1)), *((other, (7,)) for other in others)):
        write_tar(tmp_path / "wds" / name, samples(*labels))
    chosen = choose(tmp_path / "wds", per_class=None, train_per_class=None)
    assert files(chosen, "evaluation") == [f"{evaluation}#000001.png", f"{evaluation}#000000.png"]
    assert files(chosen, "training") == [f"{training}#00000{number}.png" for number in range(3)]
    assert [item.class_index for item in chosen if item.split == "training"] == [0, 1, 1]
    assert opened(tmp_path / "wds").more_training == "add shards of train"


def test_shards_of_one_name_are_split_by_number_and_those_of_two_refused(tmp_path):
    for shard in range(2):
        write_tar(tmp_path / f"wds/train-{shard}.tar", samples(0, 1))
    chosen = choose(tmp_path / "wds")
    assert files(chosen, "evaluation") == ["train-0.tar#000000.png", "train-0.tar#000001.png"]
    assert files(chosen, "training") == ["train-1.tar#000000.png", "train-1.tar#000001.png"]
    write_tar(tmp_path / "wds/other-0.tar", samples(0))
    with pytest.raises(InputError, match=r"datasets\.mine\.root: .* some other name beside train\*"):
        choose(tmp_path / "wds")
    (tmp_path / "halves/validation").mkdir(parents=True)
    write_tar(tmp_path / "halves/train/0.tar", samples(0))
    with pytest.raises(InputError, match=r"has no shards of evaluation images \(\*\.tar\)"):
        choose(tmp_path / "halves")


def test_a_list_of_classes_fixes_indices_and_names(root):
    (root / "classes.txt").write_text("n1 tench\nn2 goldfish\nn3\nn4 without images\n")
    named = [(item.class_id, item.class_name) for item in choose(root)[:3]]
    assert named == [("n1", "tench"), ("n2", "goldfish"), ("n3", "n3")]
    assert opened(root).class_count() == 4
    assert str(root / "classes.txt") in opened(root).image_files(choose(root))
    (root / "classes.txt").write_text("n1\nn2\n")
    with pytest.raises(InputError, match=r"000000\.tar: 000003\.png has the class 2, but classes are 0\.\.1"):
        choose(root)


def test_without_a_list_each_class_has_images(root):
    write_tar(root / "000002.tar", samples(5_000_000_000_000))
    message = r"000002\.tar: 000000\.png has the class 5000000000000, but no image has the class 3; .*classes\.txt"
    for ask in (opened(root).class_count, lambda: choose(root)):
        with pytest.raises(InputError, match=message):
            ask()


def test_an_index_is_read_once(root, monkeypatch):
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)
    looked = []
    look = WebDataset.look
    monkeypatch.setattr(WebDataset, "look", staticmethod(lambda shard: looked.append(shard) or look(shard)))
    first = choose(root)
    assert len(looked) == 2
    assert choose(root) == first
    assert opened(root).content(first[0].file)[:4] == b"\x89PNG"
    assert len(looked) == 2
    write_tar(root / "000001.tar", samples(1, 2, 0, 0))
    assert len(choose(root, per_class=None)) == 8
    assert looked[2:] == [str(root / "000001.tar")]


def test_what_is_gone_after_it_was_listed(root):
    file = choose(root)[0].file
    assert opened(root).image(file).size == (6, 5)
    write_tar(root / "000000.tar", samples(0, first=9))
    with pytest.raises(InputError, match=r"wds/000000\.tar: 000000\.png is gone"):
        opened(root).image(file)


def one_image(kind, folder, content, mask=None):
    """Write a shard of one class, whose first image, x, has a content; return the source."""
    contents, masks = [content, png()], mask and [mask, None]
    if kind is Parquet:
        write_parquet(folder / "x.parquet", contents, [0, 0], masks)
    else:
        own = [("0.png", contents[0]), ("0.cls", b"0"), *([("0.mask.png", mask)] if mask else [])]
        write_tar(folder / "x.tar", [*own, ("1.png", contents[1]), ("1.cls", b"0")])
    return opened(folder, kind)


BOTH = {WebDataset: ("x.tar#0.png", "x.tar#1.png"), Parquet: ("x.parquet#0", "x.parquet#1")}
"""The images of these shards."""


@pytest.mark.parametrize("kind", BOTH)
def test_masks_lie_beside_images(tmp_path, kind):
    bare = one_image(kind, tmp_path / "bare", png())
    assert not bare.has_masks
    with pytest.raises(InputError, match=r"datasets\.mine: there are no masks; (put KEY\.mask\.png|add a column mask)"):
        bare.mask_files(choose(tmp_path / "bare", kind))
    source = one_image(kind, tmp_path / "masked", png(), left_half())
    assert source.has_masks
    chosen = choose(tmp_path / "masked", kind)
    shard = f"masked/{chosen[0].file.partition('#')[0]}"
    assert source.mask_files(chosen) == [str(tmp_path / shard)]
    expected = np.full((5, 6), CONTEXT)
    expected[:, :3] = CLASS
    assert np.array_equal(source.mask(chosen[0].file, "0"), expected)
    with pytest.raises(InputError, match=rf"{shard}: 1(\.png has no mask| has no bytes in the column mask)"):
        source.mask(BOTH[kind][1], "0")


def test_missing_masks_are_named_before_any_is_read(root):
    write_tar(root / "000000.tar", samples(0, 1, 0, 2, mask=left_half()))
    with pytest.raises(InputError, match=r"000001\.tar: 000002\.png has no mask"):
        opened(root).mask_files(choose(root, per_class=3, too_few="skip"))


@pytest.mark.parametrize("kind", BOTH)
def test_what_cannot_be_read_is_named(tmp_path, kind, monkeypatch):
    folder, shown = tmp_path / "data", f"data/{BOTH[kind][0].replace('#', ': ')}"

    def refused(content, message):
        source = one_image(kind, folder, content)
        with pytest.raises(InputError, match=message):
            source.image(BOTH[kind][0])

    for content in (b"", b"no image", png()[:60]):
        refused(content, f"{shown} cannot be read as an image")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    refused(png(), f"{shown} has too many pixels")
    monkeypatch.setattr(parquet if kind is Parquet else tar, "MOST_BYTES", 20)
    refused(png((7, 6)), r"0(\.png)? has .* bytes; no image has")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    one_image(kind, folder, png())
    pipe = f"y.{kind.suffix.removeprefix('.')}"
    os.mkfifo(folder / pipe)  # which is not waited for
    with pytest.raises(InputError, match=f"data/{pipe} is not a regular file"):
        choose(folder, kind)


@pytest.mark.parametrize("name", [b"caf\xe9.tar", b"a.tar#b.tar"])
def test_names_of_shards_that_tables_cannot_hold_are_refused(root, name):
    os.link(root / "000000.tar", os.fsencode(root) + b"/" + name)
    with pytest.raises(InputError, match="rename the file"):
        choose(root)


def test_shards_that_are_passed_over_are_doubted(root):
    assert opened(root).doubts(choice()) == []
    (root / "000002.tar.gz").touch()
    (root / "README.md").touch()
    write_tar(root / "more/000003.tar", samples(0))
    folders, others = opened(root).doubts(choice())
    assert "shards in more/ are passed over" in folders
    assert "1 files such as 000002.tar.gz are passed over" in others
    for split in ("train", "val"):
        write_tar(root / split / "0.tar", samples(0, 1))
    assert opened(root).doubts(choice()) == []
    assert "; 000000.tar, 000001.tar, more/ left alone" in opened(root).notes()[0]


# Of tar files


def test_the_webdataset_library_reads_the_same(tmp_path):
    """Shards that it writes, with folders, other members and odd names."""
    keys, labels = ["a/0001", "a/0002", "b/0001", "ü"], [1, 0, 1, 0]
    path = tmp_path / "wds/shard.tar"
    path.parent.mkdir()
    with webdataset.TarWriter(str(path)) as writer:
        for key, label in zip(keys, labels, strict=True):
            image, mask = png(), left_half()
            writer.write({"__key__": key, "PNG": image, "cls": label, "json": {"id": key}, "mask.png": mask})
    read = {sample["__key__"]: sample for sample in webdataset.WebDataset(str(path), shardshuffle=False)}
    source = opened(path.parent)
    chosen = {item.file.partition("#")[2].removesuffix(".PNG"): item for item in source.stimuli({"per_class": None})}
    assert {key: item.class_index for key, item in chosen.items()} == {key: int(read[key]["cls"]) for key in keys}
    for key, item in chosen.items():
        assert source.content(item.file) == read[key]["png"]
        assert source.mask_content(item.file, item.class_id) == read[key]["mask.png"]


def test_what_is_not_used_is_left_alone(root):
    directory = tarfile.TarInfo("./")
    directory.type = tarfile.DIRTYPE
    others = [("0.json", b"{}"), ("._1.png", b""), ("README", b""), ("2.tiff", b""), ("__index__", b"")]
    named = [("./8.png", png()), ("./8.cls", b" 1\n")]
    write_tar(root / "000000.tar", [("", directory), *others, *samples(0, first=7), *named, *samples(2, first=9)])
    (root / ".hidden.tar").touch()
    (root / "notes.txt").touch()
    (root / "folder.tar").mkdir()
    assert files(choose(root), "evaluation") == [f"000000.tar#{name}.png" for name in ("000007", "8", "000009")]


def member(kind=tarfile.REGTYPE, name="0.png", **fields):
    header = tarfile.TarInfo(name)
    header.type = kind
    for field, value in fields.items():
        setattr(header, field, value)
    return (name, header)


IMAGE, LABEL = ("0.png", b"not looked at"), ("0.cls", b"0")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([IMAGE], r"0\.png has no class; put 0\.cls beside it"),
        ([LABEL], r"0\.cls has no image"),
        ([IMAGE, LABEL, ("1.mask.png", b"")], r"1\.mask\.png has no image"),
        *(([IMAGE, ("0.cls", text)], r"0\.cls: .* is no class index") for text in (b"-1", b"a", b"", b"1.0", b"\xff")),
        ([IMAGE, ("0.cls", b"0" * 33)], r"0\.cls has 33 bytes"),
        ([IMAGE, LABEL, IMAGE], r"0\.png is there twice"),
        ([IMAGE, LABEL, LABEL], r"0\.cls is there twice"),
        ([IMAGE, ("0.jpg", b""), LABEL], r"0\.jpg and 0\.png share a key"),
        *(
            ([(f"{name}.png", b""), (f"{name}.cls", b"0")], r"the name leads out of the shard")
            for name in ("../0", "a/../../0", "/etc/0")
        ),
        ([("caf\udce9.png", b"")], r"the name b'caf\\xe9\.png' is not UTF-8"),
        ([("a\rb.png", b"")], "holds a carriage return"),
        *(
            ([member(type_, linkname="/etc/passwd")], r"0\.png is a link, a device or a sparse file")
            for type_ in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
        ),
        ([member(size=50_000)], r"0\.png is cut off: the shard ends before its 50,000 bytes"),
        ([member(size=2**50)], r"0\.png has 1,125,899,906,842,624 bytes; no image has"),
        ([member(pax_headers={"GNU.sparse.size": "99999999999", "GNU.sparse.map": "0,1"})], "sparse|is no tar file"),
        ([member(pax_headers={"comment": "x" * 2**17})], r"is no tar file, or is damaged \(it has a header of"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_shard_is_named(tmp_path, members, message):
    write_tar(tmp_path / "wds/s-000003.tar", members)
    with pytest.raises(InputError, match=rf"wds/s-000003\.tar:? .*({message})"):
        choose(tmp_path / "wds")


def damaged(cut=None, place=None):
    """Return what cuts a shard off, or overwrites a block of it."""

    def damage(path):
        content = bytearray(path.read_bytes())
        if place is not None:
            content[place : place + 512] = b"?" * 512
        path.write_bytes(content[:cut])

    return damage


def nested_headers(path):
    """Write what would fill the stack."""
    path.write_bytes(member(tarfile.XHDTYPE, "x", size=0)[1].tobuf(tarfile.USTAR_FORMAT) * 5000)


def negative_size(path):
    """Write what would be read in circles."""
    header = bytearray(member(size=0)[1].tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-512).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(bytes(header) * 3 + bytes(1024))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged(cut=0), "is no tar file, or is damaged"),
        (damaged(cut=100), "is no tar file, or is damaged"),
        (damaged(cut=600), r"000000\.png is cut off"),
        (damaged(cut=1024), r"is damaged or cut off at byte 1,024"),  # between two members
        (damaged(cut=1100), "is damaged or cut off at byte 1,024"),
        (damaged(place=0), "is no tar file, or is damaged"),
        (damaged(place=1024), "is damaged or cut off at byte 1,024"),
        (lambda path: path.write_bytes(png()), "is no tar file, or is damaged"),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), "cannot be read"),
        (nested_headers, "is no tar file, or is damaged"),
        (negative_size, ""),
    ],
)
def test_a_damaged_shard_is_named(root, damage, message):
    damage(root / "000000.tar")
    with pytest.raises(InputError, match=rf"wds/000000\.tar:? .*{message}"):
        choose(root)
