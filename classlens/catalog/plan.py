"""What a run makes, and how a job is described to the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classlens.catalog.analyses import ANALYSES
from classlens.catalog.job import Setting, Wildcards
from classlens.catalog.jobs import JOBS
from classlens.explanations.methods import METHODS
from classlens.store.job import JobParams
from classlens.store.key import JobKey, code_key
from classlens.tables.published_values import PUBLISHED

if TYPE_CHECKING:
    from classlens.config import Config

LABELLED = {
    "majority": "at least half of their pixels lie in the mask",
    "corner": "as the published code labels them, by one pixel of the mask",
}
"""Which tokens show the class, by how masks label them."""


def wanted_figures(config: Config) -> list[str]:
    """Return the names of the figures of `all`: those that the config lists, of analyses that some model runs."""
    names = []
    for name, analysis in ANALYSES.items():
        models = config.runs(analysis.group)
        if analysis.figure and models and (config.figures is None or name in config.figures):
            names += [f"{name}_{model}" for model in models] if analysis.one_model else [name]
    return names


def wanted_tables(config: Config) -> list[str]:
    """Return the names of the tables of `all` that no figure is drawn from."""
    names = [name for name, analysis in ANALYSES.items() if not analysis.figure and config.runs(analysis.group)]
    published = set(PUBLISHED) & set(config.runs(ANALYSES["identifiability_rates"].group))
    return [*names, "published_comparison"] if published else names


def describe_job(name: str, config: Config, wildcards: Wildcards, root: Path, **files: Any) -> JobParams:
    """Return what travels in a rule's `params`.

    Args:
        name: of the job.
        config: the whole config.
        wildcards: of the job.
        root: the checkout.
        files: `inputs`, names of the rule's inputs that the job gets, and `outputs`, the rule's name of each of its
            own; all, where the rule has one job.

    Returns:
        name; functions (the job's own and its plug-ins); config (shapes the result, part of the key); local (does not);
        wildcards; key (digest of code, versions and config), by which the scheduler sees what an edit may affect.

    Raises:
        InputError: the job does not apply to the model.
        KeyError: there is no such job.
    """
    job = JOBS[name]
    for need in job.needs:
        config.require(wildcards["model"], need, name)
    plugins = job.plugins(config, wildcards) if job.plugins else {}
    functions = {"": job.function, **plugins}
    own = _merged(job.settings, config, wildcards)
    return JobParams(
        name=name,
        functions=functions,
        config=own,
        local=_merged(job.local, config, wildcards),
        wildcards=dict(wildcards),
        key=key_without_inputs(functions, own, root).digest,
        **files,
    )


def key_without_inputs(functions: Mapping[str, str], config: dict[str, Any], root: Path) -> JobKey:
    """Return the part of a job's key that is known before its inputs."""
    return replace(_code_key(tuple(functions.items()), root), config=config)


def key_now(config: Config, root: Path) -> Callable[[str, Wildcards], JobKey]:
    """Return what tells the key that a recorded job would have now, without its inputs."""

    def key(name: str, wildcards: Wildcards) -> JobKey:
        described = describe_job(name, config, wildcards, root)
        return key_without_inputs(described["functions"], described["config"], root)

    return key


def _merged(settings: tuple[Setting, ...], config: Config, wildcards: Wildcards) -> dict[str, Any]:
    return {key: value for setting in settings for key, value in setting(config, wildcards).items()}


@cache  # The code of a rule is the same for its thousands of jobs.
def _code_key(functions: tuple[tuple[str, str], ...], root: Path) -> JobKey:
    return code_key(dict(functions), root)


def report_caption(text: str, config: Config, wildcards: Wildcards) -> str:
    """Fill in a caption and make it safe as reStructuredText: names are shown as typed.

    Args:
        text: with the keys of the values below.
    """
    values = {
        "correction": {"holm": "Holm", "fdr_bh": "Benjamini-Hochberg"}[config.statistics["correction"]],
        "heatmap_method": METHODS[config.explanations["heatmap_method"]].label,
    }
    if "model" in wildcards:
        values["model"] = wildcards["model"]
        values["class_tokens"] = LABELLED[config.dataset(wildcards["model"])["token_labels"]]
    return "".join(_escaped(text.format(**values)))


def _escaped(text: str) -> Iterator[str]:
    """Yield characters; a backslash before those that reStructuredText or HTML could read as more than text."""
    for character in text:
        yield f"\\{character}" if character in "\\`*_|<>:[]" else character
