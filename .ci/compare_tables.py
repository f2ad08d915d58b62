"""What changed in the tables of two runs: compare_tables.py BEFORE AFTER OUT.

BEFORE and AFTER are folders with CSV files at any depth. OUT gets differences.md, which is printed, too, and
differences.csv with every cell that differs.
"""

from __future__ import annotations

import csv
import math
import sys
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

MOST_SHOWN = 20
"""Cells of a table in differences.md; differences.csv has all."""


class Difference(NamedTuple):
    """A cell that differs; "" stands where there is none."""

    table: str
    line: int
    row: str
    column: str
    before: str
    after: str

    @property
    def size(self) -> float:
        """After - before, nan where one is no number."""
        try:
            return float(self.after) - float(self.before)
        except ValueError:
            return math.nan


def compare(before: Path, after: Path) -> tuple[list[str], list[Difference], int]:
    """Return what there is to say of whole tables, the cells that differ, and the number of tables.

    Rows stand for each other by their place, columns by their names.

    Raises:
        SystemExit: a folder has no table.
    """
    found = [{str(path.relative_to(folder)): path for path in folder.rglob("*.csv")} for folder in (before, after)]
    for folder, tables in zip((before, after), found, strict=True):
        if not tables:
            sys.exit(f"{folder} has no CSV file")
    notes, cells = [], []
    for name in sorted({*found[0], *found[1]}):
        missing = [word for word, tables in zip(("new", "gone"), found, strict=True) if name not in tables]
        if missing:
            notes.append(f"`{name}` is {missing[0]}")
            continue
        old, new = (_read(tables[name]) for tables in found)
        if len(old) != len(new):
            notes.append(f"`{name}` has {len(new)} rows instead of {len(old)}")
        cells += _differences(name, old, new)
    return notes, cells, len({*found[0], *found[1]})


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _differences(name: str, old: list[dict[str, str]], new: list[dict[str, str]]) -> list[Difference]:
    cells = []
    for line, (one, other) in enumerate(zip_longest(old, new, fillvalue={}), start=2):
        subject = []
        for text in (other or one).values():  # what a row is about stands in front of its numbers
            if "." in text or len(subject) == 4:
                break
            subject.append(text)
        cells += [
            Difference(name, line, " ".join(subject), column, one.get(column, ""), other.get(column, ""))
            for column in dict.fromkeys([*one, *other])
            if one.get(column, "") != other.get(column, "")
        ]
    return cells


def summary(notes: list[str], cells: list[Difference], count: int) -> str:
    """Return the text of differences.md."""
    tables: dict[str, list[Difference]] = {}
    for cell in cells:
        tables.setdefault(cell.table, []).append(cell)
    lines = ["# Tables of the default run", ""]
    if not notes and not tables:
        return "\n".join([*lines, f"Nothing changed in {count} tables.", ""])
    lines += [f"Cells differ in {len(tables)} of {count} tables.", *(f"\n- {note}" for note in notes)]
    for name, own in tables.items():
        largest = max((abs(cell.size) for cell in own if not math.isnan(cell.size)), default=math.nan)
        lines += ["", f"## {name}", "", f"{len(own)} cells" + (f", by at most {largest:.3g}" if largest >= 0 else "")]
        lines += ["", "| line | row | column | before | after | difference |", "| --- | --- | --- | --- | --- | --- |"]
        for cell in own[:MOST_SHOWN]:
            shown = (str(cell.line), cell.row, cell.column, cell.before, cell.after)
            texts = [text.replace("|", r"\|").replace("\n", " ") for text in shown]
            lines.append(f"| {' | '.join(texts)} | {'' if math.isnan(cell.size) else f'{cell.size:.3g}'} |")
        if len(own) > MOST_SHOWN:
            lines += ["", f"{len(own) - MOST_SHOWN} more in differences.csv."]
    return "\n".join([*lines, ""])


def main(before: Path, after: Path, out: Path) -> None:
    """Write and print what changed."""
    notes, cells, count = compare(before, after)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "differences.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([Difference._fields, *cells])
    text = summary(notes, cells, count)
    (out / "differences.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
