"""What a run found of shortcuts, in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from classlens.catalog import planning
from classlens.columns import MODEL, TWIN
from classlens.config.config import REPAIRED_SUFFIX, Config
from classlens.csvfile import read_table, read_texts
from classlens.errors import InputError
from classlens.measures.repair import REPORTING

MADE = (("tables", "csv"), ("figures", "svg"))
MOST_HEADS = 3
"""That are told of."""


def repaired_models(known: Config) -> dict[str, str]:
    """Return the models of a config whose shortcuts are looked for, each with the attribute.

    Args:
        known: the config, with the facts about architectures.

    Raises:
        InputError: there is none.
    """
    accuracy = planning.runs(known, "group_accuracy")
    models = [model for model in planning.runs(known, "repair") if model in accuracy]
    if not models:
        raise InputError(
            "no model is asked for a shortcut; give its data set `groups` and, where they have several attributes, "
            "`repair.attribute` (docs/shortcuts.md), and let its `analyses` have group_accuracy and repair"
        )
    return {model: str(known.spurious(known.models[model]["dataset"])) for model in models}


def targets(known: Config, models: Iterable[str]) -> list[str]:
    """Return the files that tell of shortcuts of models, of those that a run makes."""
    heads = planning.runs(known, "shortcut_heads")
    names = [f"repair_{model}" for model in models] + [f"shortcut_heads_{model}" for model in models if model in heads]
    made = [f"results/{kind}/{name}.{end}" for name in ("group_accuracy", *names) for kind, end in MADE]
    pages = {f"{model}{suffix}" for model in models for suffix in ("", REPAIRED_SUFFIX)}
    return [*made, *(f"results/lens/{model}.html" for model in planning.wanted_pages(known) if model in pages)]


def answer(model: str, attribute: str) -> Iterator[str]:
    """Yield what was found of a model: the worst group, heads, what replacing them does, and where the weights are.

    Args:
        model: its name; tables are below results/ in the current directory.
        attribute: that the model should not look at.
    """
    groups = read_table("results/tables/group_accuracy.csv")
    own = groups[(groups["model"] == model) & (groups["attribute"] == attribute)].set_index("what")
    every, worst, gap = (own.loc[what].to_dict() for what in ("all", "worst", "gap"))
    yield f"{model}: right on {_share(every)} of {every['images']:,} images"
    if worst["images"]:
        of = f"{worst['class_name']} with {attribute} = {worst['carries']} ({worst['images']} images)"
        yield f"  worst group: {of}: {_share(worst)}; gap {_share(gap)}"
    else:
        yield "  worst group: no group has ten images"
    if (path := Path(f"results/tables/shortcut_heads_{model}.csv")).is_file():
        yield from _heads(read_table(str(path)), attribute)
    yield from _repair(read_texts(f"results/tables/repair_{model}.csv"), attribute)
    page = f"results/lens/{model}.html"
    both = f"; both models on one page: {page}#beside={model}{REPAIRED_SUFFIX}" if Path(page).is_file() else ""
    yield f"  weights: results/{model}/repaired.safetensors{both}"


def _heads(heads: pd.DataFrame, attribute: str) -> Iterator[str]:
    for of, whose in ((MODEL, "heads"), (TWIN, "of its random twin")):
        own = heads[heads["of"] == of]
        if own.empty:
            continue
        most = own.nlargest(1 if of == TWIN else MOST_HEADS, "share").to_dict("records")
        told = ", ".join(f"{_head(row['block'], row['head'])} {100 * row['share']:.0f} %{_read(row)}" for row in most)
        yield f"  {whose}: {int(own['significant'].sum())} of {len(own)} go with {attribute}, most {told}"


def _repair(table: pd.DataFrame, attribute: str) -> Iterator[str]:
    rows = table[table["half"] == REPORTING].set_index("who")
    before, after, random = rows.loc["model"], rows.loc["repaired"], rows.loc[["random"]]
    heads = ", ".join(_head(*map(int, one.split("."))) for one in after["heads"].split())
    if not heads:
        yield "  repair: nothing was found: no head's replacement helps the worst group by more than a standard error"
        return
    change = _points(*(float(str(after[name])) for name in ("change", "ci_low", "ci_high")))
    yield f"  repair: without heads {heads}, on the other half of the images:"
    yield (
        f"  worst group {_percent(before['worst_group'])} -> {_percent(after['worst_group'])} ({change}), accuracy "
        f"{_percent(before['accuracy'])} -> {_percent(after['accuracy'])}"
    )
    yield f"  as many random heads: worst group {100 * random['change'].astype(float).mean():+.1f} points on average"
    if after["found"] != "True":
        yield "  so nothing was found: that interval does not lie above 0, and the weights are the model's own"


def _head(block: int, head: int) -> str:
    return f"{block + 1}.{head + 1}"


def _read(row: Mapping[Any, Any]) -> str:
    parts = [f"{row['word']!r}"] if isinstance(row["word"], str) else []
    parts += [f"{100 * row['context']:.0f} % read from context"] if row["context"] == row["context"] else []
    return f" ({', '.join(parts)})" if parts else ""


def _percent(value: Any) -> str:
    return f"{100 * float(value):.1f} %"


def _share(row: Mapping[Any, Any]) -> str:
    return f"{_percent(row['accuracy'])} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
