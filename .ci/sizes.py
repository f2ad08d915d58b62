"""How large the code is, beside what it should be at most. It prints and refuses nothing.

Counted are lines of Python and Snakemake as they stand in the files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
WORKFLOW = ("Snakefile", "workflow/Snakefile", "workflow/command.py", "workflow/rules/*.smk", "workflow/scripts/*.py")
MOST_OF_WORKFLOW, MOST_LINES, MOST_FILES, FEWEST_LINES = 1_100, 18_600, 215, 25
FOR_KEYS = {
    "arrays.py": "a type that modules with and without torch share",
    "batching.py": "shared by readers and writers, which need no model",
    "columns.py": "names in tables, shared by measures and figures",
    "csvfile.py": "every table is written by it",
    "data/mask.py": "shared by kinds of data sets and measures, which decode no images",
    "data/order.py": "shared by jobs that list, decode and join",
    "declared.py": "every job is imported by it",
    "errors.py": "whatever refuses something imports it",
    "explanations/attention.py": "an explanation; an edit computes no other one again",
    "explanations/graph.py": "shared by explanations with a backward pass, and by no others",
    "explanations/pixels.py": "for explanations of pixels alone",
    "h5.py": "everything that reads results imports it",
    "inference/sites.py": "names of sites, for jobs without torch",
    "measures/memory_composition.py": "a measure; an edit computes no other one again",
    "models/patch.py": "for explanations of pixels alone",
    "photos.py": "shared by figures and pages, which share no other code of pictures",
    "tables/published_values.py": "numbers of the paper, for planning without pandas",
    "terms.py": "the field's names and constants",
    "tuned_lens/map_names.py": "names in tables, which are made without torch",
    "tuned_lens/divergence.py": "shared by fitting and by looking, which do not share more",
    "units.py": "for commands that are light and heavy; no job imports it",
}
"""Modules of fewer lines, which are kept apart since a job's key covers every module that it imports."""


def lines_of(files: Iterable[Path]) -> int:
    """Return the lines of all files together."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def main() -> None:
    """Print the four numbers."""
    package = CHECKOUT / "classlens"
    modules = [file for file in package.rglob("*.py") if not file.is_relative_to(package / "store")]
    rules = [file for pattern in WORKFLOW for file in CHECKOUT.glob(pattern)]
    small = {
        str(file.relative_to(package)): lines
        for file in sorted(modules)
        if not file.stem.startswith("__") and (lines := lines_of([file])) < FEWEST_LINES
    }
    others = sorted(small.keys() - FOR_KEYS.keys())
    show("lines of rules and script", lines_of(rules), MOST_OF_WORKFLOW)
    show("lines of classlens/ without store", lines_of(modules), MOST_LINES)
    show("files of classlens/ without store", len(modules), MOST_FILES)
    show(f"modules of fewer than {FEWEST_LINES} lines that are not there for keys", len(others), 0)
    for name in others:
        print(f"    {name}: {small[name]}")
    print(f"modules of fewer than {FEWEST_LINES} lines that are there for keys: {len(small) - len(others)}")
    for name in sorted(small.keys() & FOR_KEYS.keys()):
        print(f"    {name}: {small[name]}, {FOR_KEYS[name]}")
    for name in sorted(FOR_KEYS.keys() - small.keys()):
        print(f"    {name}: is listed in .ci/sizes.py, but not that small, or gone")


def show(what: str, number: int, most: int) -> None:
    """Print a number and whether it is above its limit."""
    print(f"{what}: {number:,}, {'ABOVE' if number > most else 'within'} {most:,}")


if __name__ == "__main__":
    main()
