"""Which images a lens page shows."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array


def even_sample(class_index: Array, count: int, seed: int) -> Array:
    """Choose images evenly over classes.

    Every class gives one image before any gives a second; which images, and which classes where there are more of them
    than images are wanted, is drawn. It depends on nothing but the arguments, so all models of a data set show the same
    images.

    Args:
        class_index: (N), class of each image.
        count: images to choose; all are taken where there are no more.
        seed: of the draw.

    Returns:
        (min(count, N)), image numbers in ascending order.
    """
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(len(class_index))
    by_class = shuffled[np.argsort(class_index[shuffled], kind="stable")]
    _, starts, sizes = np.unique(class_index[by_class], return_index=True, return_counts=True)
    turn = np.arange(len(by_class)) - np.repeat(starts, sizes)
    order_of_classes = np.repeat(draw.permutation(len(sizes)), sizes)
    chosen: Array = np.sort(by_class[np.lexsort((order_of_classes, turn))][:count])
    return chosen
