"""Numbers of tables as LaTeX macros, so that a paper cites what was computed."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from itertools import count

from classlens.digest import digest_file

CITED = ("overview", "identifiability_rates", "published_comparison")
"""Tables whose numbers a paper cites, in the order of the file."""
SUBJECTS = ("model", "quantity")
"""Columns that say what a row's numbers are of."""
DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
BOUNDS = {"ci_low": "accuracy_low", "ci_high": "accuracy_high"}
"""Columns of the overview that do not say what they bound."""
SPECIAL = {
    **{character: f"\\{character}" for character in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "\n": " ",
}
HEAD = r"""% Numbers of a run of classlens, from its tables under results/tables/:
{sources}
% A macro is \cl, table, model, (quantity,) column: each word capitalised, digits spelled. It has the table's digits.
% ...Low and ...High bound the interval: {confidence:g} %, {resamples:,} bootstrap samples of the images.
% \clWithInterval{{OverviewVitAccuracy}} prints a number and its interval. Redefine \clNumber to round: \num of siunitx.
\providecommand{{\clNumber}}[1]{{\ensuremath{{#1}}}}
\providecommand{{\clWithInterval}}[1]{{%
  \clNumber{{\csname cl#1\endcsname}}
  [\clNumber{{\csname cl#1Low\endcsname}}, \clNumber{{\csname cl#1High\endcsname}}]}}
\newcommand{{\clConfidencePercent}}{{{confidence:g}}}
\newcommand{{\clResamples}}{{{resamples}}}
"""


def write_numbers(numbers: str, confidence: float, resamples: int, **tables: str) -> None:
    """Write a macro for each cell of tables, model by model; empty cells have none.

    Args:
        numbers: the file to write, LaTeX in UTF-8.
        confidence: level of the intervals, 0 to 1.
        resamples: their number of bootstrap samples.
        tables: by name, those of `CITED` that there are.
    """
    named = {name: tables[name] for name in CITED if name in tables}
    sources = "\n".join(f"%   {name}.csv, SHA-256 {digest_file(path)}" for name, path in named.items())
    rows = [(name, row) for name, path in named.items() for row in _rows(path)]
    taken: set[str] = set()
    lines = []
    for model in dict.fromkeys(row["model"] for _, row in rows):
        own = [(name, row) for name, row in rows if row["model"] == model]
        macros = next(found for found in _candidates(model, own) if not taken & found.keys())
        taken |= macros.keys()
        lines += [f"\n% {model}\n", *(f"\\newcommand{{\\{macro}}}{{{text}}}\n" for macro, text in macros.items())]
    head = HEAD.format(sources=sources, confidence=100 * confidence, resamples=resamples)
    with open(numbers, "w", encoding="utf-8", newline="\n") as file:
        file.writelines([head, *lines])


def spelled(name: str) -> str:
    """Return a name in letters alone: vit_b-16 is VitBOneSix."""
    words = re.findall(r"[0-9]|[A-Za-z]+", name)
    return "".join(DIGITS[int(word)] if word.isdigit() else word[0].upper() + word[1:] for word in words)


def escaped(text: str) -> str:
    """Return text as LaTeX prints it."""
    return "".join(SPECIAL.get(character, character) for character in text)


def _rows(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _candidates(model: str, rows: list[tuple[str, dict[str, str]]]) -> Iterable[Mapping[str, str]]:
    """Yield a model's macros, then the same with a number in their names, for where other models' are called so."""
    for number in count(1):
        name = spelled(model) + (spelled(str(number)) if number > 1 else "")
        yield {
            f"cl{spelled(table)}{name}{spelled(row.get('quantity', ''))}{_column(column)}": escaped(text)
            for table, row in rows
            for column, text in row.items()
            if column not in SUBJECTS and text
        }


def _column(name: str) -> str:
    return spelled(BOUNDS.get(name, name).replace("_ci_", "_"))
