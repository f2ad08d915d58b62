"""The random explanation: what any other has to beat."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array
from classlens.batching import batches
from classlens.h5 import h5py
from classlens.hdf5 import CHUNK_ROWS, Column, RowWriter


def random_importance(seed: int, start: int, stop: int, tokens: int) -> Array:
    """Return importances (stop - start, P) float32 in [0, 1), drawn per image.

    An image's draw depends on the seed and its own index alone, so it is the same however images are batched.

    Args:
        seed: of the draws.
        start, stop: first and last + 1 image.
        tokens: P.
    """
    drawn = [np.random.default_rng([seed, image]).random(tokens, np.float32) for image in range(start, stop)]
    return np.stack(drawn) if drawn else np.empty((0, tokens), np.float32)


def write_random_explanation(pixels: str, explanation: str, *, tokens: int, seed: int) -> None:
    """Write the random explanation: `importance` (N, P).

    Args:
        pixels: pixel file of the evaluation images; only their number counts.
        explanation: the file to write.
        tokens: P.
        seed: of the draws.
    """
    with h5py.File(pixels) as images:
        total = len(images["pixels"])
    column = Column((tokens,), np.float32, "importance of each image token: drawn at random for every image")
    with RowWriter(explanation, total, {"importance": column}) as writer:
        for part in batches(total, CHUNK_ROWS):
            writer.append({"importance": random_importance(seed, part.start, part.stop, tokens)})
