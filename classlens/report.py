"""What the report shows of results that are there when it is made: tables, and its opening."""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

from classlens.shipped import workflow_folder

MOST_ROWS = 200
"""Rows of a table that the report shows; the file has all."""
MOST_FIGURES = 4
"""Figures that the report opens with."""
LENS_PAGES = Path("results/lens")
STYLE = workflow_folder() / "workflow/report/report.css"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def tables(paths: Sequence[str]) -> str:
    """Return tables as a block of reStructuredText, "" where there are none."""
    return _raw("".join(map(table_html, paths))) if paths else ""


def opening(files: Iterable[Any]) -> str:
    """Return what the report opens with, see `classlens.params.JobParams`."""
    records = list(files)
    figures = [_figure_html(record) for record in _first_figures(records)]
    parts = figures[:1]
    parts += [f"<h3>What was run</h3>{table_html(str(one.path))}" for one in records if one.path.name == "overview.csv"]
    pages = sorted(LENS_PAGES.glob("*.html"))
    if pages:
        links = ", ".join(f'<a href="{escape(str(page))}" target="_blank">{escape(page.stem)}</a>' for page in pages)
        parts.append(
            f"<h3>Image by image</h3><p>Every token of single images, in pages beside this report: {links}.</p>"
        )
    if figures[1:]:
        parts += ["<h3>All images</h3>", *figures[1:]]
    return _raw(_style() + "".join(parts))


def _style() -> str:
    """Return what styles the whole report from its opening, which is what it shows first.

    The opening leaves the page when a figure is shown, so its style is copied to where it stays. (Snakemake's own
    option for a style sheet would have to be given with every report: a profile's path is lost under --directory.)
    """
    keep = "document.head.append(this.nextElementSibling.cloneNode(true)); this.remove()"
    return f'<img alt="" src="{PIXEL}" onload="{keep}"><style>{STYLE.read_text(encoding="utf-8")}</style>'


def table_html(path: str) -> str:
    """Return a table's first rows as HTML, a line each; numbers have four digits."""
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = islice(csv.reader(file), MOST_ROWS + 1)
        more = sum(1 for _ in csv.reader(file))
    names = "".join(f"<th>{_text(name.replace('_', ' '))}</th>" for name in header)
    body = "".join(f"\n<tr>{''.join(f'<td>{_text(_short(cell))}</td>' for cell in row)}</tr>" for row in rows)
    cut = f"<p>The first {MOST_ROWS} of {len(rows) + more:,} rows; {_text(path)} has all.</p>" if more else ""
    return f'<div class="table"><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>{cut}'


def _first_figures(records: Iterable[Any]) -> list[Any]:
    """Return the figures to open with: those that are declared so, then others, one of each kind, in report order."""
    kinds: dict[str, Any] = {}
    for record in sorted(records, key=lambda one: (one.category.name, str(one.path))):
        if record.path.suffix == ".svg":
            kinds.setdefault(record.job.rule.name, record)
    return sorted(kinds.values(), key=lambda one: not one.job.params.job.get("opening"))[:MOST_FIGURES]


def _figure_html(record: Any) -> str:
    """Return a figure with its caption as HTML; a click shows it alone."""
    path = json.dumps(str(record.path))
    view = f"{{navbarMode: 'resultinfo', resultPath: {path}, content: 'img', contentPath: results[{path}].data_uri}}"
    picture = base64.encodebytes(record.path.read_bytes()).decode()
    caption = _text(record.job.params.job["caption"])
    return (
        f'<figure><a href="javascript:void app.setView({escape(view)})"><img alt="{escape(record.path.stem)}" '
        f'src="data:image/svg+xml;base64,{picture}"></a><figcaption>{caption}</figcaption></figure>'
    )


def _raw(html: str) -> str:
    """Return HTML without empty lines as a block of reStructuredText, which refuses lines of 10,000 characters."""
    lines = "\n".join(f"   {line}" for line in html.splitlines())
    return f"\n\n.. raw:: html\n\n{lines}\n\n" if html else ""


def _text(text: str) -> str:
    """Return text for HTML, in one line."""
    return escape(" ".join(text.split()))


def _short(cell: str) -> str:
    """Return a cell with a number that has decimals rounded."""
    try:
        number = float(cell)
    except ValueError:
        return cell
    return f"{number:.4g}" if math.isfinite(number) and not cell.lstrip("+-").isdigit() else cell


def as_typed(text: str) -> str:
    """Return a text with a backslash before the characters that reStructuredText or HTML reads as more than text."""
    return "".join(f"\\{character}" if character in "\\`*_|<>:[]" else character for character in text)
