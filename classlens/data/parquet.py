"""Parquet files as Hugging Face's libraries write them: columns image and label, and mask where there are masks.

image    the bytes of an image file, by themselves or as `bytes` of a structure (its `path` is not looked at)
label    the class index, a whole number; names of classes are taken from Hugging Face's notes in the schema
mask     optional, as image: pixels that are not zero are class

See `classlens.data.packed` for folders. An image's name is its row's number in the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from classlens.data.packed import Packed
from classlens.errors import InputError

if TYPE_CHECKING:
    from classlens.data.parquet_rows import ParquetRows

IMAGE, LABEL, MASK = "image", "label", "mask"
NOTES = b"huggingface"
SMALLEST_ROW = 16
"""Bytes of a file for each of its rows, at least: an image has more. Labels alone can be packed without end."""
MOST_UNPACKED = 100
"""How many times its size a file may unpack to; images are packed already."""
MOST_BYTES = 2**30
"""Of an image: far more than the pixels that are decoded at most."""
OPEN = 4
"""Columns of files that are open at a time."""


class Parquet(Packed):
    """Images and masks in rows of Parquet files."""

    suffix = ".parquet"
    version = 1
    without_masks = f"there are no masks; add a column {MASK} of PNG bytes to the evaluation shards"

    def __init__(self, *place: Any, **named: Any) -> None:
        super().__init__(*place, **named)
        self._opened, self._lock = lru_cache(OPEN)(_rows_of), Lock()

    @staticmethod
    def look(shard: str) -> dict[str, Any]:
        """Return row numbers, labels and names of classes, rows of row groups, and columns by what they hold.

        It reads the schema and the column of labels.
        """
        _require_library()
        from classlens.data.parquet_rows import open_parquet

        file = open_parquet(Path(shard))
        meta, size = file.metadata, os.path.getsize(shard)
        groups = [meta.row_group(group) for group in range(meta.num_row_groups)]
        chunks = [group.column(column) for group in groups for column in range(group.num_columns)]
        unpacked = sum(chunk.total_uncompressed_size for chunk in chunks)
        if not 0 <= meta.num_rows <= size // SMALLEST_ROW or unpacked > MOST_UNPACKED * size:
            raise InputError(
                f"{shard} has {meta.num_rows:,} rows of {unpacked:,} bytes in a file of {size:,}, which images cannot "
                f"have; restore it"
            )
        columns = {name: _leaf(file.schema_arrow, name, shard) for name in (IMAGE, MASK)}
        if columns[IMAGE] is None:
            raise InputError(
                f"{shard} has no column {IMAGE} of bytes, but {', '.join(file.schema_arrow.names)}; rename it"
            )
        labels = list(_labels(file, shard))
        width = len(str(len(labels)))
        return {
            "images": [f"{row:0{width}}" for row in range(len(labels))],
            "labels": labels,
            "names": _class_names(file.schema_arrow, shard),
            "groups": [group.num_rows for group in groups],
            "columns": columns,
            "masks": columns[MASK] is not None,
        }

    def named(self, index: Mapping[str, Any]) -> list[str] | None:
        """Return the names of classes that Hugging Face's notes hold."""
        names: list[str] | None = index["names"]
        return names

    def read(self, shard: Path, index: Mapping[str, Any], row: int, *, mask: bool = False) -> bytes:
        """Read a row's value of a column."""
        name = MASK if mask else IMAGE
        with self._lock:
            content = self._opened(shard, index["columns"][name], tuple(index["groups"])).value(row)
        where = f"{shard}: {index['images'][row]}"
        if content is None:
            raise InputError(f"{where} has no bytes in the column {name}; put the file itself there, not its path")
        if len(content) > MOST_BYTES:
            raise InputError(f"{where} has {len(content):,} bytes; no image has, take the row away")
        return content

    def carried(self, shard: Path, index: Mapping[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
        """Read columns of a file, as text."""
        _require_library()
        from classlens.data.parquet_rows import BROKEN, open_parquet

        file = open_parquet(shard)
        if missing := [name for name in names if name not in file.schema_arrow.names]:
            raise InputError(f"{shard} has no column {missing[0]}, but {', '.join(file.schema_arrow.names)}; rename it")
        try:
            columns = file.read(columns=list(names)).to_pydict()
        except BROKEN as error:
            raise InputError(f"{shard}: {', '.join(names)} cannot be read ({error}); restore it") from error
        return {
            name: ["" if value is None or value != value else str(value).strip() for value in columns[name]]
            for name in names
        }


def _rows_of(shard: Path, column: str, groups: tuple[int, ...]) -> ParquetRows:
    _require_library()
    from classlens.data.parquet_rows import ParquetRows

    return ParquetRows(shard, column, groups)


def _require_library() -> None:
    try:
        import pyarrow  # noqa: F401  # planning does without where it knows the shards
    except ImportError:
        raise InputError("data sets of kind parquet need pyarrow, which is missing; run pip install pyarrow") from None


def _leaf(schema: Any, name: str, shard: str) -> str | None:
    """Return the full name of the column that holds an image's bytes, None where there is no such column."""
    from pyarrow import types

    def holds_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    if name not in schema.names:
        return None
    kind = schema.field(name).type
    if holds_bytes(kind):
        return name
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and holds_bytes(kind.field("bytes").type):
        return f"{name}.bytes"
    raise InputError(f"{shard}: the column {name} holds {kind}; it must hold the bytes of image files, or have bytes")


def _labels(file: Any, shard: str) -> Iterator[int]:
    from pyarrow import types

    from classlens.data.parquet_rows import BROKEN

    schema = file.schema_arrow
    if LABEL in schema.names and not types.is_integer(kind := schema.field(LABEL).type):
        raise InputError(
            f"{shard}: the column {LABEL} holds {kind}; write class indices there, whole numbers from 0 "
            f"(class_encode_column({LABEL!r}) of the library datasets makes them of text, and keeps the names)"
        )
    if LABEL not in schema.names:
        held = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise InputError(f"{shard} has no column {LABEL} of whole numbers, but {held}; add it, or rename it")
    row = 0
    try:
        for batch in file.iter_batches(columns=[LABEL], use_threads=False):
            for label in batch.column(0).to_pylist():
                if label is None or label < 0:
                    raise InputError(f"{shard}: row {row:,} has the class {label}; write a whole number from 0")
                row += 1
                yield label
    except BROKEN as error:
        raise InputError(f"{shard}: its labels cannot be read ({error}); restore it") from error
    if row != file.metadata.num_rows:
        raise InputError(f"{shard} has {row:,} labels for {file.metadata.num_rows:,} rows; restore it")


def _class_names(schema: Any, shard: str) -> list[str] | None:
    """Return the names of classes by index, None where the schema does not tell them."""
    try:
        notes = json.loads((schema.metadata or {}).get(NOTES, b"{}"))
        names = notes.get("info", {}).get("features", {}).get(LABEL, {}).get("names")
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{shard}: Hugging Face's notes in its schema cannot be read ({error}); write it anew"
        ) from None
    if names is not None and not (isinstance(names, list) and all(map(_is_text, names))):
        raise InputError(f"{shard}: the names of classes in its schema are no list of texts; write it anew")
    return names


def _is_text(name: object) -> bool:
    """Tell whether tables can hold a name: JSON can spell halves of characters."""
    return isinstance(name, str) and "\r" not in name and name.encode(errors="ignore").decode() == name
