"""What the report shows of results that are there when it is made: tables, and its opening.

Light, and free of the catalog: every job reads its params through this module.
"""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

from classlens.shipped import workflow_folder
from classlens.store.job import JobParams

MOST_ROWS = 200
"""Rows of a table that the report shows; the file has all."""
MOST_FIGURES = 3
"""Figures that the report opens with."""
LENS_PAGES = Path("results/lens")
STYLE = workflow_folder() / "workflow/report/report.css"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


class ReportedJobs(list[JobParams]):
    """The jobs of a rule, as its `params` hold them, and what the report says of their results.

    Snakemake compares params by their `repr`, which has every job's key. It shows their `str`, which has names alone.
    """

    def __str__(self) -> str:
        return ", ".join(job["name"] for job in self)

    @property
    def shown(self) -> JobParams | None:
        """The one job whose results the report shows."""
        return next((job for job in self if job.get("caption")), None)

    @property
    def caption(self) -> str:
        """What the results show, as reStructuredText that says no more than the plain text."""
        return "".join(_as_typed(self.shown["caption"])) if self.shown else ""

    def tables(self, output: Mapping[str, str]) -> str:
        """Return the tables among the shown job's results as a block of reStructuredText, "" where there are none.

        Args:
            output: the rule's output by name.
        """
        job = self.shown or JobParams()
        names = (job.get("outputs") or {name: name for name, _ in output.items()}).values()
        paths = [str(output[name]) for name in names if str(output[name]).endswith(".csv")]
        return _raw("".join(map(table_html, paths))) if paths else ""

    @staticmethod
    def opening(files: Iterable[Any]) -> str:
        """Return what the report opens with, as a block of reStructuredText; templates reach no plain function.

        Args:
            files: Snakemake's records of the results in the report.
        """
        return _opening(files)


def _opening(files: Iterable[Any]) -> str:
    records = list(files)
    parts = [f"<h3>What was run</h3>{table_html(str(one.path))}" for one in records if one.path.name == "overview.csv"]
    pages = sorted(LENS_PAGES.glob("*.html"))
    if pages:
        links = ", ".join(f'<a href="{escape(str(page))}" target="_blank">{escape(page.stem)}</a>' for page in pages)
        parts.append(
            f"<h3>Image by image</h3><p>Every token of single images, in pages beside this report: {links}.</p>"
        )
    figures = _first_figures(records)
    if figures:
        parts.append("<h3>At a glance</h3>" + "".join(map(_figure_html, figures)))
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
    return sorted(kinds.values(), key=lambda one: not one.job.params.jobs.shown.get("opening"))[:MOST_FIGURES]


def _figure_html(record: Any) -> str:
    """Return a figure with its caption as HTML; a click shows it alone."""
    path = json.dumps(str(record.path))
    view = f"{{navbarMode: 'resultinfo', resultPath: {path}, content: 'img', contentPath: results[{path}].data_uri}}"
    picture = base64.encodebytes(record.path.read_bytes()).decode()
    caption = _text(record.job.params.jobs.shown["caption"])
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


def _as_typed(text: str) -> Iterator[str]:
    """Yield characters; a backslash before those that reStructuredText or HTML could read as more than text."""
    for character in text:
        yield f"\\{character}" if character in "\\`*_|<>:[]" else character
