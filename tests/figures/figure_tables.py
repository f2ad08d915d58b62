"""Small synthetic tables as figures read them: the columns that measures write, through the CSV file."""

from __future__ import annotations

import numpy as np
import pandas as pd

from classlens.columns import BOX_COLUMNS, PARTS
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


def context_table(blocks: int, tested=True) -> pd.DataFrame:
    """With `tested` False: no image has class and context tokens, so that there is nothing but the rows."""
    generator = np.random.default_rng(3)
    columns = {"block": np.arange(blocks), "images": 30 if tested else 0}
    for name in ("context", "class"):
        columns |= {f"{name}_mean": 0.6, **boxes(generator, blocks, f"{name}_")}
    table = pd.DataFrame(columns)
    if not tested:
        table[[name for name in table if name not in ("block", "images")]] = np.nan
    p_values = np.where(np.arange(blocks) % 2, 0.9, 1e-5) if tested else np.nan
    return with_correction(table.assign(difference=0.1, p_value=p_values), "holm", 0.95)


def written(table: pd.DataFrame, path) -> str:
    write_table(table, str(path))
    return str(path)
