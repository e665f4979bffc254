"""Whether one system is really better than another that was judged on the same texts.

    approximate randomisation  the two answers to each text are exchanged or not by the toss of a coin, R times. With c
                               times a difference at least as large as the one seen, p = (c + 1) / (R + 1) (Noreen
                               1989; Riezler & Maxwell 2005)
    exact McNemar              of the texts only one of two got right, b and c: p = min(1, 2 · P(X ≤ min(b, c))) with
                               X ~ Binomial(b + c, 1/2) (McNemar 1947; Edwards 1948)

Both are two-sided. Texts that were drawn together are exchanged together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from textmill.base.errors import TextmillError
from textmill.metrics.score import BOOTSTRAP, Bootstrap, percentiles

ROUNDS = 10_000
_AT_ONCE = 1 << 22  # coins tossed


@dataclass(frozen=True)
class Difference:
    """Of two systems on the same texts: value (the first's score minus the second's), its 95 % interval where there is
    one, and p, the chance of one at least as large if the systems were alike."""

    value: float
    low: float | None
    high: float | None
    p: float
    n: int
    signature: str

    @property
    def real(self) -> bool:
        """Whether chance alone would seldom (p < 0.05) bring such a difference."""
        return self.p < 0.05


def randomised(
    one: ArrayLike,
    other: ArrayLike,
    value: Callable[[np.ndarray], np.ndarray],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    rounds: int = ROUNDS,
) -> Difference:
    """The difference of a score that is a function of sums, (S, C) -> (S,), as `metrics.score.Sums` has it.

    one, other  (D, C) figures of the two systems, of the same texts in the same order
    Raises TextmillError when there is no text.
    """
    left, right = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if left.shape != right.shape or not len(left):
        raise TextmillError("the two systems were not judged on the same texts, or on none")
    units = np.arange(len(left)) if bootstrap.units is None else bootstrap.units
    count = bootstrap.drawn(len(left))
    moved = np.zeros((count, left.shape[1]))  # what a unit takes from one side to the other
    np.add.at(moved, units, right - left)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = left.sum(0), right.sum(0)
        seen = float((value(total[0][None]) - value(total[1][None]))[0])
        generator, as_large = np.random.default_rng(bootstrap.seed), 0
        at_once = max(1, _AT_ONCE // count)
        for start in range(0, rounds, at_once):
            coins = generator.integers(2, size=(min(at_once, rounds - start), count), dtype=np.int8)
            change = coins.astype(np.float64) @ moved
            differences = value(total[0] + change) - value(total[1] - change)
            as_large += int((np.abs(differences) >= abs(seen) - 1e-12).sum())
        samples = [bootstrap.sums(side) for side in (left, right)]
        low, high = None, None
        if samples[0] is not None and samples[1] is not None:
            drawn = value(samples[0]) - value(samples[1])  # the same draws of both
            low, high = percentiles(drawn[np.isfinite(drawn)])
    signature = (
        f"approximate randomisation, {rounds} rounds, seed {bootstrap.seed}|{bootstrap.words(len(left))}"
    )
    return Difference(seen, low, high, (as_large + 1) / (rounds + 1), len(left), signature)


def mcnemar(one: ArrayLike, other: ArrayLike, bootstrap: Bootstrap = BOOTSTRAP) -> Difference:
    """The difference in accuracy of two systems: (D,), (D,) whether each got a text right.

    The test takes every text for itself: where texts were drawn in groups, use `randomised`. Raises TextmillError when
    there is no text.
    """
    left, right = np.asarray(one, bool), np.asarray(other, bool)
    if left.shape != right.shape or not len(left):
        raise TextmillError("the two systems were not judged on the same texts, or on none")
    only_left, only_right = int((left & ~right).sum()), int((right & ~left).sum())
    number, fewer = only_left + only_right, min(only_left, only_right)
    tail = sum(math.comb(number, k) for k in range(fewer + 1))
    gained = (left.astype(np.float64) - right)[:, None]
    sums = bootstrap.sums(gained)
    low, high = (None, None) if sums is None else percentiles(sums[:, 0] / len(left))
    return Difference(
        (only_left - only_right) / len(left),
        low,
        high,
        min(1.0, (2 * tail) / (1 << number)),
        len(left),
        f"exact McNemar, {only_left} and {only_right} of {len(left)}|{bootstrap.words(len(left))}",
    )
