"""Everything that is declared, in the order of the report."""

from __future__ import annotations

from classlens.catalog import (
    ablation,
    explanations,
    identifiability,
    memories,
    perturbations,
    series,
    shortcuts,
    tuned_lens,
    words,
)
from classlens.catalog.job import Analysis, Job, Pass

PARTS = (identifiability, memories, ablation, words, tuned_lens, perturbations, explanations, series, shortcuts)
PASSES: dict[str, Pass] = {one.name: one for part in PARTS for one in part.PASSES}
JOBS: dict[str, Job] = {job.name: job for part in PARTS for job in part.JOBS}
"""Jobs of a model that are neither passes nor analyses."""
ANALYSES: dict[str, Analysis] = {analysis.name: analysis for part in PARTS for analysis in part.ANALYSES}
GROUPS: dict[str, Analysis] = {analysis.group: analysis for analysis in ANALYSES.values()}
"""What a config may list as `analyses`, with one analysis of each: what a model must have is the same in a group."""
FIGURES = tuple(name for name, analysis in ANALYSES.items() if analysis.figure)
STACKED: dict[str, Analysis] = {
    table: analysis for analysis in ANALYSES.values() if not analysis.one_model for table in analysis.tables.values()
}
"""Tables that put models side by side."""
SECTIONS = tuple(dict.fromkeys(analysis.section for analysis in ANALYSES.values()))
"""Sections of the report."""


def numbered(section: str) -> str:
    """Return a section's title with its number, since the report sorts titles."""
    return f"{SECTIONS.index(section) + 1:0{len(str(len(SECTIONS)))}} {section}"
