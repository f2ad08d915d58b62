"""What images carry beside their class: a value of each attribute, from a table, from folders, or from packed files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from classlens.columns import IMAGE
from classlens.data.raw import read_text
from classlens.data.source import Place, Source
from classlens.data.stimulus import read_stimuli, write_rows
from classlens.errors import InputError


def attribute_names(dataset: Mapping[str, Any], source: Source) -> list[str]:
    """Return the names of the attributes that a data set's images have; none where nothing says any.

    Args:
        dataset: its section of the config.
        source: access to it.

    Raises:
        InputError: the table cannot be read, or has not what it should.
    """
    given = dataset["groups"]
    if not given:
        return list(source.carries)
    where, names = given["table"] or f"datasets.{source.name}.groups", given["attributes"]
    if given["table"]:
        header = _header(Path(given["table"]))
        names = names or [column for column in header if column not in (given["image"], "")]
        if missing := [column for column in (given["image"], *names) if column not in header]:
            raise InputError(f"{where} has no column {missing[0]!r}, but {', '.join(header)}; name another one")
    if not names or IMAGE in names or len({*names}) < len(names):
        raise InputError(
            f"{where}: attributes are {', '.join(names) or 'missing'}; give one at least, each once, and none called "
            f"{IMAGE!r}"
        )
    return list(names)


def _header(table: Path) -> list[str]:
    """Return the columns of a table; of a long one the first line alone is read."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return [column.strip() for column in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read ({error}); save it as CSV, in UTF-8") from None


def write_groups(
    *,
    stimuli: str,
    table: Sequence[str],
    groups: str,
    source: type[Source],
    attributes: Sequence[str],
    image: str,
    **place: Unpack[Place],
) -> None:
    """Write what a data set's evaluation images carry beside their class.

    Args:
        stimuli: stimuli.csv.
        table: the user's table as a list of one; an empty list where the data set itself says it.
        groups: the table to write: image, and a column of text per attribute.
        source: kind of data set.
        attributes: their names.
        image: the column of the user's table that has the images' names in stimuli.csv.
        place: see `Place`.

    Raises:
        InputError: an image has no value.
    """
    files = [item.file for item in read_stimuli(stimuli, "evaluation")]
    told = source(**place).attributes
    found = _from_table(table[0], image, attributes, files) if table else told(files, attributes)
    for name, values in found.items():
        if "" in values:
            raise InputError(f"{table[0] if table else 'datasets'}: {files[values.index('')]} has no {name}; write one")
    write_rows(groups, (IMAGE, *found), zip(range(len(files)), *found.values(), strict=True))


def _checked(reader: csv.DictReader[str], table: str) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"{table}, line {reader.line_num}: {error}; look for a quote that is not closed") from None


def _from_table(table: str, image: str, attributes: Sequence[str], files: Sequence[str]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    reader = csv.DictReader(read_text(Path(table)).splitlines())
    reader.fieldnames = [column.strip() for column in reader.fieldnames or ()]
    for row in _checked(reader, table):
        name, values = (row[image] or "").strip(), [(row[column] or "").strip() for column in attributes]
        if rows.setdefault(name, values) != values:
            raise InputError(f"{table}, line {reader.line_num}: {name} has other values above; take one line away")
    if missing := [file for file in files if file not in rows]:
        raise InputError(
            f"{table}, column {image}: it lacks {len(missing):,} of {len(files):,} evaluation images, such as "
            f"{missing[0]!r}; write names as stimuli.csv has them, relative to the data set's root"
        )
    return {column: [rows[file][place] for file in files] for place, column in enumerate(attributes)}
