"""Edits of a checkout and what they compute, for the tests of invalidation."""

from pathlib import Path

FIGURES = {
    "identifiability_evolution_figure", "identifiability_comparison_figure", "logit_increment_figure",
    "class_building_figure", "class_vs_context_figure",
}  # fmt: skip


def jobs(computed):
    return {job.split()[0] for job in computed}


def edit(file: Path, old: str, new: str):
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file}"
    file.write_text(text.replace(old, new))


SAME = "\n\nSAME = 0\n"


def add(file: Path, text: str = SAME):
    """Add a definition that changes no number."""
    file.write_text(file.read_text() + text)
