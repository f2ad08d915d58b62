"""What a run of a config makes: of which models which analyses, explanations, tables, figures and pages."""

from __future__ import annotations

from classlens.catalog import applicable, files
from classlens.catalog.analyses import ANALYSES, GROUPS
from classlens.catalog.job import RANKS, Analysis, Wildcards
from classlens.catalog.methods import applicable_methods
from classlens.config.config import Config
from classlens.errors import InputError
from classlens.tables.numbers import CITED
from classlens.tables.published_values import PUBLISHED
from classlens.terms import SITES


def runs(config: Config, group: str) -> list[str]:
    """Return the models for which `all` runs a group of analyses.

    Random twins are only compared with, and of a series it is the last point.
    """
    return [
        name
        for name, entry in config.models.items()
        if _is_measured(config, name, group) and (entry["analyses"] is None or group in entry["analyses"])
    ]


def _is_measured(config: Config, model: str, group: str) -> bool:
    return not config.is_derived(model) and applies(config, model, group)


def applies(config: Config, model: str, group: str) -> bool:
    """Tell whether a group of analyses has a meaning for a model."""
    return all(applicable.has(config, model, need) for need in GROUPS[group].needs)


def compared_models(config: Config, analysis: Analysis) -> list[str]:
    """Return the models that a table or figure puts side by side, in display order.

    These are the models that run it; if none does, so that it was asked for by name, all to which it applies.

    Raises:
        InputError: there is none.
    """
    group = analysis.group
    own = runs(config, group) or [name for name in config.models if _is_measured(config, name, group)]
    shown = {*own, *(config.twin(name) for name in own if analysis.twins)}
    if not own:
        raise InputError(f"{analysis.name} applies to no model of the config")
    return [name for name in config.models if name in shown]


def measured_models(config: Config, analysis: Analysis) -> list[str]:
    """Return the models for which `all` measures an analysis: those that run it, and twins where it shows them."""
    own = runs(config, analysis.group)
    return [*own, *(twin for name in own if analysis.twins and (twin := config.twin(name)))]


def overviewed_models(config: Config) -> list[str]:
    """Return the models that the report's overview lists: those that an analysis runs for, else all but twins."""
    ran = {model for group in GROUPS for model in runs(config, group)}
    return [name for name in config.models if name in ran or not (ran or config.is_derived(name))]


def explained_methods(config: Config, model: str) -> list[str]:
    """Return the explanations that `all` computes for a model: its `methods`, where an analysis compares them."""
    asked = any(model in runs(config, group) for group in ("faithfulness", "segmentation", "explanation_quality"))
    return applicable.methods(config, model) if asked else []


def probed_sites(config: Config) -> list[str]:
    """Return the sites that linear probes read: those that are listed, and what the explanation `probe` needs."""
    listed = set(config.probes["sites"])
    if "residual" not in listed and any("probe" in explained_methods(config, model) for model in config.models):
        listed.add("residual")
    return [site for site in SITES if site in listed]


def wanted_figures(config: Config) -> list[str]:
    """Return the names of the figures of `all`: of differences, and those of analyses that some model runs.

    Of these the config may list some.
    """
    names = [f"difference_{pair}" for pair in config.pairs()]
    for name, analysis in ANALYSES.items():
        models = runs(config, analysis.group)
        if analysis.figure and models and (config.figures is None or name in config.figures):
            names += [f"{name}_{model}" for model in models] if analysis.one_model else [name]
    return names


def wanted_tables(config: Config) -> list[str]:
    """Return the names of the tables of `all` that no figure is drawn from."""
    names = [name for name, analysis in ANALYSES.items() if not analysis.figure and runs(config, analysis.group)]
    published = set(PUBLISHED) & set(runs(config, ANALYSES["identifiability_rates"].group))
    overview = ["overview"] if any(runs(config, group) for group in GROUPS) else []
    return [*overview, *names, *(["published_comparison"] if published else [])]


def point_tables(config: Config) -> list[str]:
    """Return the tables of `all` of points of series that training went on from, those of `series.analyses`."""
    return [
        analysis.table_path(table).format(model=model)
        for model in config.models
        if config.is_passing(model)
        for analysis in ANALYSES.values()
        if analysis.group in config.series["analyses"] and applies(config, model, analysis.group)
        for table in analysis.tables.values()
    ]


def cited_tables(config: Config) -> list[str]:
    """Return the tables of `all` whose numbers results/numbers.tex has."""
    return [name for name in wanted_tables(config) if name in CITED]


def wanted_pages(config: Config) -> list[str]:
    """Return the models whose lens pages, which show ranks, belong to `all`: every one but random twins and scores.

    None, where pages show no images.
    """
    shown = [name for name in config.models if config.lens_page["images"] and not config.is_twin(name)]
    return [name for name in shown if applicable.has(config, name, RANKS)]


def page_methods(config: Config, model: str) -> list[str]:
    """Return the explanations that a model's lens page shows: those that are compared, else those listed for pages.

    Points of a series that training went on from show none, as each would take a pass.
    """
    listed = [] if config.is_passing(model) else config.lens_page["explanations"]
    there = applicable_methods(config.architecture(model)["lacks"])
    return explained_methods(config, model) or [name for name in there if name in listed]


def page_explanations(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the files of the explanations that a model's lens page shows."""
    model = wildcards["model"]
    return [f"results/{model}/explanation/{one}.h5" for one in page_methods(config, model)]


def page_tuned_lens(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the files of the tuned lens that a model's lens page shows, none where the config does not run it."""
    return files.TUNED_LENS(config, wildcards) if wildcards["model"] in runs(config, "tuned_lens") else []


def page_words(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the words of a model's heads for its lens page, none where the config does not ask for them."""
    return [files.HEAD_WORDS.format(**wildcards)] if wildcards["model"] in runs(config, "head_words") else []
