"""The random explanation: what any other has to beat."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array
from classlens.batching import batches
from classlens.h5 import h5py
from classlens.hdf5 import CHUNK_ROWS, Column, RowWriter


def random_importance(seed: int, start: int, stop: int, tokens: int) -> Array:
    """Return importances (stop - start, P = tokens) float32 in [0, 1), drawn per image.

    An image's draw depends on the seed and its own index alone, so it is the same however images are batched.
    """
    drawn = [np.random.default_rng([seed, image]).random(tokens, np.float32) for image in range(start, stop)]
    return np.stack(drawn) if drawn else np.empty((0, tokens), np.float32)


def write_random_explanation(pixels: str, explanation: str, *, tokens: int, seed: int) -> None:
    """Write the random explanation `importance` (N, P = tokens) of a pixel file, of which only the number N counts."""
    with h5py.File(pixels) as images:
        total = len(images["pixels"])
    column = Column((tokens,), np.float32, "importance of each image token: drawn at random for every image")
    with RowWriter(explanation, total, {"importance": column}) as writer:
        for part in batches(total, CHUNK_ROWS):
            writer.append({"importance": random_importance(seed, part.start, part.stop, tokens)})
