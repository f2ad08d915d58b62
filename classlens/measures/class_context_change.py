"""How a block and its branches change the logits of class and of context tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classlens.arrays import Array
from classlens.columns import LABELS
from classlens.csvfile import write_table
from classlens.measures.labels import compare_groups, with_labels
from classlens.measures.layers import Layout, in_turn, read_layout, steps, token_mean
from classlens.statistics.resampling import Resampling

QUANTITIES = ("residual", "attn", "mlp")
COLUMNS = ["quantity", "block", "images", "context_mean", "class_mean", "difference", "ci_low", "ci_high", "p_value"]


def class_context_change(layers: Sequence[str], labels: str, table: str, resampling: Resampling) -> None:
    """Compare the mean logit change of class and context tokens (docs/method.md).

    The change of a quantity at block b is the correct class's logit there minus its logit in residual[b - 1]:
    `residual` residual[b], `attn` attn[b], `mlp` mlp[b]. Images and test are those of `class_vs_context`.

    Args:
        layers: the model's layer files in block order.
        labels: its token labels.
        table: the table to write, a row per quantity and block from 1 on (blocks count from 0). Columns: quantity,
            block, images, context_mean, class_mean, difference (class - context; logits), ci_low, ci_high, p_value (not
            corrected).
    """
    layout = read_layout(layers[0])
    blocks = range(1, len(layers))
    keys = [(quantity, block) for quantity in QUANTITIES for block in blocks]
    doing = "logit change of class and context tokens"
    means = {block: _one_block(layers, labels, block, layout) for block in in_turn(blocks, doing)}
    groups = {
        name: np.stack([means[block][name, quantity] for quantity, block in keys], axis=1) if keys else np.empty((0, 0))
        for name in LABELS
    }
    compared = compare_groups(groups, resampling)
    compared = compared.assign(quantity=[quantity for quantity, _ in keys], block=[block for _, block in keys])
    write_table(compared[COLUMNS], table)


def _one_block(layers: Sequence[str], labels: str, block: int, layout: Layout) -> dict[tuple[str, str], Array]:
    """Return the mean logit change of each image's tokens (n), by label and quantity."""
    parts: dict[tuple[str, str], list[Array]] = {(name, quantity): [] for name in LABELS for quantity in QUANTITIES}
    images = steps(layers, block, ["residual/logit"], [f"{name}/logit" for name in QUANTITIES])
    for (before, here), chosen, label in with_labels(images, labels):
        for quantity in QUANTITIES:
            change = here[f"{quantity}/logit"] - before["residual/logit"]
            of_images = change[:, layout.image_tokens][chosen]
            for name, value in LABELS.items():
                parts[name, quantity].append(token_mean(of_images, label == value))
    return {key: np.concatenate(values) for key, values in parts.items()}
