"""Whether a system knows when to be silent: how many wrong answers are left at each share of right ones.

Of N questions, each with the confidence in its answer: `answerable` where there is something to find, `right` where
what is said is right. One that is not answerable has no right answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from textmill.base.errors import TextmillError


def risk_coverage(confidence: ArrayLike, right: ArrayLike, answerable: ArrayLike) -> list[dict[str, float]]:
    """What is left when the least sure answers are not given, at every tenth of the answerable questions answered:

    coverage    of the answerable questions, the share that still gets an answer
    threshold   confidence from which on an answer is given
    risk        of the answers given, the share that is wrong
    wrong_left  of the answers that are wrong when all are given, the share still given

    That coverage counts answerable questions only: where half have no answer, a system that is silent on just
    those would else cover no more than half.
    """
    sure, hit, there = (
        np.asarray(confidence, np.float64),
        np.asarray(right, bool),
        np.asarray(answerable, bool),
    )
    if not there.any():
        raise TextmillError("needs questions that have an answer", where="coverage")
    falling = np.sort(sure[there])[::-1]
    rows = []
    for tenth in range(10, 0, -1):
        least = falling[max(int(np.ceil(len(falling) * tenth / 10)), 1) - 1]
        given = sure >= least
        rows.append(
            {
                "coverage": float((given & there).sum() / there.sum()),
                "threshold": float(least),
                "risk": float((given & ~hit).sum() / given.sum()),
                "wrong_left": float((given & ~hit).sum() / max((~hit).sum(), 1)),
            }
        )
    return rows
