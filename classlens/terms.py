"""Terms that files, jobs and figures share; docs/method.md defines them. Imports nothing, so planning stays light."""

SITES = ("residual", "attn", "mlp")
"""The block's output, and exactly what its attention and MLP branches add to the residual stream."""
BRANCHES = ("attn", "mlp")
TOP = 5
"""Classes and memory keys that are kept per token."""


def chance(num_classes: int) -> float:
    """Return the mean identifiability of a random ranking of C classes, (C + 1) / (2 C)."""
    return (num_classes + 1) / (2 * num_classes)


def block_name(block: int) -> str:
    """Return the name of a block's files without their suffix."""
    return f"block_{block:02d}"
