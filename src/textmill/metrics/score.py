"""A score as it is reported: a number, how sure it is, and how it was come by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError

RESAMPLES = 1000


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
    sums = np.empty((resamples, columns.shape[1]))
    for sample, times in enumerate(draws(len(columns), resamples, seed)):
        sums[sample] = times @ columns
    return sums


def draws(documents: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each document stands in each bootstrap sample: `resamples` times (D,) int64."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(documents, size=documents), minlength=documents)


def percentiles(samples: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of resampled values: the percentile bootstrap interval."""
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)


def interval_words(documents: int, resamples: int, seed: int) -> str:
    """How the interval came about, for a signature."""
    if documents < 2:
        return "interval:none"
    return f"interval:95% percentile bootstrap, {resamples} resamples, seed {seed}"


@dataclass(frozen=True, eq=False)
class Sums:
    """Figures of documents, summed over all of them and over every bootstrap sample.

    A score is a function of sums (a ratio, an F1, BLEU), so its interval is that function of each sample's sums.

    total    (1, C)
    samples  (S, C), or None where there is one document, and so nothing to resample
    """

    total: np.ndarray
    samples: np.ndarray | None
    documents: int
    interval: str

    @classmethod
    def of(cls, columns: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> Sums:
        """Of a figure in each column: (D, C). Raises TextmillError when there is no document."""
        table = np.asarray(columns, dtype=np.float64)
        _some(len(table))
        samples = resample(table, resamples, seed) if len(table) > 1 else None
        return cls(table.sum(0)[None], samples, len(table), interval_words(len(table), resamples, seed))

    @classmethod
    def of_events(
        cls,
        documents: int,
        owners: np.ndarray,
        kinds: np.ndarray,
        count: int,
        *,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> Sums:
        """How often each of `count` kinds of event happened: owners (E,) its document, kinds (E,) what it was.

        The same as `of` a table of documents by kinds, which would be large and mostly zeros.
        """
        _some(documents)
        samples = None
        if documents > 1:
            samples = np.empty((resamples, count))
            for sample, times in enumerate(draws(documents, resamples, seed)):
                samples[sample] = np.bincount(kinds, times[owners], count)
        total = np.bincount(kinds, minlength=count).astype(np.float64)[None]
        return cls(total, samples, documents, interval_words(documents, resamples, seed))

    def score(
        self, name: str, value: Callable[[np.ndarray], np.ndarray], *, unit: str = "", how: str = ""
    ) -> Score:
        """The score that `value` makes of sums, (S, C) -> (S,). `name` begins its signature, `how` ends it.

        Samples of which it makes no number (they hold nothing of what is asked for) are left out of the interval.
        Raises TextmillError when it makes none of all documents.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = float(value(self.total)[0])
            samples = np.zeros(0) if self.samples is None else value(self.samples)
        if not np.isfinite(whole):
            label = name.partition("|")[0]
            raise TextmillError(f"{label} is no number", advice="the model's weights may be damaged")
        samples = samples[np.isfinite(samples)]
        low, high = percentiles(samples) if len(samples) else (None, None)
        signature = "|".join(filter(None, (name, f"documents:{self.documents}", self.interval, how)))
        return Score(whole, low, high, unit, self.documents, signature)


def share(top: int, bottom: int) -> Callable[[np.ndarray], np.ndarray]:
    """Column `top` over column `bottom`, as `Sums.score` wants it."""
    return lambda sums: sums[:, top] / sums[:, bottom]


def _some(documents: int) -> None:
    if not documents:
        raise TextmillError(
            "there is nothing to score", advice="give a part of the corpus that holds documents"
        )
