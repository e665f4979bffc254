"""How often one of k samples solves a problem, from n ≥ k samples each (Chen et al. 2021, section 2.1).

With c of n samples right, the chance that k of them drawn without replacement hold a right one:

    pass@k = 1 - C(n - c, k) / C(n, k)        averaged over problems

This has no bias, where 1 - (1 - c/n)^k is too low.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textmill.base.errors import TextmillError
from textmill.metrics.guesses import proportion
from textmill.metrics.score import BOOTSTRAP, Bootstrap, Score


def chance(n: int, c: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k) without large numbers.

    >>> chance(5, 2, 1), chance(5, 2, 4)
    (0.4, 1.0)
    """
    if n - c < k:
        return 1.0
    return float(1 - np.prod(1 - k / np.arange(n - c + 1, n + 1)))


def pass_at(
    samples: Sequence[int], right: Sequence[int], k: int, bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> Score:
    """pass@k of problems: how many samples each has, and how many of them are right. Problems are resampled.

    Raises TextmillError when there is no problem, or one with fewer than k samples.
    """
    if few := [n for n in samples if n < k]:
        raise TextmillError(f"pass@{k} wants {k} samples of each problem, and one has {few[0]}")
    values = [chance(n, c, k) for n, c in zip(samples, right, strict=True)]
    return proportion(f"pass@{k}|unbiased, {min(samples, default=0)} samples", values, bootstrap, how=how)
