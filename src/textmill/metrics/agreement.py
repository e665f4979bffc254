"""How far judges agree beyond chance: accuracy, Cohen's kappa, Krippendorff's alpha.

    kappa = (agreement observed - expected) / (1 - expected), expected from how often each of two judges says each label
            (Cohen 1960)
    alpha = 1 - disagreement observed / expected, for any number of judges, with gaps (Krippendorff 2011, "Computing
            Krippendorff's Alpha-Reliability"); a disagreement weighs as its level says: 1 between any two labels
            (nominal), by how many stand between them (ordinal), by the squared difference (interval)

1 is full agreement, 0 that of chance, below 0 less than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from textmill.base.errors import TextmillError
from textmill.metrics.guesses import proportion
from textmill.metrics.score import BOOTSTRAP, Bootstrap, Score, percentiles

Level = Literal["nominal", "ordinal", "interval"]


def agreement(
    one: Sequence[str], other: Sequence[str], bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> dict[str, Score]:
    """`agreement` (the share of texts with the same label) and `Cohen's kappa` of two judges.

    Kappa is left out where both always say the same one label. Raises TextmillError when there is no text.
    """
    left, right = np.asarray(one, dtype=str), np.asarray(other, dtype=str)
    made = {"agreement": proportion("agreement|same/texts", left == right, bootstrap, how=how)}
    names, codes = np.unique(np.concatenate([left, right]), return_inverse=True)
    first, second = codes[: len(left)], codes[len(left) :]

    def kappa(times: np.ndarray) -> float:
        total = times.sum()
        shares = [np.bincount(side, times, len(names)) / total for side in (first, second)]
        expected = float(shares[0] @ shares[1])
        return (
            (float(times @ (first == second)) / total - expected) / (1 - expected) if expected < 1 else np.nan
        )

    value = kappa(np.ones(len(left)))
    if not np.isnan(value):
        samples = np.array([kappa(times) for times in bootstrap.draws(len(left))])
        samples = samples[~np.isnan(samples)]
        low, high = percentiles(samples) if len(samples) else (None, None)
        parts = ("Cohen-kappa", f"documents:{len(left)}", bootstrap.words(len(left)), how)
        made["Cohen's kappa"] = Score(value, low, high, "", len(left), "|".join(filter(None, parts)))
    return made


def alpha(judgements: Sequence[Sequence[str | float | None]], level: Level = "nominal") -> float:
    """Krippendorff's alpha: for each text what each judge said, None where one said nothing.

    A text that fewer than two judged tells nothing and is left out. Raises TextmillError where nothing is left, or
    where all say the same, so that there is no disagreement to expect.
    """
    units = [[said for said in unit if said is not None] for unit in judgements]
    units = [unit for unit in units if len(unit) > 1]
    values = sorted({said for unit in units for said in unit}, key=lambda said: (str(type(said)), said))
    if len(values) < 2:
        raise TextmillError(
            "there is no disagreement to expect: all judgements are the same, or there are none"
        )
    number = {value: place for place, value in enumerate(values)}
    coincidences = np.zeros((len(values), len(values)))
    for unit in units:
        counts = np.bincount([number[said] for said in unit], minlength=len(values))
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    each = coincidences.sum(0)
    weight = _weights(values, each, level)
    expected = (np.outer(each, each) * weight).sum() / (each.sum() - 1)
    return float(1 - (coincidences * weight).sum() / expected)


def _weights(values: Sequence[str | float], each: np.ndarray, level: Level) -> np.ndarray:
    """(V, V): what a disagreement between two values weighs; each (V,): how often they were said."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "interval":
        numbers = np.array([float(value) for value in values])
        return (numbers[:, None] - numbers) ** 2
    up_to = np.cumsum(each) - each / 2  # the ranks between two values, half of each end
    return (up_to[:, None] - up_to) ** 2
