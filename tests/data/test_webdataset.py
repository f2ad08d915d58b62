"""Images in tar shards: what is chosen and read, the same as of folders, and what is refused by shard and key."""

import os
import tarfile

import numpy as np
import pytest
import webdataset
from made_data import left_half, png, write_tar
from PIL import Image
from test_image_folder import choose as choose_of_folder

from classlens.data import webdataset as kind
from classlens.data.mask import CLASS, CONTEXT
from classlens.data.select import select
from classlens.data.webdataset import WebDataset
from classlens.errors import InputError

CHOICE = {"per_class": 1, "train_per_class": 1, "exclude_classes": [], "too_few": "error"}


@pytest.fixture(autouse=True)
def _memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def opened(root):
    return WebDataset(str(root), None, "mine")


def choose(root, **changes):
    return select(opened(root), {**CHOICE, **changes})


def files(chosen, split):
    return [item.file for item in chosen if item.split == split]


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


def test_shards_are_split_by_number(root):
    chosen = choose(root)
    assert files(chosen, "evaluation") == ["000000.tar#000000.png", "000000.tar#000001.png", "000000.tar#000003.png"]
    assert files(chosen, "training") == ["000000.tar#000002.png", "000001.tar#000000.png", "000001.tar#000001.png"]
    assert [(item.class_index, item.class_id, item.class_name) for item in chosen[:3]] == [
        (label, str(label), str(label)) for label in range(3)
    ]
    every = choose(root, per_class=None)
    assert (len(files(every, "evaluation")), files(every, "training")) == (7, [])


@pytest.mark.parametrize("names", [("validation/a.tar", "train/a.tar"), ("validation-0.tar", "train-0.tar")])
def test_shards_of_splits(tmp_path, names):
    for name, labels in zip(names, [(1, 0), (0, 1, 1)], strict=True):
        write_tar(tmp_path / "wds" / name, samples(*labels))
    write_tar(tmp_path / "wds" / "test-0.tar", samples(7))
    chosen = choose(tmp_path / "wds", per_class=None, train_per_class=None)
    assert files(chosen, "evaluation") == [f"{names[0]}#000001.png", f"{names[0]}#000000.png"]
    assert [item.class_index for item in chosen if item.split == "training"] == [0, 1, 1]
    assert opened(tmp_path / "wds").more_training == "add shards of train"


def test_splits_are_not_mixed(tmp_path):
    for name in ("train-0.tar", "other-0.tar"):
        write_tar(tmp_path / "wds" / name, samples(0))
    with pytest.raises(InputError, match=r"datasets\.mine\.root: .* some other name beside train\*"):
        choose(tmp_path / "wds")


def test_a_list_of_classes_fixes_indices_and_names(root):
    (root / "classes.txt").write_text("n1 tench\nn2 goldfish\nn3\nn4 without images\n")
    assert [(item.class_id, item.class_name) for item in choose(root)[:3]] == [
        ("n1", "tench"), ("n2", "goldfish"), ("n3", "n3")
    ]  # fmt: skip
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
    chosen = source.stimuli({"per_class": None})
    assert {item.file.partition("#")[2].removesuffix(".PNG"): item.class_index for item in chosen} == {
        key: int(sample["cls"]) for key, sample in read.items()
    }
    for item in chosen:
        sample = read[item.file.partition("#")[2].removesuffix(".PNG")]
        assert source.content(item.file) == sample["png"]
        assert source.mask_content(item.file, item.class_id) == sample["mask.png"]


def test_folders_of_the_same_images_give_the_same(tmp_path):
    folder, members = tmp_path / "photos", []
    for index, class_id in enumerate(("cat", "dog")):
        (folder / class_id).mkdir(parents=True)
        for number in range(3):
            (folder / class_id / f"{number}.png").write_bytes(content := png())
            members += [(f"./{class_id}/{number}.png", content), (f"./{class_id}/{number}.cls", b" %d\n" % index)]
    directory = tarfile.TarInfo("./")
    directory.type = tarfile.DIRTYPE
    write_tar(tmp_path / "wds/0.tar", [("", directory), *members])
    (tmp_path / "wds/classes.txt").write_text("cat\ndog\n")
    ours, theirs = choose(tmp_path / "wds", per_class=2), choose_of_folder(folder, per_class=2)
    assert [(i.split, i.class_index, i.class_id, i.class_name, i.file.partition("#")[2]) for i in ours] == [
        (i.split, i.class_index, i.class_id, i.class_name, i.file) for i in theirs
    ]
    for one, other in zip(ours, theirs, strict=True):
        assert opened(tmp_path / "wds").content(one.file) == (folder / other.file).read_bytes()


def test_masks_lie_beside_images(root):
    assert not opened(root).has_masks
    with pytest.raises(InputError, match=r"datasets\.mine: there are no masks; put KEY\.mask\.png"):
        opened(root).mask_files(choose(root))
    write_tar(root / "000000.tar", samples(0, 1, 0, 2, mask=left_half()))
    source = opened(root)
    assert source.has_masks
    chosen = choose(root)
    assert source.mask_files(chosen) == [str(root / "000000.tar")]
    expected = np.full((5, 6), CONTEXT)
    expected[:, :3] = CLASS
    assert np.array_equal(source.mask(chosen[0].file, "0"), expected)
    with pytest.raises(InputError, match=r"000001\.tar: 000002\.png has no mask"):
        source.mask_files(choose(root, per_class=3, too_few="skip"))


def test_raw_files_are_the_shards_of_chosen_images(root):
    write_tar(root / "000002.tar", samples(0))
    assert opened(root).image_files(choose(root)) == [str(root / f"00000{shard}.tar") for shard in range(2)]


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


def test_what_changed_after_it_was_listed(root):
    file, source = choose(root)[0].file, opened(root)
    digest = source.digest(file)
    assert source.image(file, digest).size == (6, 5)
    write_tar(root / "000000.tar", samples(0))
    with pytest.raises(InputError, match="changed after it was listed"):
        opened(root).image(file, digest)
    write_tar(root / "000000.tar", samples(0, first=9))
    with pytest.raises(InputError, match=r"wds/000000\.tar: 000000\.png is gone"):
        opened(root).image(file, digest)


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
        (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), "cannot be read"),
    ],
)
def test_a_damaged_shard_is_named(root, damage, message):
    damage(root / "000000.tar")
    with pytest.raises(InputError, match=rf"wds/000000\.tar:? .*{message}"):
        choose(root)


def test_headers_do_not_fill_the_stack(root):
    header = member(tarfile.XHDTYPE, "x", size=0)[1].tobuf(tarfile.USTAR_FORMAT)
    (root / "000000.tar").write_bytes(header * 5000)
    with pytest.raises(InputError, match=r"000000\.tar is no tar file, or is damaged"):
        choose(root)


def test_a_negative_size_does_not_go_round_in_circles(root):
    header = bytearray(member(size=0)[1].tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-512).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (root / "000000.tar").write_bytes(bytes(header) * 3 + bytes(1024))
    with pytest.raises(InputError, match=r"000000\.tar"):
        choose(root)


@pytest.mark.parametrize("content", [b"", b"no image", png()[:60]])
def test_what_is_no_image_inside_is_named(tmp_path, content):
    write_tar(tmp_path / "wds/0.tar", [("0.png", content), LABEL, *samples(0, first=1)])
    file = choose(tmp_path / "wds")[0].file
    with pytest.raises(InputError, match=r"wds/0\.tar: 0\.png cannot be read as an image"):
        opened(tmp_path / "wds").image(file)


def test_an_image_of_too_many_pixels_is_named(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"wds/000000\.tar: 000000\.png has too many pixels"):
        opened(root).image("000000.tar#000000.png")


def test_what_is_not_used_is_left_alone(root):
    others = [("0.json", b"{}"), ("._1.png", b""), ("README", b""), ("2.tiff", b""), ("__index__", b"")]
    write_tar(root / "000000.tar", [*others, *samples(0, 1, 2, first=7)])
    (root / ".hidden.tar").touch()
    (root / "notes.txt").touch()
    (root / "folder.tar").mkdir()
    assert files(choose(root), "evaluation") == [f"000000.tar#00000{number}.png" for number in (7, 8, 9)]


def test_roots_without_shards_are_named(tmp_path):
    with pytest.raises(InputError, match=r"datasets\.mine\.root: there is no folder"):
        choose(tmp_path / "nothing")
    for folder in ("validation", "train"):
        (tmp_path / "wds" / folder).mkdir(parents=True)
    write_tar(tmp_path / "wds/train/0.tar", samples(0))
    with pytest.raises(InputError, match=r"has no shards of evaluation images \(\*\.tar\)"):
        choose(tmp_path / "wds")


@pytest.mark.parametrize("name", [b"caf\xe9.tar", b"a.tar#b.tar"])
def test_names_of_shards_that_tables_cannot_hold_are_refused(root, name):
    os.link(root / "000000.tar", os.fsencode(root) + b"/" + name)
    with pytest.raises(InputError, match="rename the file"):
        choose(root)


def test_a_large_member_is_not_taken_for_an_image(root, monkeypatch):
    monkeypatch.setattr(kind, "MOST_BYTES", 20)
    with pytest.raises(InputError, match=r"000000\.png has .* bytes; no image has"):
        choose(root)


def test_shards_that_are_passed_over_are_doubted(root):
    assert opened(root).doubts(CHOICE) == []
    (root / "000002.tar.gz").touch()
    (root / "README.md").touch()
    write_tar(root / "more/000003.tar", samples(0))
    folders, others = opened(root).doubts(CHOICE)
    assert "shards in more/ are passed over" in folders
    assert "1 files such as 000002.tar.gz are passed over" in others
    for split in ("train", "val"):
        write_tar(root / split / "0.tar", samples(0, 1))
    assert opened(root).doubts(CHOICE) == []
    assert "; 000000.tar, 000001.tar, more/ left alone" in opened(root).notes()[0]
