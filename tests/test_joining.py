"""Joining: files of rows that were written apart have the bytes of one that was written at once."""

from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

from classlens.hdf5 import Column, RowWriter
from classlens.joining import join

PACKED = {"rank": Column((5,), np.uint16, "ranks", "classes"), "group/right": Column((), np.bool_, "right or wrong")}
COLUMNS = {**PACKED, "maps": Column((2, 3), np.float32, "maps", "logit", compress=False)}
ATTRIBUTES = {"sets": ["a", "bc"], "steps": np.arange(3, dtype=np.int32), "num_classes": 7, "has_class_token": True}
ATTRIBUTES |= {"chosen": "ridge", "penalty": 0.5}
ROWS = 300


def rows(columns):
    generator = np.random.default_rng(1)
    return {
        name: generator.integers(0, 2 if column.dtype is np.bool_ else 9, (ROWS, *column.shape)).astype(column.dtype)
        for name, column in columns.items()
    }


def write(path, columns, start=0, stop=ROWS, batch=50, attributes=ATTRIBUTES):
    with RowWriter(path, stop - start, columns, attributes) as writer:
        for first in range(start, stop, batch):
            last = min(first + batch, stop)
            writer.append({name: values[first:last] for name, values in rows(columns).items()})
    return str(path)


def shards(folder, bounds, columns):
    return [write(folder / f"{start}.h5", columns, start, stop) for start, stop in pairwise(bounds)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of files that were written at once, by whether all columns are packed."""
    path = tmp_path_factory.mktemp("whole") / "file.h5"
    return {packed: Path(write(path, PACKED if packed else COLUMNS)).read_bytes() for packed in (True, False)}


@pytest.mark.parametrize(
    ("bounds", "packed"),
    # All at once; at the ends of chunks of 64 rows; elsewhere; with a single row, and fewer than a chunk has.
    [
        *(([0, 300], packed) for packed in (True, False)),
        ([0, 128, 256, 300], True),
        ([0, 64, 256, 300], False),
        ([0, 100, 200, 300], False),
        ([0, 100, 164, 300], True),  # a chunk that is whole, after rows that are not
        *(([0, 1, 7, 299, 300], packed) for packed in (True, False)),
    ],
)
def test_bytes_do_not_depend_on_shards(tmp_path, whole, bounds, packed):
    join(shards(tmp_path, bounds, PACKED if packed else COLUMNS), str(tmp_path / "joined.h5"))
    assert (tmp_path / "joined.h5").read_bytes() == whole[packed]


def test_chunks_that_line_up_are_not_packed_again(tmp_path, monkeypatch):
    parts = shards(tmp_path, [0, 128, 300], PACKED)

    def refuse(rows):
        raise AssertionError("packed again")

    monkeypatch.setattr("classlens.hdf5.pack", refuse)
    join(parts, str(tmp_path / "joined.h5"))
    with h5py.File(tmp_path / "joined.h5") as file:
        assert np.array_equal(file["rank"], rows(PACKED)["rank"])


def test_shards_that_are_packed_otherwise_are_packed_anew(tmp_path, whole):
    parts = shards(tmp_path, [0, 128, 300], PACKED)
    with h5py.File(parts[0]) as ours, h5py.File(tmp_path / "other.h5", "w") as other:
        other.attrs.update(ours.attrs)
        for name in PACKED:
            made = other.create_dataset(name, data=ours[name][:], chunks=ours[name].chunks, compression="gzip")
            made.attrs.update(ours[name].attrs)
    join([str(tmp_path / "other.h5"), parts[1]], str(tmp_path / "joined.h5"))
    assert (tmp_path / "joined.h5").read_bytes() == whole[True]


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": {"rank": PACKED["rank"]}},
        {"columns": PACKED | {"rank": Column((5,), np.int32, "ranks", "classes")}},
        {"attributes": ATTRIBUTES | {"num_classes": 8}},
        {"attributes": ATTRIBUTES | {"sets": ["a"]}},
    ],
)
def test_shards_of_other_files_are_refused(tmp_path, changed):
    first = write(tmp_path / "0.h5", PACKED, 0, 10)
    other = write(tmp_path / "1.h5", **{"columns": PACKED, "start": 10, "stop": 20, **changed})
    with pytest.raises(ValueError, match=r"1\.h5 has other data sets than .*0\.h5"):
        join([first, other], str(tmp_path / "joined.h5"))
