"""Small synthetic tables as figures read them: the columns that measures write, through the CSV file."""

from __future__ import annotations

import numpy as np
import pandas as pd

from classlens.catalog.methods import METHODS
from classlens.columns import BOX_COLUMNS, MODEL, PARTS, SCORES, TOKEN_SETS, TWIN
from classlens.csvfile import write_table
from classlens.statistics.correction import with_correction
from classlens.statistics.depth import depth_positions
from classlens.terms import BRANCHES

BOTH = ("cls", "image")
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


def boxes(generator: np.random.Generator, rows: int, prefix: str = "") -> dict[str, np.ndarray]:
    """Return five ascending columns."""
    values = np.sort(generator.uniform(0, 1, (rows, 5)), axis=1)
    return {prefix + name: values[:, index] for index, name in enumerate(BOX_COLUMNS)}


def interval(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"ci_low": values * 0.95, "ci_high": np.minimum(values * 1.05, 100)}


def evolution_table(depths: dict[str, int], groups=BOTH, twin=True) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    parts = []
    for model, blocks in depths.items():
        for group in groups:
            mean = np.linspace(0.45, 0.99, blocks)
            p_values = generator.uniform(0, 0.002, blocks) if twin else np.full(blocks, np.nan)
            columns = {"model": model, "group": group, "block": np.arange(blocks), "images": 30, "mean": mean}
            columns |= {**interval(mean), **boxes(generator, blocks), "p_value": p_values}
            parts.append(pd.DataFrame(columns))
    return with_correction(pd.concat(parts, ignore_index=True), "fdr_bh", 0.95)


def comparison_table(depths: dict[str, int], groups=BOTH) -> pd.DataFrame:
    parts = []
    for place, (model, blocks) in enumerate(depths.items()):
        for group in groups:
            positions, shared = np.unique(depth_positions(blocks), return_counts=True)
            mean = 0.5 + 0.04 * positions - 0.01 * place
            columns = {"model": model, "group": group, "position": positions, "blocks": shared, "mean": mean}
            parts.append(pd.DataFrame(columns | interval(mean)))
    return pd.concat(parts, ignore_index=True)


def increment_table(depths: dict[str, int]) -> pd.DataFrame:
    parts = []
    for model, blocks in depths.items():
        rates = np.linspace(20, 95, max(blocks - 1, 0))
        columns = {"model": model, "block": np.arange(1, blocks), "images": 30, "rate_percent": rates}
        parts.append(pd.DataFrame(columns | interval(rates)))
    return pd.concat(parts, ignore_index=True)


def building_table(blocks: int, groups=BOTH) -> pd.DataFrame:
    generator = np.random.default_rng(2)
    keys = [("change", branch, group) for branch in BRANCHES for group in groups]
    keys += [("match", part, "all") for part in ("previous", *BRANCHES)]
    rows = [(*key, block, generator.uniform(10, 90)) for key in keys for block in range(1, blocks)]
    shares = generator.dirichlet(np.ones(len(PARTS)), blocks - 1) * 100
    rows += [
        ("partition", part, "all", block, shares[block - 1, place])
        for place, part in enumerate(PARTS)
        for block in range(1, blocks)
    ]
    table = pd.DataFrame(rows, columns=["measure", "part", "group", "block", "percent"])
    return table.assign(**interval(table["percent"].to_numpy(dtype=float)))


def context_table(blocks: int, compared=True) -> pd.DataFrame:
    """With `compared` False: no image has class and context tokens, so that there is nothing but the rows."""
    generator = np.random.default_rng(3)
    columns = {"block": np.arange(blocks), "images": 30 if compared else 0}
    for name in ("context", "class"):
        columns |= {f"{name}_mean": 0.6, **boxes(generator, blocks, f"{name}_")}
    table = pd.DataFrame(columns)
    if not compared:
        table[[name for name in table if name not in ("block", "images")]] = np.nan
    p_values = np.where(np.arange(blocks) % 2, 0.9, 1e-5) if compared else np.nan
    return with_correction(table.assign(difference=0.1, p_value=p_values), "holm", 0.95)


def around(name: str, values: np.ndarray, missing=False) -> dict[str, np.ndarray]:
    """Columns of a mean and its interval, which one image alone does not have."""
    low, high = (np.full(len(values), np.nan),) * 2 if missing else (values - 0.1, values + 0.1)
    return {name: values, f"{name}_ci_low": low, f"{name}_ci_high": high}


def tested(parts: list[pd.DataFrame], p_values) -> pd.DataFrame:
    table = pd.concat(parts, ignore_index=True)
    return with_correction(table.assign(p_value=p_values(len(table))), "holm", 0.95)


def head_tables(blocks=6, heads=4, twin=True, one_image=False) -> tuple[pd.DataFrame, pd.DataFrame]:
    generator, parts, correlations = np.random.default_rng(4), [], []
    block, head = np.unravel_index(np.arange(blocks * heads), (blocks, heads))
    for of in (MODEL, TWIN)[: 1 + twin]:
        columns = {"of": of, "block": block, "head": head, "images": 1 if one_image else 30}
        direct = generator.normal(size=blocks * heads)
        for name, values in {"direct": direct, "effect": direct + generator.normal(size=len(direct))}.items():
            columns |= around(name, values, one_image)
        parts.append(pd.DataFrame(columns))
        low, high = (np.nan, np.nan) if one_image else (0.12, 0.45)
        correlations.append({"of": of, "heads": blocks * heads, "spearman": 0.3, "ci_low": low, "ci_high": high})
    return tested(parts, lambda rows: np.full(rows, 0.5)), pd.DataFrame(correlations)


def series_tables(models, points=(0, 1, 10), blocks=6, groups=BOTH) -> tuple[pd.DataFrame, pd.DataFrame]:
    generator, parts, rates = np.random.default_rng(8), [], []
    for model in models:
        for point in points:
            of = {"model": model, "at": "epoch", "point": point}
            for group in groups:
                mean = generator.uniform(0.3, 1, blocks)
                columns = {**of, "group": group, "block": np.arange(blocks), "mean": mean, **interval(mean)}
                parts.append(pd.DataFrame(columns))
            rates.append({**of, "accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6})
    return pd.concat(parts, ignore_index=True), pd.DataFrame(rates)


def group_table(models, attributes=("patch",), classes=3, large=True) -> pd.DataFrame:
    """Accuracy by group; without a large one there is no worst."""
    rows = []
    generator = np.random.default_rng(2)
    for model in models:
        for attribute in attributes:
            groups = [(f"class {index}", carries) for index in range(classes) for carries in ("with", "without")]
            told = [("group", *one, 30, generator.uniform(0.2, 0.9)) for one in groups]
            lowest = min(told, key=lambda row: row[-1])
            told += [
                ("all", "", "", 30 * len(groups), 0.6),
                ("gap", "", "", 30 * len(groups), 0.3 if large else np.nan),
            ]
            told += [("worst", *lowest[1:])] if large else [("worst", "", "", 0, np.nan)]
            rows += [(model, attribute, *row) for row in told]
    names = ["model", "attribute", "what", "class_name", "carries", "images", "accuracy"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(ci_low=table["accuracy"] - 0.1, ci_high=table["accuracy"] + 0.1)


def shortcut_table(blocks=6, heads=4, twin=True, word="zero", masks=True) -> pd.DataFrame:
    """How far heads go with an attribute; `word` names every other head."""
    generator = np.random.default_rng(3)
    parts = []
    for of in (MODEL, TWIN)[: 1 + twin]:
        block, head = np.unravel_index(np.arange(blocks * heads), (blocks, heads))
        share = generator.uniform(0, 0.6, blocks * heads)
        columns = {"of": of, "block": block, "head": head, "images": 90, "share": share, **interval(share)}
        known = share if masks else np.nan
        columns |= {"direct": share - 0.3, "context": known, "class_tokens": known, "p_value": 0.001}
        words = np.where((of == MODEL) & (head % 2 == 0), word, None)
        parts.append(pd.DataFrame({**columns, "significant": share > 0.2, "word": words}))
    return pd.concat(parts, ignore_index=True)


def repair_table(heads="0.1 2.10", worst=0.4) -> pd.DataFrame:
    """Report of a repair with these heads; none where "" is given."""
    rows = []
    for half in ("choosing", "reporting"):
        for place, who in enumerate(("model", "repaired", *["random"] * 5)):
            change = (0.2, 0.1, 0.3) if who == "repaired" else (0.01, -0.1, 0.1) if place else (np.nan,) * 3
            lowest = worst + (0 if np.isnan(change[0]) else change[0])
            draw = place - 1 if who == "random" else np.nan
            rows.append((half, who, draw, heads if place else "", 0.8, lowest, *change, True if place == 1 else None))
    names = ["half", "who", "draw", "heads", "accuracy", "worst_group", "change", "ci_low", "ci_high", "found"]
    return pd.DataFrame(rows, columns=names)


def series_heads_table(models, points=(0, 1, 10), blocks=6, heads=4) -> pd.DataFrame:
    generator, parts = np.random.default_rng(9), []
    block, head = np.unravel_index(np.arange(blocks * heads), (blocks, heads))
    for model in models:
        begins = generator.choice([*points, np.nan], blocks * heads)
        for point in points:
            both = {name: generator.normal(size=blocks * heads) for name in ("direct", "effect")}
            of = {"model": model, "at": "epoch", "point": point, "block": block, "head": head, "begins": begins}
            parts.append(pd.DataFrame(of | both))
    return pd.concat(parts, ignore_index=True)


def series_words_table(models, word, points=(0, 1, 10), blocks=6, heads=4) -> pd.DataFrame:
    generator = np.random.default_rng(11)
    rows = [
        {"model": model, "at": "epoch", "point": point, "block": block, "head": head, "word": word}
        for model in models
        for point in points
        for block, head in np.ndindex(blocks, heads)
    ]
    table = pd.DataFrame(rows).assign(share=generator.random(len(rows)))
    return table.assign(name=table["word"].where(table["share"] > 0.5))


def difference_table(blocks=6, heads=4, groups=BOTH, one_image=False) -> pd.DataFrame:
    generator = np.random.default_rng(10)
    rows = [(name, np.nan, np.nan, np.nan) for name in ("accuracy", "logit")]
    rows += [("identifiability", block, np.nan, group) for group in groups for block in range(blocks)]
    rows += [(name, *place, np.nan) for name in ("direct", "effect") for place in np.ndindex(blocks, heads)]
    table = pd.DataFrame(rows, columns=["quantity", "block", "head", "group"])
    values = generator.normal(size=len(table))
    low, high = (np.full(len(table), np.nan),) * 2 if one_image else (values - 0.1, values + 0.1)
    table = table.assign(difference=values, ci_low=low, ci_high=high)
    return tested([table], lambda rows: generator.choice([1e-9, 0.9], rows))


def token_table(blocks=6, masks=True, outliers=True, twin=True) -> pd.DataFrame:
    generator, parts = np.random.default_rng(5), []
    for of in (MODEL, TWIN)[: 1 + twin]:
        for name in TOKEN_SETS:
            if masks or name not in ("class", "context"):
                there = outliers or "outliers" not in name
                values = generator.normal(size=blocks) if there else np.full(blocks, np.nan)
                columns = {"of": of, "set": name, "block": np.arange(blocks), "images": 30 if there else 0}
                parts.append(pd.DataFrame({**columns, **around("effect", values)}))
    return tested(parts, lambda rows: generator.choice([1e-9, 0.9], rows))


def outlier_table(models, blocks=6, none=False) -> pd.DataFrame:
    generator, parts = np.random.default_rng(6), []
    for name in models:
        share = np.zeros(blocks) if none else generator.uniform(0, 0.05, blocks)
        columns = {"model": name, "block": np.arange(blocks), **around("share", share)}
        for who in ("outliers_mean", "others_mean"):
            columns[who] = np.full(blocks, np.nan) if none else generator.uniform(0.4, 1, blocks)
        parts.append(pd.DataFrame(columns))
    return tested(parts, lambda rows: np.full(rows, np.nan) if none else generator.choice([1e-9, 0.9], rows))


def attribution_table(blocks=6, heads=4, one_image=False) -> pd.DataFrame:
    rows = [(branch, block, None) for branch in BRANCHES for block in range(blocks)]
    rows += [(part, None, None) for part in ("embedding", "constant", "logit")]
    rows += [("head", block, head) for block in range(blocks) for head in range(heads)]
    numbers = pd.DataFrame(rows, columns=["part", "block", "head"]).astype({"block": "Int64", "head": "Int64"})
    found = around("mean", np.random.default_rng(0).normal(size=len(rows)), one_image)
    return numbers.assign(images=30, **{name.replace("mean_", ""): values for name, values in found.items()})


def words_table(blocks=6, heads=4, words=("cat", "tabby, tabby cat", "007"), named=True, twin=True) -> pd.DataFrame:
    rows = []
    for of in (MODEL, TWIN) if twin else (MODEL,):
        for block, head in np.ndindex(blocks, heads):
            for place, word in enumerate(words, start=1):
                share = (0.2 + 0.6 * head / heads) / place**2
                row = {"of": of, "block": block, "head": head, "place": place, "word": word, "share": share}
                tested = {"null": 0.3, "p_value": 0.001, "p_corrected": 0.04}
                own = {"name": word} if named and of == MODEL and head % 2 else {}
                rows.append({**row, "cumulative": share, **(tested | own if place == 1 else {})})
    return pd.DataFrame(rows).reindex(columns=[*rows[0], "name"] if "name" not in rows[0] else list(rows[0]))


FEW = ("gradient", "chefer", "random")


def quality_table(methods=FEW, segmented=True, blocks=(1, 2, 3), one_image=False) -> pd.DataFrame:
    parts = [(kind, part, None) for kind in ("tokens", "pixels") for part in ("negative", "positive", "gap")]
    parts += [("segmentation", score, None) for score in SCORES] if segmented else []
    rows = [(method, *part) for method in methods for part in parts]
    steps = [("cascade", block) for block in blocks] + [("control", None)] if blocks else []
    run = [method for method in methods if method != "random"]
    rows += [(method, "randomisation", part, block) for method in run for part, block in steps]
    numbers = pd.DataFrame(rows, columns=["method", "measure", "part", "blocks_reset"])
    found = around("value", np.random.default_rng(0).uniform(0.1, 0.9, len(rows)), one_image)
    numbers = numbers.astype({"blocks_reset": "Int64"}).assign(images=30)
    return numbers.assign(**{name.replace("value_", ""): values for name, values in found.items()})


METHOD_LABELS = {name: method.label for name, method in METHODS.items()}


def tuned_table(depths: dict[str, int], groups=BOTH, one_image=False) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = [
        (model, quantity, group, block)
        for model, blocks in depths.items()
        for quantity in ("kl", "identifiability")
        for group in groups
        for block in range(blocks)
    ]
    numbers = pd.DataFrame(rows, columns=["model", "quantity", "group", "block"]).assign(images=30, map="kl_steps")
    for name in ("logit_lens", "tuned_lens"):
        numbers = numbers.assign(**around(name, generator.uniform(0.1, 0.9, len(rows)), one_image))
    unsaid = [np.nan] if one_image else [1e-5, 0.9, np.nan]
    return tested([numbers], lambda count: generator.choice(unsaid, count))


def image_table(blocks: int, *, cls=True, patches=6) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    groups = ["cls"] * cls + ["image"] * patches
    columns = {"image": 4, "class_index": 1, "block": np.repeat(range(blocks), len(groups)), "group": groups * blocks}
    columns |= {"token": list(range(len(groups))) * blocks, "rank": generator.integers(0, 4, blocks * len(groups))}
    top = generator.integers(0, 4, blocks * len(groups))
    return pd.DataFrame(columns).assign(identifiability=lambda one: 1 - one["rank"] / 4, top_class=top)


def heatmap_table(images: int) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    keys = pd.MultiIndex.from_product(
        [range(images), ("true", "second"), ("all", "one"), range(4), range(4)],
        names=["image", "role", "map", "row", "column"],
    )
    table = keys.to_frame(index=False)
    table["class_index"] = table["image"] % 3 + (table["role"] == "second")
    return table.assign(importance=generator.normal(size=len(table)) * (table["image"] > 0))


def written(table: pd.DataFrame, path) -> str:
    write_table(table, str(path))
    return str(path)
