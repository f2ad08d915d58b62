"""The paper's published values beside the reproduced ones."""

from __future__ import annotations

import pandas as pd

from classlens.tables.files import read_table, write_table

QUANTITIES = ("identifiable_tokens_percent", "images_with_identifiable_percent", "accuracy_percent")
PUBLISHED = {
    "vit_b_32": (60.73, 95.58, 81.71),
    "vit_b_16": (67.04, 97.45, 85.69),
    "vit_large_16": (72.58, 97.12, 86.00),
    "vit_miil_16": (78.52, 95.52, 86.26),
    "vit_cifar_16": (90.35, 98.80, 92.00),
    "deit_ensemble_16": (79.64, 96.26, 84.97),
    "vit_gap_16": (52.09, 98.53, 84.13),
    "vit_b_32-random": (0.066, 1.27, None),
    "vit_b_16-random": (0.056, 2.18, None),
}
"""Vilas et al. 2023 (arXiv 2310.18969): the last block on 4,550 images of ImageNet-S, or 500 of CIFAR-100. Models go
by the names of config/paper.yaml."""


def published_comparison(rates: str, path: str) -> None:
    """Compare the rates of the last block with the published ones.

    Args:
        rates: the table identifiability_rates.
        path: the table to write, a row per model and quantity that were published: model, quantity, published,
            reproduced, difference (reproduced - published), all in %.
    """
    table = read_table(rates)
    found = table.assign(accuracy_percent=100 * table["accuracy"]).set_index("model")[list(QUANTITIES)].to_dict("index")
    rows = [
        (model, quantity, value, found[model][quantity], found[model][quantity] - value)
        for model, values in PUBLISHED.items()
        if model in found
        for quantity, value in zip(QUANTITIES, values, strict=True)
        if value is not None
    ]
    write_table(pd.DataFrame(rows, columns=["model", "quantity", "published", "reproduced", "difference"]), path)
