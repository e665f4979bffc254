"""How well numbers are guessed: squared and absolute error, and correlation.

    mean squared error   =  Σ (g - t)² / n
    mean absolute error  =  Σ |g - t| / n
    Pearson's r          =  Σ (g - ḡ)(t - t̄) / √(Σ (g - ḡ)² · Σ (t - t̄)²)        (Pearson 1895)

r says whether the order and spacing are right and is blind to scale and offset; it has no value where either side
never changes, and is left out then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from textmill.metrics.score import BOOTSTRAP, LOWER, Bootstrap, Figures, Score, Sums, share


def regression(
    truth: ArrayLike, guess: ArrayLike, bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> dict[str, Score]:
    """`mean squared error`, `mean absolute error` and, where there is one, `Pearson r`: (D,), (D,).

    Raises TextmillError when there is no number, or one that is not finite.
    """
    t, g = np.asarray(truth, np.float64), np.asarray(guess, np.float64)
    error = g - t
    # r does not change when both sides are moved, and far from zero its sums would lose their digits.
    x, y = g - g.mean() if len(g) else g, t - t.mean() if len(t) else t
    columns = [np.ones(len(t)), error**2, np.abs(error), x, y, x * x, y * y, x * y]
    sums = Sums.of(np.stack(columns, axis=1), bootstrap)
    scores = {
        "mean squared error": sums.score("mse|sum (g-t)^2/n", share(1, 0), how=how, better=LOWER),
        "mean absolute error": sums.score("mae|sum |g-t|/n", share(2, 0), how=how, better=LOWER),
    }
    if np.ptp(t) > 0 and np.ptp(g) > 0:
        scores["Pearson r"] = sums.score("pearson-r", _pearson, how=how)
    return scores


def figures(truth: ArrayLike, guess: ArrayLike) -> Figures:
    """What the mean squared error is made of, text by text: (D,) or (D, C) numbers."""
    t, g = (np.asarray(side, np.float64).reshape(len(np.asarray(side)), -1) for side in (truth, guess))
    columns = np.column_stack([np.square(g - t).sum(1), np.full(len(t), float(t.shape[1]))])
    return Figures("mean squared error", columns, share(0, 1), LOWER)


def _pearson(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = sums.T[[0, 3, 4, 5, 6, 7]]
    spread = np.maximum(xx - x * x / n, 0) * np.maximum(yy - y * y / n, 0)
    return (xy - x * y / n) / np.sqrt(spread)
