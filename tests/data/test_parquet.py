"""Images in Parquet files: columns, names of classes, order of reading; what all shards share is in test_webdataset."""

import struct
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_data import choice, png, write_parquet

from classlens.data import parquet_rows
from classlens.data.parquet import Parquet
from classlens.data.select import select
from classlens.data.threads import in_order
from classlens.errors import InputError

HALVES = ("validation-00000-of-00001.parquet", "train-00000-of-00001.parquet")


@pytest.fixture(autouse=True)
def _memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def opened(root):
    return Parquet(str(root), None, "mine")


def choose(root, **changes):
    return select(opened(root), choice(**changes))


def images(count):
    return [png() for _ in range(count)]


@pytest.fixture
def root(tmp_path):
    """Named as Hugging Face does it."""
    for name, labels in zip(HALVES, [[0, 1, 0], [1, 1, 0]], strict=True):
        write_parquet(tmp_path / "data" / name, images(3), labels, names=["crane", "crane"])
    return tmp_path / "data"


def test_names_tell_the_splits_and_notes_the_classes(root):
    chosen = choose(root, per_class=None)
    assert [(item.split, item.file, item.class_id, item.class_name) for item in chosen] == [
        ("evaluation", f"{HALVES[0]}#0", "0", "crane"),
        ("evaluation", f"{HALVES[0]}#2", "0", "crane"),
        ("evaluation", f"{HALVES[0]}#1", "1", "crane"),
        ("training", f"{HALVES[1]}#2", "0", "crane"),
        ("training", f"{HALVES[1]}#0", "1", "crane"),
    ]
    assert opened(root).class_count() == 2


def test_all_files_have_the_same_names_of_classes(root):
    write_parquet(root / HALVES[1], images(1), [0], names=["crane"])
    with pytest.raises(InputError, match=rf"{HALVES[1]} has other names of classes than the first shard"):
        choose(root)
    (root / "classes.txt").write_text("n1 crane\nn2 crane\n")
    assert [item.class_id for item in choose(root)] == ["n1", "n2", "n1"]


@pytest.mark.parametrize(("compression", "plain"), [("none", True), ("snappy", False), ("zstd", True)])
def test_rows_are_read_in_any_order(tmp_path, compression, plain, monkeypatch):
    monkeypatch.setattr(parquet_rows, "ROWS", 3)
    monkeypatch.setattr(parquet_rows, "KEPT", 2)
    contents = images(50)
    path = tmp_path / "data/x.parquet"
    options = {"row_group_size": 11, "compression": compression, "data_page_size": 300, "use_dictionary": False}
    write_parquet(path, contents, [0] * 50, plain=plain, **options)
    for order in (range(50), reversed(range(50)), np.random.default_rng(0).permutation(50)):
        source = opened(path.parent)
        assert all(source.content(f"x.parquet#{row:02}") == contents[row] for row in order)


def test_reading_forward_unpacks_everything_once_and_far_ahead_begins_at_the_group(tmp_path, monkeypatch):
    """Threads ask, each a little ahead of another."""
    path = write_parquet(tmp_path / "data/x.parquet", images(400), [0] * 400, row_group_size=90)
    begun, unpacked = [], []
    batches = pq.ParquetFile.iter_batches

    def counted(self, *arguments, **options):
        begun.append(options.get("row_groups"))
        for batch in batches(self, *arguments, **options):
            unpacked.append(len(batch))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    source = opened(path.parent)
    source.stimuli({"per_class": None})
    begun.clear()
    for _ in in_order(lambda row: source.content(f"x.parquet#{row:03}"), range(400), 8, "reading"):
        pass
    assert begun == [None, [0, 1, 2, 3, 4]]  # the labels, and then the images
    source = opened(path.parent)
    source.content("x.parquet#000")
    unpacked.clear()
    for row, count in ((7, 0), (8, 1), (350, 11), (271, 1), (399, 5)):
        source.content(f"x.parquet#{row:03}")
        assert len(unpacked) == count
        unpacked.clear()


def table(path, **columns):
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd")


IMAGE, LABEL = pa.array([b"not looked at"] * 2), pa.array([0, 0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": IMAGE, "label": pa.array([0, -1])}, "row 1 has the class -1"),
        ({"image": IMAGE, "label": pa.array([0, None])}, "row 1 has the class None"),
        ({"image": IMAGE, "label": pa.array(["a", "b"])}, r"label holds string; write class.*class_encode_column"),
        ({"image": IMAGE, "label": pa.array([0.0, 1.0])}, r"the column label holds double; write class indices"),
        ({"image": IMAGE}, "has no column label"),
        ({"label": LABEL, "img": IMAGE}, "has no column image of bytes, but label, img; rename it"),
        ({"label": LABEL, "image": pa.array(["a", "b"])}, "the column image holds string"),
        ({"label": LABEL, "image": pa.array([{"path": "a"}] * 2)}, "the column image holds struct"),
        ({"label": LABEL, "image": IMAGE, "mask": LABEL}, "the column mask holds int64"),
        ({"label": pa.array([0, 10**18]), "image": IMAGE}, "1 has the class 10+, but no image has the class 1"),
        ({"label": pa.array([0] * 10**6), "image": pa.array([b"x"] * 10**6)}, "which images cannot have"),
        ({"label": LABEL, "image": pa.array([b"x", bytes(10**7)])}, "which images cannot have"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named(tmp_path, columns, message):
    table(tmp_path / "data/x.parquet", **columns)
    with pytest.raises(InputError, match=rf"data/x\.parquet:? .*{message}"):
        choose(tmp_path / "data")


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        (b"{", "notes in its schema cannot be read"),
        (b"[]", "notes in its schema cannot be read"),
        (b"[" * 100_000, "notes in its schema cannot be read"),
        (b'{"info": {"features": {"label": {"names": "cat"}}}}', "are no list of texts"),
        (b'{"info": {"features": {"label": {"names": ["\\ud800"]}}}}', "are no list of texts"),
    ],
)
def test_wrong_notes_are_named(tmp_path, notes, message):
    (tmp_path / "data").mkdir()
    described = pa.table({"image": IMAGE, "label": LABEL}).replace_schema_metadata({"huggingface": notes})
    pq.write_table(described, tmp_path / "data/x.parquet")
    with pytest.raises(InputError, match=rf"data/x\.parquet:? .*{message}"):
        choose(tmp_path / "data")


def overlong(content):
    """Declare a footer that is longer than the file."""
    return content[:-8] + struct.pack("<I", 2**31 - 1) + content[-4:]


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-50], overlong, lambda _: b"", lambda _: b"PAR1", lambda _: png()]
)
def test_a_damaged_file_is_named(root, damage):
    path = root / HALVES[0]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"{HALVES[0]} is no Parquet file, or is cut off"):
        choose(root)


def test_damage_before_the_footer_is_named_by_row(tmp_path):
    contents = images(40)
    path = write_parquet(tmp_path / "data/x.parquet", contents, [0] * 40, compression="zstd", use_dictionary=False)
    whole = path.read_bytes()
    path.write_bytes(b"PAR1" + b"\xff" * 2000 + whole[2004:])
    source = opened(path.parent)
    assert len(choose(path.parent, per_class=40)) == 40
    with pytest.raises(InputError, match=r"data/x\.parquet: row 0 cannot be read"):
        source.content("x.parquet#00")


def test_known_files_are_planned_without_the_library(root, monkeypatch):
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)
    chosen = choose(root)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert choose(root) == chosen
    write_parquet(root / HALVES[0], images(1), [0])
    with pytest.raises(InputError, match="need pyarrow, which is missing; run pip install pyarrow"):
        choose(root)
