"""The random explanation: what any other has to beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def random_importance(seed: int, start: int, stop: int, tokens: int) -> npt.NDArray[np.float32]:
    """Return importances (stop - start, P) in [0, 1), drawn per image.

    An image's draw depends on the seed and its own index alone, so it is the same however images are batched.

    Args:
        seed: of the draws.
        start, stop: first and last + 1 image.
        tokens: P.
    """
    drawn = [np.random.default_rng([seed, image]).random(tokens, np.float32) for image in range(start, stop)]
    return np.stack(drawn) if drawn else np.empty((0, tokens), np.float32)
