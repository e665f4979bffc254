"""How likely it is that a stretch answers: what its reader says, weighed with how well its chunk fits the question.

    log odds of being right = bias + span · log(p / (1 - p)) + held · h + near · c

with p the reader's probability, h the share of the question that the chunk holds (`grams.Fit.held`) and c the cosine of
their vectors (0 without an encoder). The weights are a logistic regression over questions whose answers are known, of
some of which the passage was taken away; so they know both a wrong place and a missing one.

Shapes: n stretches, F = 4 features, the first of them 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textmill.retrieval.reading import Stretch
from textmill.retrieval.search import Hit

_SUREST = 1e-6  # probabilities nearer to 0 or 1 count as this near
_PENALTY = 0.1  # of squared weights, so that few questions cannot make one infinite
_STEPS = 50


@dataclass(frozen=True)
class Evidence:
    """The weights, and the probability under which the documents do not say."""

    bias: float
    span: float
    held: float
    near: float
    least: float
    questions: int = 0  # it was fitted on; 0: the usual weights

    def p(self, hits: Sequence[Hit], stretches: Sequence[Stretch | None]) -> NDArray[np.float64]:
        """(n,), how likely each stretch is to answer; 0 where there is none."""
        there = np.array([stretch is not None for stretch in stretches], bool)
        weights = np.array([self.bias, self.span, self.held, self.near])
        return np.where(there, _sigmoid(features(hits, stretches) @ weights), 0.0)

    def plain(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)


# Of sentences, as `docs evaluate --fit` weighs them on squad-mini, but with a threshold so low that a store of a
# few texts answers too; of spans a guess (docs/notes/tasks.md).
USUAL = {
    "span": Evidence(bias=-3.0, span=0.8, held=4.0, near=0.0, least=0.2),
    "sentences": Evidence(bias=-4.3, span=1.9, held=4.0, near=0.0, least=0.06),
}


def features(hits: Sequence[Hit], stretches: Sequence[Stretch | None]) -> NDArray[np.float64]:
    """(n, F)."""
    p = np.clip([0.0 if one is None else one.p for one in stretches], _SUREST, 1 - _SUREST)
    held, near = np.array([hit.held for hit in hits]), np.array([hit.near for hit in hits])
    return np.column_stack([np.ones(len(hits)), np.log(p / (1 - p)), held, near])


def fit(table: ArrayLike, right: ArrayLike, question: ArrayLike) -> Evidence:
    """Weights and threshold from stretches whose answers are known.

    table: (n, F) features. right: (n,) whether it answers. question: (n,) which it is of.
    """
    rows, truth = np.asarray(table, np.float64), np.asarray(right, np.float64)
    weights = np.zeros(rows.shape[1])
    penalty = _PENALTY * np.array([0.0, *[1.0] * (rows.shape[1] - 1)])
    for _ in range(_STEPS):  # Newton's method
        p = _sigmoid(rows @ weights)
        gradient = rows.T @ (p - truth) + penalty * weights
        curvature = (rows * (p * (1 - p))[:, None]).T @ rows + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    asked, p = np.asarray(question), _sigmoid(rows @ weights)
    surest = [max(np.flatnonzero(asked == number), key=lambda row: p[row]) for number in np.unique(asked)]
    bias, span, held, near = map(float, weights)
    return Evidence(bias, span, held, near, least(p[surest], truth[surest]), len(surest))


def least(p: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """The probability from which on answers are given, where a wrong one costs what a right one is worth."""
    order = np.argsort(-p, kind="stable")
    gained = np.concatenate([[0.0], np.cumsum(2 * right[order] - 1)])
    best = int(gained.argmax())
    if best == 0:
        return 1.0
    return float(p[order[best - 1]] if best == len(order) else p[order[best - 1 : best + 1]].mean())


def _sigmoid(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
