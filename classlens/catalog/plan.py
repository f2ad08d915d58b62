"""What a run makes, and how a job is described to the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classlens.catalog import settings
from classlens.catalog.analyses import ANALYSES, GROUPS
from classlens.catalog.job import TRAINING_IMAGES, Analysis, Setting, Wildcards
from classlens.catalog.jobs import JOBS
from classlens.catalog.settings import HEATMAP_IMAGES
from classlens.explanations.methods import METHODS, Method
from classlens.params import JobParams
from classlens.store.key import JobKey, code_key
from classlens.tables.numbers import CITED
from classlens.tables.published_values import PUBLISHED

if TYPE_CHECKING:
    from classlens.config import Config

LABELLED = {
    "majority": "at least half of their pixels lie in the mask",
    "corner": "as the published code labels them, by one pixel of the mask",
}
"""Which tokens show the class, by how masks label them."""
REGISTERS = (
    " Registers and distillation tokens are neither [CLS] nor image tokens and are left out; layer files have them."
)


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
    overview = ["overview"] if any(config.runs(group) for group in GROUPS) else []
    return [*overview, *names, *(["published_comparison"] if published else [])]


def cited_tables(config: Config) -> list[str]:
    """Return the tables of `all` whose numbers results/numbers.tex has."""
    return [name for name in wanted_tables(config) if name in CITED]


def wanted_pages(config: Config) -> list[str]:
    """Return the models whose lens pages belong to `all`: every one but random twins, unless pages show no images."""
    return [name for name in config.models if config.lens_page["images"] and not config.is_twin(name)]


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


def _merged(parts: tuple[Setting, ...], config: Config, wildcards: Wildcards) -> dict[str, Any]:
    return {key: value for setting in parts for key, value in setting(config, wildcards).items()}


@cache  # The code of a rule is the same for its thousands of jobs.
def _code_key(functions: tuple[tuple[str, str], ...], root: Path) -> JobKey:
    return code_key(dict(functions), root)


def report_caption(text: str, config: Config, wildcards: Wildcards, analysis: Analysis | None = None) -> str:
    """Fill in a caption and say what it was measured on.

    Args:
        text: with the keys of the values below; "" stays so.
        analysis: what it belongs to; None where the text says by itself what there is to say.
    """
    if not text:
        return ""
    values = {
        "resamples": f"{config.statistics['resamples']:,}",
        "heatmap_images": len(config.explanations["images"] or range(HEATMAP_IMAGES)),
        "correction": {"holm": "Holm", "fdr_bh": "Benjamini-Hochberg"}[config.statistics["correction"]],
        "heatmap_method": _described(METHODS[config.explanations["heatmap_method"]]),
        "randomised": config.explanations["randomised_images"],
        "outlier_rule": _outlier_rule(config.outliers["norm"]),
    }
    if "model" in wildcards:
        values["model"] = wildcards["model"]
        values["class_tokens"] = LABELLED[config.dataset(wildcards["model"])["token_labels"]]
    models = _shown_models(config, wildcards, analysis) if analysis else []
    others = any(config.architecture(model)["num_prefix_tokens"] > 1 for model in models)
    values["registers"] = REGISTERS if others else ""
    return text.format(**values) + (_sample(config, models, analysis) if analysis else "")


def _outlier_rule(norm: float | None) -> str:
    return "the median of its block's image tokens + 6 median absolute deviations" if norm is None else f"{norm:g}"


def _described(method: Method) -> str:
    return f"{method.label} ({method.maps_of})" if method.maps_of else method.label


def _shown_models(config: Config, wildcards: Wildcards, analysis: Analysis) -> list[str]:
    return [wildcards["model"]] if analysis.one_model else config.compared_models(analysis)


def _sample(config: Config, models: Sequence[str], analysis: Analysis) -> str:
    """Say how many images and resamples results rest on."""
    datasets = dict.fromkeys(config.models[model]["dataset"] for model in models)
    images = [f"{config.images(name):,} evaluation images of {name}" for name in datasets if analysis.of_images]
    if TRAINING_IMAGES in analysis.needs:
        images += [f"{config.images(name, 'training'):,} training images of {name}" for name in datasets]
    parts = [f"measured on {' and '.join(images)}"] if images else []
    if settings.resampling in analysis.settings:
        resamples, confidence = config.statistics["resamples"], config.statistics["confidence"]
        parts.append(f"{resamples:,} resamples, {100 * confidence:g} % intervals")
    text = "; ".join(parts)
    return f" {text[0].upper()}{text[1:]}." if text else ""
