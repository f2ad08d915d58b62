"""The columns of shards, layer files and output files, see the file contract in docs/files.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from classlens.hdf5 import Column, index_dtype
from classlens.inference.sites import SITE_NAMES
from classlens.terms import BRANCHES, SITES, TOP, block_name

OUTPUT = "output"
"""Group of a shard with the contents of the output file."""
KEY_NAMES = {"attn": "inputs of attn.proj", "mlp": "hidden units of the MLP before the activation"}


def layer_attributes(num_classes: int, num_prefix_tokens: int, has_class_token: bool) -> dict[str, Any]:
    """Return the facts that readers of a layer or output file need to tell tokens and classes apart."""
    return {
        "num_classes": num_classes,
        "num_prefix_tokens": num_prefix_tokens,
        "has_class_token": has_class_token,
    }


def layer_columns(tokens: int, num_classes: int, key_counts: Mapping[str, int]) -> dict[str, Column]:
    """Return the data sets of a layer file.

    Args:
        tokens: T.
        num_classes: C.
        key_counts: memories per branch.
    """
    classes, top = index_dtype(num_classes), min(TOP, num_classes)
    columns = {}
    for site in SITES:
        where = SITE_NAMES[site]
        columns[f"{site}/rank"] = Column(
            (tokens,), classes, f"number of classes with a larger logit than the correct one, at {where}", "classes"
        )
        columns[f"{site}/logit"] = Column((tokens,), np.float32, f"logit of the correct class, at {where}", "logit")
        columns[f"{site}/top5"] = Column(
            (tokens, top), classes, f"classes with the largest logits, largest first, at {where}", "class index"
        )
    columns["residual/norm"] = Column((tokens,), np.float32, f"Euclidean norm, at {SITE_NAMES['residual']}")
    for branch in BRANCHES:
        count = key_counts[branch]
        columns[f"keys/{branch}"] = Column(
            (tokens, min(TOP, count)),
            index_dtype(count),
            f"indices of the largest key coefficients ({KEY_NAMES[branch]}), largest first",
            "memory index",
        )
    return columns


def output_columns(num_classes: int) -> dict[str, Column]:
    """Return the data sets of an output file."""
    classes = index_dtype(num_classes)
    return {
        "class_index": Column((), classes, "correct class of each image", "class index", compress=False),
        "correct": Column((), np.bool_, "the model's largest logit is the correct class's", compress=False),
        "top5": Column(
            (min(TOP, num_classes),),
            classes,
            "the model's strongest classes, strongest first",
            "class index",
            compress=False,
        ),
    }


def shard_columns(depth: int, tokens: int, num_classes: int, key_counts: Mapping[str, int]) -> dict[str, Column]:
    """Return the data sets of a shard: a group for each block's layer file, and one for the output file."""
    layer = layer_columns(tokens, num_classes, key_counts)
    return {
        **{f"{block_name(block)}/{name}": column for block in range(depth) for name, column in layer.items()},
        **{f"{OUTPUT}/{name}": column for name, column in output_columns(num_classes).items()},
    }
