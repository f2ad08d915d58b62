"""Each figure with a table of its own and the arguments that jobs hand it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import figure_tables as tables
import numpy as np
import pandas as pd
from figure_tables import BOTH
from matplotlib.figure import Figure

from classlens.catalog.analyses import ANALYSES, JOBS
from classlens.columns import TWIN as TWIN_ROWS
from classlens.csvfile import read_table
from classlens.declared import load

IMAGE = ("image",)
TWIN = "random twin of all"
CHANCE_LEVEL = 0.55
"""(C + 1) / 2C with ten classes."""
PHOTO = 255 * np.random.default_rng(0).random((12, 8, 3))
PHOTOS = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), np.uint8)


@dataclass
class Case:
    """One figure of its tables, by the argument that takes each.

    `shown` says of other texts than labels whether they are there.
    """

    figure: str
    tables: dict[str, pd.DataFrame]
    arguments: dict[str, Any]
    labels: list[str]
    shown: dict[str, bool] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        return self.tables["table"]

    def files(self, folder: Path) -> dict[str, str]:
        return {name: tables.written(table, folder / f"{name}.csv") for name, table in self.tables.items()}

    @property
    def code(self) -> Callable[..., Figure]:
        analysis = ANALYSES.get(self.figure)
        return load(analysis.figure.draw if analysis else JOBS[f"{self.figure}_figure"].functions["draw"])

    def draw(self, folder: Path) -> Callable[[], Figure]:
        read = {name: read_table(path) for name, path in self.files(folder).items()}
        return partial(self.code, **read, **self.arguments)


def named(labels):
    """Names that look like numbers, which tables must not take for such."""
    return [[f"{place}e5", label] for place, label in enumerate(labels)]


def depths(models, blocks):
    """Blocks of each model by name: one number for all, or several in turn."""
    each = [blocks] if isinstance(blocks, int) else blocks
    return {name: each[place % len(each)] for place, (name, _) in enumerate(models)}


def chances(models):
    return dict.fromkeys(depths(models, 1), CHANCE_LEVEL)


def evolution(labels, blocks=12, groups=BOTH, twin=True):
    models = named(labels)
    numbers = {"table": tables.evolution_table(depths(models, blocks), groups, twin)}
    shown = {"above random twin": twin, "[CLS]": "cls" in groups}
    return Case("identifiability_evolution", numbers, {"models": models, "chances": chances(models)}, labels, shown)


def comparison(labels, blocks=12, groups=BOTH, twin=True):
    models, twins = named(labels), [TWIN] if twin else []
    numbers = {"table": tables.comparison_table(depths(models, blocks) | dict.fromkeys(twins, 6), groups)}
    arguments = {"models": models, "chances": chances(models), "twins": twins}
    return Case("identifiability_comparison", numbers, arguments, labels, {"random twins": twin})


def increment(labels, blocks=12):
    models = named(labels)
    return Case(
        "logit_increment", {"table": tables.increment_table(depths(models, blocks))}, {"models": models}, labels
    )


def building(label, blocks=12, groups=BOTH):
    shown = {"attention, [CLS]": "cls" in groups and blocks > 1}
    return Case("class_building", {"table": tables.building_table(blocks, groups)}, {"label": label}, [label], shown)


def context(label, blocks=12, compared=True):
    arguments, shown = {"label": label, "chance": CHANCE_LEVEL}, {"class and context differ": compared and blocks > 0}
    return Case("class_vs_context", {"table": tables.context_table(blocks, compared)}, arguments, [label], shown)


def heads(label, **given):
    table, correlations = tables.head_tables(**given)
    return Case("head_causes", {"table": table, "agreement": correlations}, {"label": label}, [label])


def series_of(labels):
    """Last points of series, and what these are called."""
    models = named([f"{label}, epoch 9" for label in labels])
    return models, {name: label for (name, _), label in zip(models, labels, strict=True)}


def training(labels, **given):
    models, called = series_of(labels)
    table, accuracy = tables.series_tables([*called], **given)
    arguments = {"models": models, "chances": chances(models), "labels": called}
    return Case("series_identifiability", {"table": table, "accuracy": accuracy}, arguments, labels)


def training_heads(labels, **given):
    models, called = series_of(labels)
    table = tables.series_heads_table([*called], **given)
    return Case("series_heads", {"table": table}, {"models": models, "labels": called}, labels)


def training_words(labels, word="tabby", **given):
    models, called = series_of(labels)
    table = tables.series_words_table([*called], word, **given)
    return Case("series_words", {"table": table}, {"models": models, "labels": called}, labels)


def groups(labels, **given):
    models = named(labels)
    table = tables.group_table([name for name, _ in models], **given)
    return Case("group_accuracy", {"table": table}, {"models": models}, labels)


def shortcuts(label, **given):
    table = tables.shortcut_table(**given)
    return Case("shortcut_heads", {"table": table}, {"label": label}, [label], {"random twin": given.get("twin", True)})


def repairs(label, **given):
    return Case("repair", {"table": tables.repair_table(**given)}, {"label": label}, [label])


def difference(first, second, **given):
    table = tables.difference_table(**given)
    return Case("difference", {"table": table}, {"first": first, "second": second}, [first, second])


def tokens(label, **given):
    return Case("token_causes", {"table": tables.token_table(**given)}, {"label": label}, [label])


def outliers(labels, twin=True, **given):
    models = named(labels)
    twins = {name: f"{name}-random" for name, _ in models} if twin else {}
    table = tables.outlier_table([*depths(models, 1), *twins.values()], **given)
    return Case(
        "outlier_tokens", {"table": table}, {"models": models, "chances": chances(models), "twin_of": twins}, labels
    )


def attribution(label, **given):
    return Case("logit_attribution", {"table": tables.attribution_table(**given)}, {"label": label}, [label])


def words(label, **given):
    table = tables.words_table(**given)
    shown = {"of the random twin": bool((table["of"] == TWIN_ROWS).any())}
    return Case("head_words", {"table": table}, {"label": label}, [label, table["word"].iloc[0]], shown)


def quality(label, **given):
    table = tables.quality_table(**given)
    shown = [label, *(tables.METHOD_LABELS[method] for method in table["method"].unique())]
    return Case("explanation_quality", {"table": table}, {"label": label, "method_labels": tables.METHOD_LABELS}, shown)


def tuned(labels, blocks=12, groups=BOTH, twin=True, one_image=False):
    models = named(labels)
    deep = depths(models, blocks)
    twins = {name: f"{name}-random" for name in deep} if twin else {}
    table = tables.tuned_table({**deep, **{twins[name]: deep[name] for name in twins}}, groups, one_image)
    starred = bool((table["significant"] & (table["quantity"] != "kl")).any())
    shown = {"random twin": twin, "the lenses differ": starred, "[CLS]": "cls" in groups}
    arguments = {"models": models, "chances": chances(models), "twin_of": twins}
    return Case("tuned_lens", {"table": table}, arguments, labels, shown)


def image(label, names, blocks=6, cls=True):
    stimuli = pd.DataFrame({"class_index": list(names), "class_name": list(names.values())})
    arguments = {"pixels": {"pixels": {4: PHOTO}}, "label": label, "chance": 0.625, "grid": (3, 2)}
    return Case("one_image", {"table": tables.image_table(blocks, cls=cls), "stimuli": stimuli}, arguments, [label])


def maps(label, images, names, signed=True):
    stimuli = pd.DataFrame({"class_index": list(names), "class_name": list(names.values())})
    arguments = {"pixels": {"pixels": PHOTOS[:images]}, "label": label, "block": 3, "head": 1}
    arguments["signed"] = signed
    # Class 3 has no image, and so no name.
    shown = {names[0]: True, "block 4, head 2": True, "class 3": images > 2}
    return Case("heatmaps", {"table": tables.heatmap_table(images), "stimuli": stimuli}, arguments, [label], shown)
