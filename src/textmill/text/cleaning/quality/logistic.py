"""Logistic regression on sparse rows of equal values, by Newton's method; numpy only, and the same on every run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TURNS = 50  # of Newton's method; ten are usual
_PRODUCTS = 200  # of the Hessian with a vector, in one turn


@dataclass(frozen=True)
class Rows:
    """n sparse rows, each of length one: the entries of row i are all 1 / sqrt(how many it has).

    A row without entries is zero.
    """

    row: NDArray[np.int64]  # (entries,) rising
    column: NDArray[np.int64]  # (entries,) no column twice in a row
    count: int  # n
    width: int  # number of columns

    @property
    def scale(self) -> NDArray[np.float64]:
        """(n,) the value of the entries of each row."""
        return 1 / np.sqrt(np.maximum(np.bincount(self.row, minlength=self.count), 1))

    def times(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) the product of each row with the weights (width,)."""
        return np.bincount(self.row, weights=weights[self.column], minlength=self.count) * self.scale

    def gathered(self, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """(width,) the sum of the rows, each times its factor (n,)."""
        values = (factors * self.scale)[self.row]
        return np.asarray(np.bincount(self.column, weights=values, minlength=self.width), np.float64)


def fit(
    rows: Rows, good: NDArray[np.bool_], weight: NDArray[np.float64], strength: float
) -> tuple[NDArray[np.float64], float]:
    """(weights, bias) that minimise ½|weights|² + strength · Σ weight · log(1 + exp(-y · logit)), y = 1 or -1.

    The bias is not held small. Truncated Newton (Nocedal & Wright 2006, section 7.1): conjugate gradients on the
    Hessian, then steps halved until the loss falls enough. No product goes through a threaded library, so the
    result does not depend on the number of threads.
    """
    signs = np.where(good, 1.0, -1.0)
    cost = strength * weight
    point = np.zeros(rows.width + 1)  # the bias is the last
    loss, logits = _loss(rows, point, signs, cost)
    first = 0.0
    for _ in range(_TURNS):
        wrong = 1 / (1 + np.exp(np.clip(signs * logits, -500, 500)))  # probability of the other side
        gradient = _join(rows, -cost * signs * wrong) + _held(point)
        size = float(np.sqrt(np.sum(gradient * gradient)))
        first = first or size
        if size <= 1e-8 * first or size == 0:
            break
        curve = cost * wrong * (1 - wrong)
        step = _newton(rows, curve, gradient, min(0.1, np.sqrt(size / first)) * size)
        slope, length = float(np.sum(gradient * step)), 1.0
        while length > 1e-10:
            tried, there = _loss(rows, point + length * step, signs, cost)
            if tried <= loss + 1e-4 * length * slope:
                break
            length /= 2
        else:  # as low as rounding lets it get
            break
        point, loss, logits = point + length * step, tried, there
    return point[:-1], float(point[-1])


def _loss(
    rows: Rows, point: NDArray[np.float64], signs: NDArray[np.float64], cost: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    logits = rows.times(point[:-1]) + point[-1]
    return float(np.sum(cost * np.logaddexp(0, -signs * logits)) + 0.5 * np.sum(point[:-1] ** 2)), logits


def _join(rows: Rows, factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the rows with a one behind each, times their factors."""
    return np.append(rows.gathered(factors), np.sum(factors))


def _held(point: NDArray[np.float64]) -> NDArray[np.float64]:
    """The gradient of the penalty ½|weights|², in which the bias has no part."""
    held = point.copy()
    held[-1] = 0
    return held


def _newton(
    rows: Rows, curve: NDArray[np.float64], gradient: NDArray[np.float64], least: float
) -> NDArray[np.float64]:
    """The step that solves Hessian · step = -gradient up to `least`, by conjugate gradients."""
    step, rest = np.zeros_like(gradient), -gradient
    direction, size = rest, float(np.sum(rest * rest))
    for _ in range(_PRODUCTS):
        if np.sqrt(size) <= least:
            break
        image = _join(rows, curve * (rows.times(direction[:-1]) + direction[-1])) + _held(direction)
        along = float(np.sum(direction * image))
        if along <= 0:  # flat in the direction of the bias: all examples of one kind
            break
        step = step + size / along * direction
        rest = rest - size / along * image
        size, before = float(np.sum(rest * rest)), size
        direction = rest + size / before * direction
    return step
