"""A score as it is reported: a number, how sure it is, and how it was come by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Score:
    """One number with its interval and its signature.

    `low` and `high` bound the 95 % interval; they are None where there is nothing to resample. `n` is how
    many units (documents, unless the signature says otherwise) the number rests on. Two scores may be
    compared when their signatures agree.
    """

    value: float
    low: float | None
    high: float | None
    unit: str
    n: int
    signature: str = ""

    @property
    def interval(self) -> str:
        """`low to high`, or empty when there is no interval."""
        return "" if self.low is None or self.high is None else f"{self.low:.4g} to {self.high:.4g}"

    def plain(self) -> dict[str, Any]:
        """The score as plain data, for a JSON report."""
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Score:
        """The score that `plain` wrote."""
        return cls(**data)


def resample(columns: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums of columns (D, C) over `resamples` bootstrap samples of the D documents: (resamples, C) float64.

    Each sample draws D documents with replacement (Efron 1979). The draws depend on `seed`, D and
    `resamples` only.
    """
    columns = np.asarray(columns, dtype=np.float64)
    documents = len(columns)
    generator = np.random.default_rng(seed)
    sums = np.empty((resamples, columns.shape[1]))
    for sample in range(resamples):
        times = np.bincount(generator.integers(documents, size=documents), minlength=documents)
        sums[sample] = times @ columns
    return sums


def percentiles(samples: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of resampled values: the percentile bootstrap interval."""
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)
