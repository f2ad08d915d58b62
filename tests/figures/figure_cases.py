"""Each figure with a small synthetic table, through the CSV file as measures write it, and its job's arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from classlens.catalog.analyses import ANALYSES, JOBS
from classlens.catalog.methods import METHODS
from classlens.columns import BOX_COLUMNS, MODEL, PARTS, SCORES, TOKEN_SETS, TWIN
from classlens.csvfile import read_table, write_table
from classlens.declared import load
from classlens.statistics.correction import with_correction
from classlens.statistics.depth import depth_positions
from classlens.terms import BRANCHES

BOTH, IMAGE = ("cls", "image"), ("image",)
TWINS = "random twin of all"
CHANCE_LEVEL = 0.55
"""(C + 1) / 2C with ten classes."""
PHOTO = 255 * np.random.default_rng(0).random((12, 8, 3))
PHOTOS = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), np.uint8)
METHOD_LABELS = {name: method.label for name, method in METHODS.items()}
FEW = ("gradient", "chefer", "random")
LONG = [
    "ViT-B/32",
    "ViT-B/16",
    "ViT-L/16, pretrained on ImageNet-21k and fine-tuned",
    "ViT-B/16-MIIL",
    "ViT-B/16-CIFAR with a head of a hundred classes",
    "ViT-B/16-Refinement (a DeiT trunk, relations with the teacher's manifold)",
    "vit_base_patch16_rpn_224_sw_in1k_average_pooling_res_post_norm",
]
PECULIAR = ["$\\alpha_1$ costs $5", "<b>A&B</b>", 'a "quoted" _label_ ^2 \\frac{', "%s {0} Grüße"]
WIDE = ["W" * 40, "M@" * 30, "WWWW WWWW " * 5]


@dataclass
class Case:
    """One figure of its tables, by the argument that takes each.

    `shown` says of other texts than labels whether they are there.
    """

    figure: str
    tables: dict[str, pd.DataFrame]
    arguments: dict[str, Any]
    labels: list[str]
    shown: dict[str, bool]

    @property
    def table(self) -> pd.DataFrame:
        return self.tables["table"]

    def rows(self, **values: Any) -> pd.DataFrame:
        """Return the rows of the table whose columns have these values."""
        return self.table[np.logical_and.reduce([self.table[name] == value for name, value in values.items()])]

    def files(self, folder: Path) -> dict[str, str]:
        return {name: written(table, folder / f"{name}.csv") for name, table in self.tables.items()}

    @property
    def code(self) -> Callable[..., Figure]:
        analysis = ANALYSES.get(self.figure)
        return load(analysis.figure.draw if analysis else JOBS[f"{self.figure}_figure"].functions["draw"])

    def draw(self, folder: Path) -> Callable[[], Figure]:
        read = {name: read_table(path) for name, path in self.files(folder).items()}
        return partial(self.code, **read, **self.arguments)


def written(table: pd.DataFrame, path) -> str:
    write_table(table, str(path))
    return str(path)


def of_one(figure, table, label, shown=None, others=None, **arguments):
    """A figure of one model; `others` are further tables."""
    return Case(figure, {"table": table, **(others or {})}, {"label": label, **arguments}, [label], shown or {})


def of_models(figure, table, called, shown=None, others=None, chance=True, **arguments):
    """A figure of several models, which may take levels of chance."""
    given = {"chances": dict.fromkeys(depths(called, 1), CHANCE_LEVEL)} if chance else {}
    given |= {"models": named(called), **arguments}
    return Case(figure, {"table": table, **(others or {})}, given, called, shown or {})


def named(labels):
    """Names that look like numbers, which tables must not take for such."""
    return [[f"{place}e5", label] for place, label in enumerate(labels)]


def depths(labels, blocks):
    """Blocks of each model by name: one number for all, or several in turn."""
    each = [blocks] if isinstance(blocks, int) else blocks
    return {name: each[place % len(each)] for place, (name, _) in enumerate(named(labels))}


def twins_of(labels, twin):
    return {name: f"{name}-random" for name, _ in named(labels)} if twin else {}


def boxes(generator: np.random.Generator, rows: int, prefix: str = "") -> dict[str, np.ndarray]:
    """Return five ascending columns."""
    values = np.sort(generator.uniform(0, 1, (rows, 5)), axis=1)
    return {prefix + name: values[:, index] for index, name in enumerate(BOX_COLUMNS)}


def interval(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"ci_low": values * 0.95, "ci_high": np.minimum(values * 1.05, 100)}


def around(name: str, values: np.ndarray, missing=False, prefix=None) -> dict[str, np.ndarray]:
    """Columns of a mean and its interval, which one image alone does not have."""
    prefix = f"{name}_" if prefix is None else prefix
    low, high = (np.full(len(values), np.nan),) * 2 if missing else (values - 0.1, values + 0.1)
    return {name: values, f"{prefix}ci_low": low, f"{prefix}ci_high": high}


def stacked(parts: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.concat(map(pd.DataFrame, parts), ignore_index=True)


def tested(table: pd.DataFrame, p_values) -> pd.DataFrame:
    return with_correction(table.assign(p_value=p_values(len(table))), "holm", 0.95)


def places(blocks, heads):
    return dict(zip(("block", "head"), np.unravel_index(np.arange(blocks * heads), (blocks, heads)), strict=True))


def evolution(labels, blocks=12, groups=BOTH, twin=True):
    generator, parts = np.random.default_rng(1), []
    for (model, count), group in product(depths(labels, blocks).items(), groups):
        mean = np.linspace(0.45, 0.99, count)
        p_values = generator.uniform(0, 0.002, count) if twin else np.full(count, np.nan)
        columns = {"model": model, "group": group, "block": np.arange(count), "images": 30, "mean": mean}
        parts.append({**columns, **interval(mean), **boxes(generator, count), "p_value": p_values})
    table = with_correction(stacked(parts), "fdr_bh", 0.95)
    shown = {"above random twin": twin, "[CLS]": "cls" in groups}
    return of_models("identifiability_evolution", table, labels, shown)


def comparison(labels, blocks=12, groups=BOTH, twin=True):
    twins, parts = [TWINS] if twin else [], []
    for place, (model, count) in enumerate((depths(labels, blocks) | dict.fromkeys(twins, 6)).items()):
        positions, shared = np.unique(depth_positions(count), return_counts=True)
        mean = 0.5 + 0.04 * positions - 0.01 * place
        columns = {"position": positions, "blocks": shared, "mean": mean, **interval(mean)}
        parts += [{"model": model, "group": group, **columns} for group in groups]
    return of_models("identifiability_comparison", stacked(parts), labels, {"random twins": twin}, twins=twins)


def increment_table(depths: dict[str, int]) -> pd.DataFrame:
    parts = []
    for model, blocks in depths.items():
        rates = np.linspace(20, 95, max(blocks - 1, 0))
        columns = {"model": model, "block": np.arange(1, blocks), "images": 30, "rate_percent": rates}
        parts.append(columns | interval(rates))
    return stacked(parts)


def increment(labels, blocks=12):
    return of_models("logit_increment", increment_table(depths(labels, blocks)), labels, chance=False)


def building(label, blocks=12, groups=BOTH):
    generator, later = np.random.default_rng(2), range(1, blocks)
    keys = [("change", branch, group) for branch in BRANCHES for group in groups]
    keys += [("match", part, "all") for part in ("previous", *BRANCHES)]
    rows = [(*key, block, generator.uniform(10, 90)) for key in keys for block in later]
    shares = generator.dirichlet(np.ones(len(PARTS)), blocks - 1).T * 100
    rows += [("partition", part, "all", b, shares[n][b - 1]) for n, part in enumerate(PARTS) for b in later]
    table = pd.DataFrame(rows, columns=["measure", "part", "group", "block", "percent"])
    table = table.assign(**interval(table["percent"].to_numpy(dtype=float)))
    return of_one("class_building", table, label, {"attention, [CLS]": "cls" in groups and blocks > 1})


def context(label, blocks=12, compared=True):
    """With `compared` False: no image has class and context tokens, so that there is nothing but the rows."""
    generator = np.random.default_rng(3)
    columns = {"block": np.arange(blocks), "images": 30 if compared else 0}
    for name in ("context", "class"):
        columns |= {f"{name}_mean": 0.6, **boxes(generator, blocks, f"{name}_")}
    table = pd.DataFrame(columns)
    if not compared:
        table[[name for name in table if name not in ("block", "images")]] = np.nan
    p_values = np.where(np.arange(blocks) % 2, 0.9, 1e-5) if compared else np.nan
    table = with_correction(table.assign(difference=0.1, p_value=p_values), "holm", 0.95)
    shown = {"class and context differ": compared and blocks > 0}
    return of_one("class_vs_context", table, label, shown, chance=CHANCE_LEVEL)


def heads(label, blocks=6, heads=4, twin=True, one_image=False):
    generator, parts, correlations = np.random.default_rng(4), [], []
    for of in (MODEL, TWIN)[: 1 + twin]:
        direct = generator.normal(size=blocks * heads)
        effect = direct + generator.normal(size=len(direct))
        columns = {"of": of, **places(blocks, heads), "images": 1 if one_image else 30}
        parts.append(columns | around("direct", direct, one_image) | around("effect", effect, one_image))
        low, high = (np.nan, np.nan) if one_image else (0.12, 0.45)
        correlations.append({"of": of, "heads": blocks * heads, "spearman": 0.3, "ci_low": low, "ci_high": high})
    table = tested(stacked(parts), lambda rows: np.full(rows, 0.5))
    return of_one("head_causes", table, label, others={"agreement": pd.DataFrame(correlations)})


def of_series(figure, table, labels, others=None, chance=False):
    """A figure of series, whose last points are the models."""
    points = [f"{label}, epoch 9" for label in labels]
    case = of_models(figure, table, points, others=others, chance=chance, labels=dict(named(labels)))
    case.labels = labels
    return case


def training(labels, points=(0, 1, 10), blocks=6, groups=BOTH):
    generator, parts, rates = np.random.default_rng(8), [], []
    for model, point in product(depths(labels, 1), points):
        of = {"model": model, "at": "epoch", "point": point}
        for group in groups:
            mean = generator.uniform(0.3, 1, blocks)
            parts.append({**of, "group": group, "block": np.arange(blocks), "mean": mean, **interval(mean)})
        rates.append({**of, "accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6})
    return of_series("series_identifiability", stacked(parts), labels, {"accuracy": pd.DataFrame(rates)}, chance=True)


def training_heads(labels, points=(0, 1, 10), blocks=6, heads=4):
    generator, parts = np.random.default_rng(9), []
    for model in depths(labels, 1):
        begins = generator.choice([*points, np.nan], blocks * heads)
        for point in points:
            both = {name: generator.normal(size=blocks * heads) for name in ("direct", "effect")}
            of = {"model": model, "at": "epoch", "point": point, **places(blocks, heads), "begins": begins}
            parts.append(of | both)
    return of_series("series_heads", stacked(parts), labels)


def training_words(labels, word="tabby", points=(0, 1, 10), blocks=6, heads=4):
    rows = [
        {"model": model, "at": "epoch", "point": point, "block": block, "head": head, "word": word}
        for model, point, block, head in product(depths(labels, 1), points, range(blocks), range(heads))
    ]
    table = pd.DataFrame(rows).assign(share=np.random.default_rng(11).random(len(rows)))
    return of_series("series_words", table.assign(name=table["word"].where(table["share"] > 0.5)), labels)


def groups(labels, attributes=("patch",), classes=3, large=True):
    """Accuracy by group; without a large one there is no worst."""
    rows, generator = [], np.random.default_rng(2)
    for model, attribute in product(depths(labels, 1), attributes):
        names = list(product([f"class {index}" for index in range(classes)], ("with", "without")))
        told = [("group", *one, 30, generator.uniform(0.2, 0.9)) for one in names]
        lowest = min(told, key=lambda row: row[-1])[1:] if large else ("", "", 0, np.nan)
        gap = 0.3 if large else np.nan
        told += [(what, "", "", 30 * len(names), value) for what, value in (("all", 0.6), ("gap", gap))]
        rows += [(model, attribute, *row) for row in (*told, ("worst", *lowest))]
    columns = ["model", "attribute", "what", "class_name", "carries", "images", "accuracy"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(**around("accuracy", table["accuracy"], prefix=""))
    return of_models("group_accuracy", table, labels, chance=False)


def shortcuts(label, blocks=6, heads=4, twin=True, word="zero", masks=True):
    """How far heads go with an attribute; `word` names every other head."""
    generator, parts = np.random.default_rng(3), []
    for of in (MODEL, TWIN)[: 1 + twin]:
        share, at = generator.uniform(0, 0.6, blocks * heads), places(blocks, heads)
        columns = {"of": of, **at, "images": 90, "share": share, **interval(share), "direct": share - 0.3}
        columns |= dict.fromkeys(("context", "class_tokens"), share if masks else np.nan)
        words = np.where((of == MODEL) & (at["head"] % 2 == 0), word, None)
        parts.append({**columns, "p_value": 0.001, "significant": share > 0.2, "word": words})
    return of_one("shortcut_heads", stacked(parts), label, {"random twin": twin})


def repairs(label, heads="0.1 2.10", worst=0.4):
    """Report of a repair with these heads; none where "" is given."""
    rows = []
    for half, (place, who) in product(("choosing", "reporting"), enumerate(("model", "repaired", *["random"] * 5))):
        change = (0.2, 0.1, 0.3) if who == "repaired" else (0.01, -0.1, 0.1) if place else (np.nan,) * 3
        lowest = worst + (0 if np.isnan(change[0]) else change[0])
        draw = place - 1 if who == "random" else np.nan
        rows.append((half, who, draw, heads if place else "", 0.8, lowest, *change, True if place == 1 else None))
    names = ["half", "who", "draw", "heads", "accuracy", "worst_group", "change", "ci_low", "ci_high", "found"]
    return of_one("repair", pd.DataFrame(rows, columns=names), label)


def difference(first, second, blocks=6, heads=4, groups=BOTH, one_image=False):
    generator = np.random.default_rng(10)
    rows = [(name, np.nan, np.nan, np.nan) for name in ("accuracy", "logit")]
    rows += [("identifiability", block, np.nan, group) for group in groups for block in range(blocks)]
    rows += [(name, *place, np.nan) for name in ("direct", "effect") for place in np.ndindex(blocks, heads)]
    table = pd.DataFrame(rows, columns=["quantity", "block", "head", "group"])
    table = table.assign(**around("difference", generator.normal(size=len(table)), one_image, prefix=""))
    table = tested(table, lambda rows: generator.choice([1e-9, 0.9], rows))
    return Case("difference", {"table": table}, {"first": first, "second": second}, [first, second], {})


def tokens(label, blocks=6, masks=True, outliers=True, twin=True):
    generator, parts = np.random.default_rng(5), []
    sets = [name for name in TOKEN_SETS if masks or name not in ("class", "context")]
    for of, name in product((MODEL, TWIN)[: 1 + twin], sets):
        there = outliers or "outliers" not in name
        values = generator.normal(size=blocks) if there else np.full(blocks, np.nan)
        columns = {"of": of, "set": name, "block": np.arange(blocks), "images": 30 if there else 0}
        parts.append({**columns, **around("effect", values)})
    table = tested(stacked(parts), lambda rows: generator.choice([1e-9, 0.9], rows))
    return of_one("token_causes", table, label)


def outliers(labels, blocks=6, none=False, twin=True):
    generator, parts, twins = np.random.default_rng(6), [], twins_of(labels, twin)
    for name in (*depths(labels, 1), *twins.values()):
        share = np.zeros(blocks) if none else generator.uniform(0, 0.05, blocks)
        columns = {"model": name, "block": np.arange(blocks), **around("share", share)}
        for who in ("outliers_mean", "others_mean"):
            columns[who] = np.full(blocks, np.nan) if none else generator.uniform(0.4, 1, blocks)
        parts.append(columns)
    table = tested(stacked(parts), lambda rows: np.full(rows, np.nan) if none else generator.choice([1e-9, 0.9], rows))
    return of_models("outlier_tokens", table, labels, twin_of=twins)


def attribution(label, blocks=6, heads=4, one_image=False):
    rows = [(branch, block, None) for branch in BRANCHES for block in range(blocks)]
    rows += [(part, None, None) for part in ("embedding", "constant", "logit")]
    rows += [("head", block, head) for block in range(blocks) for head in range(heads)]
    table = pd.DataFrame(rows, columns=["part", "block", "head"]).astype({"block": "Int64", "head": "Int64"})
    values = np.random.default_rng(0).normal(size=len(rows))
    return of_one("logit_attribution", table.assign(images=30, **around("mean", values, one_image, prefix="")), label)


def words(label, blocks=6, heads=4, words=("cat", "tabby, tabby cat", "007"), named=True, twin=True):
    rows = []
    for of, block, head in product((MODEL, TWIN)[: 1 + twin], range(blocks), range(heads)):
        for place, word in enumerate(words, start=1):
            share = (0.2 + 0.6 * head / heads) / place**2
            row = {"of": of, "block": block, "head": head, "place": place, "word": word, "share": share}
            tested = {"null": 0.3, "p_value": 0.001, "p_corrected": 0.04}
            own = {"name": word} if named and of == MODEL and head % 2 else {}
            rows.append({**row, "cumulative": share, **(tested | own if place == 1 else {})})
    table = pd.DataFrame(rows).reindex(columns=[*rows[0], "name"] if "name" not in rows[0] else list(rows[0]))
    return of_one("head_words", table, label, {"of the random twin": twin, words[0]: True})


def quality(label, methods=FEW, segmented=True, blocks=(1, 2, 3), one_image=False):
    parts = [(kind, part, None) for kind in ("tokens", "pixels") for part in ("negative", "positive", "gap")]
    parts += [("segmentation", score, None) for score in SCORES] if segmented else []
    rows = [(method, *part) for method in methods for part in parts]
    steps = [("cascade", block) for block in blocks] + [("control", None)] if blocks else []
    run = [method for method in methods if method != "random"]
    rows += [(method, "randomisation", part, block) for method in run for part, block in steps]
    table = pd.DataFrame(rows, columns=["method", "measure", "part", "blocks_reset"]).astype({"blocks_reset": "Int64"})
    values = np.random.default_rng(0).uniform(0.1, 0.9, len(rows))
    table = table.assign(images=30, **around("value", values, one_image, prefix=""))
    shown = {METHOD_LABELS[method]: True for method in methods}
    return of_one("explanation_quality", table, label, shown, method_labels=METHOD_LABELS)


def tuned(labels, blocks=12, groups=BOTH, twin=True, one_image=False):
    generator, deep, twins = np.random.default_rng(0), depths(labels, blocks), twins_of(labels, twin)
    rows = [
        (model, quantity, group, block)
        for model, count in (deep | {twins[name]: deep[name] for name in twins}).items()
        for quantity, group, block in product(("kl", "identifiability"), groups, range(count))
    ]
    table = pd.DataFrame(rows, columns=["model", "quantity", "group", "block"]).assign(images=30, map="kl_steps")
    for name in ("logit_lens", "tuned_lens"):
        table = table.assign(**around(name, generator.uniform(0.1, 0.9, len(rows)), one_image))
    unsaid = [np.nan] if one_image else [1e-5, 0.9, np.nan]
    table = tested(table, lambda count: generator.choice(unsaid, count))
    starred = bool((table["significant"] & (table["quantity"] != "kl")).any())
    shown = {"random twin": twin, "the lenses differ": starred, "[CLS]": "cls" in groups}
    return of_models("tuned_lens", table, labels, shown, twin_of=twins)


def stimuli(names):
    return {"stimuli": pd.DataFrame({"class_index": list(names), "class_name": list(names.values())})}


def image(label, names, blocks=6, cls=True, patches=6):
    generator, of = np.random.default_rng(1), ["cls"] * cls + ["image"] * patches
    columns = {"image": 4, "class_index": 1, "block": np.repeat(range(blocks), len(of)), "group": of * blocks}
    columns |= {"token": list(range(len(of))) * blocks, "rank": generator.integers(0, 4, blocks * len(of))}
    top = generator.integers(0, 4, blocks * len(of))
    table = pd.DataFrame(columns).assign(identifiability=lambda one: 1 - one["rank"] / 4, top_class=top)
    given = {"pixels": {"pixels": {4: PHOTO}}, "chance": 0.625, "grid": (3, 2)}
    return of_one("one_image", table, label, others=stimuli(names), **given)


def maps(label, images, names, signed=True):
    keys = {"image": range(images), "role": ("true", "second"), "map": ("all", "one")}
    keys |= {"row": range(4), "column": range(4)}
    table = pd.DataFrame(product(*keys.values()), columns=list(keys))
    table["class_index"] = table["image"] % 3 + (table["role"] == "second")
    importance = np.random.default_rng(0).normal(size=len(table)) * (table["image"] > 0)
    given = {"pixels": {"pixels": PHOTOS[:images]}, "block": 3, "head": 1, "signed": signed}
    # Class 3 has no image, and so no name.
    shown = {names[0]: True, "block 4, head 2": True, "class 3": images > 2}
    return of_one("heatmaps", table.assign(importance=importance), label, shown, stimuli(names), **given)
