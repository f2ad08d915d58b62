"""Every kind of job: those of analyses and their figures, and those that data, weights and tokens come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from classlens.catalog import settings
from classlens.catalog.analyses import ANALYSES, GROUPS, STACKED
from classlens.catalog.job import ATTRIBUTION, MASKS, TRAINING_IMAGES, Analysis, Figure, Job, Wildcards

if TYPE_CHECKING:
    from classlens.config import Config

RAW = (settings.raw_folders, settings.threads)


def overviewed_models(config: Config) -> list[str]:
    """Return the models that the report's overview lists: those that an analysis runs for, else all but twins."""
    ran = {model for group in GROUPS for model in config.runs(group)}
    return [name for name in config.models if name in ran or not (ran or config.is_twin(name))]


def overview_rows(config: Config, _wildcards: Wildcards) -> dict[str, list[dict[str, Any]]]:
    """What the config and architectures say of the overview's models."""
    return {"models": [settings.facts(config, name) for name in overviewed_models(config)]}


def intervals(config: Config, _wildcards: Wildcards) -> dict[str, Any]:
    """What intervals of tables are."""
    return {key: config.statistics[key] for key in ("confidence", "resamples")}


OTHER_JOBS = (
    Job("stimuli", "classlens.data.listing:list_stimuli", (settings.selection,), RAW, plugins=settings.source),
    Job("mask_list", "classlens.data.listing:list_masks", (), RAW, plugins=settings.source),
    Job(
        "pixels",
        "classlens.data.pixels:write_pixels",
        (settings.geometry, settings.split, settings.decoding),
        RAW,
        plugins=settings.source,
    ),
    Job(
        "pixels_part",
        "classlens.data.pixels:write_pixels",
        (settings.geometry, settings.split, settings.part, settings.decoding),
        RAW,
        plugins=settings.source,
    ),
    Job("join_pixels", "classlens.data.join:join_pixels", (settings.split,)),
    Job(
        "masks",
        "classlens.data.pixels:write_masks",
        (settings.geometry, settings.decoding),
        RAW,
        plugins=settings.source,
    ),
    Job(
        "token_labels",
        "classlens.data.labels:write_token_labels",
        (settings.token_grid, settings.labelling),
        (settings.raw_folders,),
        needs=(MASKS,),
        plugins=settings.source,
    ),
    Job("weights", "classlens.models.weights:write_weights", (settings.architecture, settings.origin)),
    Job(
        "train",
        "classlens.models.train:train",
        (settings.architecture, settings.normalisation, settings.recipe),
        (settings.device,),
    ),
    Job("extract", "classlens.extraction.extract:extract_shard", (settings.network, settings.shard), settings.RUNNING),
    Job("gather", "classlens.extraction.gather:gather", local=(settings.threads,)),
    Job("join", "classlens.joining:join"),
    Job("identifiability", "classlens.measures.identifiability:identifiability"),
    Job("memory_parameters", "classlens.memories.parameters:write_parameters"),
    Job("block_memories", "classlens.memories.agreement:block_memories", (settings.branch, settings.seed)),
    Job(
        "perturb_attention",
        "classlens.perturbation.attention:perturb_attention",
        (settings.network, settings.attention_kind, settings.shard),
        settings.RUNNING,
    ),
    Job(
        "perturb_tokens",
        "classlens.perturbation.removal:perturb_tokens",
        (settings.network, settings.token_kind, settings.shard),
        settings.RUNNING,
        needs=(MASKS,),
    ),
    Job(
        "explanation",
        "classlens.explanations.write:write_explanation",
        (settings.network, settings.shard),
        settings.RUNNING,
        plugins=settings.explain,
    ),
    Job(
        "cause_sums",
        "classlens.causes.sums:write_sums",
        (settings.network, settings.shard),
        settings.RUNNING,
        plugins=settings.summed,
    ),
    Job("head_means", "classlens.causes.means:head_means"),
    Job("token_means", "classlens.causes.means:token_means", (settings.outlier_norm,)),
    Job(
        "head_effects",
        "classlens.causes.heads:head_effects",
        (settings.network, settings.shard),
        settings.RUNNING,
        needs=(ATTRIBUTION,),
    ),
    Job(
        "token_effects",
        "classlens.causes.tokens:token_effects",
        (settings.network, settings.outlier_norm, settings.seed, settings.shard),
        settings.RUNNING,
    ),
    Job(
        "tuned_lens_sums",
        "classlens.tuned_lens.sums:write_sums",
        (settings.network, settings.seed, settings.training_shard),
        settings.RUNNING,
        needs=(TRAINING_IMAGES,),
    ),
    Job(
        "fit_tuned_lens",
        "classlens.tuned_lens.write:fit_tuned_lens",
        (settings.network, settings.tuned_lens, settings.seed),
        settings.RUNNING,
        needs=(TRAINING_IMAGES,),
    ),
    Job(
        "look_through_tuned_lens",
        "classlens.tuned_lens.look:look_through_tuned_lens",
        (settings.network, settings.shard),
        settings.RUNNING,
    ),
    Job("gather_tuned_lens", "classlens.tuned_lens.gather:gather_tuned_lens"),
    Job(
        "attribute_logits",
        "classlens.attribution.write:write_attribution",
        (settings.network, settings.shard),
        settings.RUNNING,
        needs=(ATTRIBUTION,),
    ),
    Job(
        "random_explanation",
        "classlens.explanations.random:write_random_explanation",
        (settings.image_tokens, settings.seed),
    ),
    Job(
        "remove_tokens",
        "classlens.faithfulness.curves:removal_curves",
        (settings.network, settings.removal),
        settings.RUNNING,
    ),
    Job(
        "remove_tokens_shard",
        "classlens.faithfulness.curves:remove_tokens",
        (settings.network, settings.removal, settings.shard),
        settings.RUNNING,
    ),
    Job("join_removal_curves", "classlens.faithfulness.joined:join_removal_curves", (settings.removal_seeds,)),
    Job(
        "remove_pixels",
        "classlens.faithfulness.pixels:pixel_removal",
        (settings.network, settings.removal_seeds),
        settings.RUNNING,
    ),
    Job(
        "remove_pixels_shard",
        "classlens.faithfulness.pixels:remove_pixels",
        (settings.network, settings.removal_seeds, settings.shard),
        settings.RUNNING,
    ),
    Job("join_pixel_curves", "classlens.faithfulness.joined:join_pixel_curves", (settings.removal_seeds,)),
    Job(
        "randomised_explanation",
        "classlens.explanations.randomisation:randomised_explanations",
        (settings.network, settings.randomised_images),
        settings.RUNNING,
        plugins=settings.explain,
    ),
    Job(
        "linear_probe",
        "classlens.probes.fit:linear_probe",
        (settings.network, settings.probed),
        (*settings.RUNNING, settings.probe_memory),
        needs=(TRAINING_IMAGES,),
    ),
    Job("probe_explanation", "classlens.probes.importance:probe_explanation", needs=(TRAINING_IMAGES,)),
    Job("overview", "classlens.tables.overview:overview", (overview_rows, settings.resampling)),
    Job("lens_page", "classlens.page.write:write_lens_page", (settings.lens_page,)),
    Job("published_comparison", "classlens.tables.published:published_comparison"),
    Job("numbers", "classlens.tables.numbers:write_numbers", (intervals,)),
)


def stacked_models(config: Config, wildcards: Wildcards) -> dict[str, list[str]]:
    """The models that a table puts side by side."""
    return {"models": config.compared_models(STACKED[wildcards["comparison"]])}


def stacked_correction(config: Config, wildcards: Wildcards) -> dict[str, str]:
    """How the p-values of a table are corrected, if it has any."""
    return settings.significance(config, wildcards) if STACKED[wildcards["comparison"]].tested else {}


def _figure_job(analysis: Analysis, figure: Figure) -> Job:
    def labels(config: Config, _wildcards: Wildcards) -> dict[str, list[list[str]]]:
        names = config.compared_models(analysis)
        return {"models": [[name, config.models[name]["label"]] for name in names if not config.is_twin(name)]}

    whose = settings.label if analysis.one_model else labels
    needs = analysis.needs if analysis.one_model else ()
    return Job(f"{analysis.name}_figure", figure.function, (whose, *figure.settings), needs=needs)


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        *OTHER_JOBS,
        Job("comparison_table", "classlens.tables.combine:stacked_table", (stacked_models, stacked_correction)),
        *(analysis.job for analysis in ANALYSES.values()),
        *(_figure_job(analysis, analysis.figure) for analysis in ANALYSES.values() if analysis.figure),
    )
}
