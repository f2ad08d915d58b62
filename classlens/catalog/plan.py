"""How a job is described to the scheduler, and to readers of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from classlens.catalog import applicable, planning
from classlens.catalog.job import TRAINING_IMAGES, Analysis, Job, Wildcards
from classlens.catalog.methods import METHODS
from classlens.catalog.settings import HEATMAP_IMAGES, settings_of
from classlens.config.config import Config
from classlens.params import JobParams
from classlens.store.code import Known
from classlens.store.key import JobKey, code_key

KNOWN = Known()
"""Of the code, while this process plans."""
LABELLED = {
    "majority": "at least half of their pixels lie in the mask",
    "corner": "as the published code labels them, by one pixel of the mask",
}
"""Which tokens show the class, by how masks label them."""
SIGNED = "Red is evidence for the class, blue against it"
NEVER_NEGATIVE = "The redder and the less transparent, the more important"
MEDIAN_RULE = "the median of its block's image tokens + 6 median absolute deviations"
REGISTERS = (
    " Registers and distillation tokens are neither [CLS] nor image tokens and are left out; layer files have them."
)


def describe(job: Job, config: Config, wildcards: Wildcards, root: Path, **more: Any) -> JobParams:
    """Return what travels in a rule's `params`.

    Args:
        job: the job.
        config: the whole config.
        wildcards: of the job.
        root: the checkout.
        more: what else the rule says.

    Returns:
        name; functions (the job's own and those that it is given); config (shapes the result, part of the key); local
        (does not); wildcards; declared (see `Job.declared`); key (digest of code, versions and config), by which
        the scheduler sees what an edit may affect.

    Raises:
        InputError: the job does not apply to the model.
    """
    for need in job.needs:
        applicable.require(config, wildcards["model"], need, job.name)
    functions, own = _resolved(job.declared, config, wildcards)
    return JobParams(
        name=job.name,
        functions=functions,
        config=own,
        local=settings_of(job.local, config, wildcards),
        wildcards=dict(wildcards),
        declared=job.declared,
        key=key_without_inputs(functions, own, root).digest,
        **more,
    )


def key_now(declared: Mapping[str, Any], config: Config, wildcards: Wildcards, root: Path) -> JobKey:
    """Return the key that a recorded job would have now, without its inputs."""
    return key_without_inputs(*_resolved(declared, config, wildcards), root)


def _resolved(
    declared: Mapping[str, Any], config: Config, wildcards: Wildcards
) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the functions that a job is given and its part of the config."""
    known = {**wildcards, "analysis": declared["analysis"]}
    functions = {**declared["functions"], **settings_of(declared["plugins"], config, known)}
    return functions, settings_of(declared["settings"], config, known)


def key_without_inputs(functions: Mapping[str, str], config: dict[str, Any], root: Path) -> JobKey:
    """Return the part of a job's key that is known before its inputs."""
    return replace(_code_key(tuple(functions.items()), root), config=config)


@cache  # The code of a rule is the same for its thousands of jobs.
def _code_key(functions: tuple[tuple[str, str], ...], root: Path) -> JobKey:
    return code_key(dict(functions), root, KNOWN)


def report_caption(text: str, config: Config, wildcards: Wildcards, analysis: Analysis | None = None) -> str:
    """Fill in a caption and say what it was measured on.

    Args:
        text: with the keys of the values below; "" stays so.
        analysis: what it belongs to; None where the text says by itself what there is to say.
    """
    if not text:
        return ""
    heatmap_method, norm = METHODS[config.explanations["heatmap_method"]], config.outliers["norm"]
    maps_of = f" ({heatmap_method.maps_of})" if heatmap_method.maps_of else ""
    values = {
        "resamples": f"{config.statistics['resamples']:,}",
        "heatmap_images": len(config.explanations["images"] or range(HEATMAP_IMAGES)),
        "correction": {"holm": "Holm", "fdr_bh": "Benjamini-Hochberg"}[config.statistics["correction"]],
        "heatmap_method": f"{heatmap_method.label}{maps_of}",
        "heatmap_colours": SIGNED if heatmap_method.signed else NEVER_NEGATIVE,
        "randomised": config.explanations["randomised_images"],
        "outlier_rule": MEDIAN_RULE if norm is None else f"{norm:g}",
    }
    if "model" in wildcards:
        values["model"] = wildcards["model"]
        values["attribute"] = config.spurious(config.models[wildcards["model"]]["dataset"])
        values["class_tokens"] = LABELLED[config.dataset(wildcards["model"])["token_labels"]]
    if "pair" in wildcards:
        values["pair"] = " and ".join(config.pairs()[wildcards["pair"]])
    models = []
    if analysis:
        models = [wildcards["model"]] if analysis.one_model else planning.compared_models(config, analysis)
    others = any(config.architecture(model)["num_prefix_tokens"] > 1 for model in models)
    values["registers"] = REGISTERS if others else ""
    return text.format(**values) + (_sample(config, models, analysis) if analysis else "")


def _sample(config: Config, models: Sequence[str], analysis: Analysis) -> str:
    """Say how many images and resamples results rest on."""
    datasets = dict.fromkeys(config.models[model]["dataset"] for model in models)
    images = [f"{config.images(name):,} evaluation images of {name}" for name in datasets if analysis.of_images]
    if TRAINING_IMAGES in analysis.needs:
        images += [f"{config.images(name, 'training'):,} training images of {name}" for name in datasets]
    parts = [f"measured on {' and '.join(images)}"] if images else []
    if "resampling" in analysis.settings:
        resamples, confidence = config.statistics["resamples"], config.statistics["confidence"]
        parts.append(f"{resamples:,} resamples, {100 * confidence:g} % intervals")
    text = "; ".join(parts)
    return f" {text[0].upper()}{text[1:]}." if text else ""
