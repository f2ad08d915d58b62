"""HDF5 files that are written row by row."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classlens.hdf5 import CHUNK_ROWS, Column, RowWriter, chunk_rows_of, index_dtype, iterate_rows, packing

COLUMNS = {
    "site/rank": Column((3,), np.uint16, "rank", "classes"),
    "correct": Column((), np.bool_, "correct"),
    "site/top5": Column((3, 5), np.int32, "classes on top", "class index", compress=False),
}


def rows_of(count, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "correct": generator.random(count) < 0.5,
        "site/rank": generator.integers(0, 1000, (count, 3)),
        "site/top5": generator.integers(0, 1000, (count, 3, 5)),
    }


def write(path, values, sizes, columns=COLUMNS, **arguments):
    """Write values in batches of the given sizes."""
    with RowWriter(path, len(values["correct"]), columns, {"b": 1, "a": "x"}, **arguments) as writer:
        for stop, size in zip(itertools.accumulate(sizes), sizes, strict=True):
            writer.append({name: array[stop - size : stop] for name, array in values.items()})
    return Path(path).read_bytes()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any), st.sampled_from([1, 3, 8, 64]))
def test_bytes_do_not_depend_on_the_batches(sizes, chunk_rows):
    values = rows_of(sum(sizes))
    with tempfile.TemporaryDirectory() as folder:
        at_once = write(f"{folder}/a.h5", values, [sum(sizes)], chunk_rows=chunk_rows)
        assert write(f"{folder}/b.h5", values, sizes, chunk_rows=chunk_rows) == at_once
        with h5py.File(f"{folder}/b.h5") as file:
            for name, array in values.items():
                assert np.array_equal(file[name], array)


PACK_MANY = """
import hashlib, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from classlens.hdf5 import pack
generator = np.random.default_rng(3)
places = np.cumsum(generator.integers(-3, 4, 100_000))
chunks = [generator.random(size) < share for size in (*range(10, 200, 30), 400, 5000, 100_000) for share in (0.5, 0.1)]
for rows in (1, 3, 30, 64, 100):
    top = (places[:rows * 985] + generator.geometric(0.02, rows * 985)) % 1000
    chunks += [top.astype(np.uint16).reshape(rows, 197, 5), top.astype(np.int32), generator.normal(size=(rows, 500))]
    chunks += [chunks[-1].astype(np.float32), generator.geometric(0.01, rows * 300).astype(np.uint16)]
with ThreadPoolExecutor(3) as pool:
    for found in (map(pack, chunks), *(pool.map(pack, chunks) for _ in range(3))):
        print(hashlib.sha256(b"".join(found)).hexdigest())
"""


@pytest.mark.parametrize("processes", [3, pytest.param(24, marks=pytest.mark.release)])
def test_bytes_do_not_depend_on_the_process_or_the_threads_that_pack(processes):
    def fresh_process(number):
        # Addresses differ with the environment's size, too.
        environment = {**os.environ, "PADDING": number * 7 * "x"}
        command = [sys.executable, "-c", PACK_MANY]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()

    with ThreadPoolExecutor(2) as pool:
        found = [digest for digests in pool.map(fresh_process, range(processes)) for digest in digests]
    assert (len(found), len(set(found))) == (4 * processes, 1)


def test_bytes_do_not_depend_on_the_batches_of_a_file_beyond_hdf5_s_cache(tmp_path):
    """Chunks are packed when they leave the cache of a megabyte, so their order in the file could differ."""
    columns = {name: Column((150, 5), np.int32, name) for name in ("a", "b")}
    values = {name: np.random.default_rng(0).integers(0, 1000, (600, 150, 5)) for name in columns}
    found = set()
    for size in (1, 50, 64, 200, 600):
        with RowWriter(tmp_path / "a.h5", 600, columns) as writer:
            for start in range(0, 600, size):
                writer.append({name: array[start : start + size] for name, array in values.items()})
        found.add((tmp_path / "a.h5").read_bytes())
    assert len(found) == 1


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_other_programs_read_what_is_packed(tmp_path, dtype):
    for shape in ((), (7,), (197, 5)):
        for rows in (1, 9, 200):
            values = (np.random.default_rng(0).normal(size=(rows, *shape)) * 100).astype(dtype)
            with RowWriter(tmp_path / "a.h5", rows, {"x": Column(shape, dtype, "x")}) as writer:
                writer.append({"x": values})
            with h5py.File(tmp_path / "a.h5") as file:
                assert file["x"].dtype == dtype
                assert np.array_equal(file["x"], values)


def test_a_program_without_classlens_reads_what_is_packed(tmp_path):
    values = rows_of(100)
    write(tmp_path / "a.h5", values, [100])
    program = "import h5py, hdf5plugin, sys; print(h5py.File(sys.argv[1])['site/rank'][:].tolist())"
    command = [sys.executable, "-P", "-c", program, tmp_path / "a.h5"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == values["site/rank"].tolist()


@pytest.mark.parametrize("threads", [2, 5])
def test_bytes_do_not_depend_on_threads(tmp_path, threads):
    values = rows_of(300)
    assert write(tmp_path / "b.h5", values, [40, 260], threads=threads) == write(tmp_path / "a.h5", values, [300])


def test_chunks_of_files_with_small_rows_are_larger():
    def rows(tokens):
        return chunk_rows_of({"top5": Column((tokens, 5), np.uint16, ""), "rank": Column((tokens,), np.uint16, "")})

    assert [rows(tokens) for tokens in (1000, 197, 65, 50, 1)] == [64, 128, 256, 512, 512]


def test_bytes_do_not_depend_on_the_order_of_columns_or_attributes(tmp_path):
    values = rows_of(70)
    expected = write(tmp_path / "a.h5", values, [70])
    backwards = dict(reversed(COLUMNS.items()))
    assert write(tmp_path / "b.h5", dict(reversed(values.items())), [50, 20], backwards) == expected
    with RowWriter(tmp_path / "c.h5", 70, COLUMNS, {"a": "x", "b": 1}) as writer:
        writer.append(values)
    assert (tmp_path / "c.h5").read_bytes() == expected
    assert write(tmp_path / "d.h5", rows_of(70, seed=1), [70]) != expected


@pytest.mark.parametrize("rows", [100, 3])
def test_what_is_in_a_file(tmp_path, rows):
    write(tmp_path / "a.h5", rows_of(rows), [rows])
    with h5py.File(tmp_path / "a.h5") as file:
        assert dict(file.attrs) == {"a": "x", "b": 1}
        for name, column in COLUMNS.items():
            dataset = file[name]
            assert dataset.dtype == column.dtype
            assert dataset.shape == (rows, *column.shape)
            assert dataset.chunks == (min(rows, CHUNK_ROWS), *column.shape)
            assert dict(dataset.attrs) == {"description": column.description, "unit": column.unit}
            assert list(dataset._filters) == (["32001"] if column.compress else [])
            assert bool(packing(dataset)) == column.compress


@pytest.mark.parametrize("chunk_rows", [1, 4, 64])
@pytest.mark.parametrize("sizes", [[], [5], [5, 4], [11], [9, 2], [4, 200], [5, 5, 5]])
def test_another_number_of_rows_than_promised_is_refused(tmp_path, sizes, chunk_rows):
    with (  # noqa: PT012
        pytest.raises(ValueError, match=rf"10 rows were promised, {min(sum(sizes), 300)} came"),
        RowWriter(tmp_path / "a.h5", 10, COLUMNS, chunk_rows=chunk_rows) as writer,
    ):
        for size in sizes:
            writer.append(rows_of(size))


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (rows_of(4) | {"correct": np.zeros(3, bool)}, ValueError, r"differ in length: \[3, 4\]"),
        ({"site/rank": np.zeros((4, 3), int)}, KeyError, "correct"),
        (rows_of(4) | {"site/rank": np.zeros((4, 2), int)}, ValueError, "rows of shape"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(tmp_path, batch, error, message):
    with pytest.raises(error, match=message), RowWriter(tmp_path / "a.h5", 4, COLUMNS) as writer:
        writer.append(batch)


def test_an_error_of_the_caller_is_the_one_that_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="the caller's"), RowWriter(tmp_path / "a.h5", 4, COLUMNS) as writer:
        raise RuntimeError("the caller's")
    assert not writer._file  # closed


@pytest.mark.parametrize(
    ("count", "expected"), [(1, np.uint16), (65535, np.uint16), (65536, np.uint16), (65537, np.int32)]
)
def test_index_dtype(count, expected):
    assert index_dtype(count) == expected
    assert np.iinfo(index_dtype(count)).max >= count - 1


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (1, 9), (7, 3), (9, 3), (40, 39), (40, 40), (40, 41)])
def test_iterate_rows(tmp_path, count, rows):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.arange(count), np.arange(2 * count).reshape(count, 2)
    found = list(iterate_rows(tmp_path / "a.h5", ["x", "y"], rows))
    assert [len(batch["x"]) for batch in found[:-1]] == [rows] * (len(found) - 1)
    assert 0 < len(found[-1]["x"]) <= rows
    assert np.concatenate([batch["x"] for batch in found]).tolist() == list(range(count))
    assert np.concatenate([batch["y"] for batch in found]).tolist() == [[2 * i, 2 * i + 1] for i in range(count)]
