"""Box plot statistics of numbers, a box per row."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array
from classlens.columns import BOX_COLUMNS
from classlens.measures.boxes import WHISKER


def boxes_of_rows(values: Array) -> dict[str, Array]:
    """Return the box plot of each row: quartiles with linear interpolation, Tukey's whiskers.

    Args:
        values: (n, K), K at least 1.

    Returns:
        The five numbers of `BOX_COLUMNS`, each (n).
    """
    exact = values.astype(np.float64)
    q1, median, q3 = np.quantile(exact, (0.25, 0.5, 0.75), axis=1)
    reach = WHISKER * (q3 - q1)
    low = np.where(exact >= (q1 - reach)[:, None], exact, np.inf).min(1)
    high = np.where(exact <= (q3 + reach)[:, None], exact, -np.inf).max(1)
    # An outlier next to an interpolated quartile must not turn a whisker inside the box.
    return dict(zip(BOX_COLUMNS, (np.minimum(low, q1), q1, median, q3, np.maximum(high, q3)), strict=True))
