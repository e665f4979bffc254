"""A score as it is reported: a number, how sure it is, and how it was come by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from textmill.base.errors import TextmillError

RESAMPLES = 1000
LOWER: Literal["lower"] = "lower"  # what is better of an error or a loss
Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Score:
    """One number with its interval and its signature.

    `low` and `high` bound the 95 % interval; they are None where there is nothing to resample. `n` is how
    many units (documents, unless the signature says otherwise) the number rests on. Two scores may be
    compared when their signatures agree; `better` says which of them then is.
    """

    value: float
    low: float | None
    high: float | None
    unit: str
    n: int
    signature: str = ""
    better: Better = "higher"

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


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """How intervals are made: `resamples` times, as many units as there are, drawn with replacement (Efron 1979).

    A unit is what was drawn when the documents were chosen. Documents that came together, as a group of the split
    does, are drawn together, or the interval would be too narrow (Davison & Hinkley 1997, section 3.8).

    units  (D,) int64: the unit of each document, from 0; None: each is its own
    The draws depend on `seed`, `resamples` and the number of units only.
    """

    resamples: int = RESAMPLES
    seed: int = 0
    units: np.ndarray | None = None

    def of(self, chosen: np.ndarray) -> Bootstrap:
        """The same for some of the documents: (n,) their numbers, or (D,) bool."""
        if self.units is None:
            return self
        return replace(self, units=np.unique(self.units[chosen], return_inverse=True)[1])

    def drawn(self, documents: int) -> int:
        """How many units there are."""
        return documents if self.units is None else int(self.units.max(initial=-1)) + 1

    def draws(self, documents: int) -> Iterator[np.ndarray]:
        """How often each document stands in each bootstrap sample: `resamples` times (D,) int64; never of one unit."""
        count = self.drawn(documents)
        if count < 2:
            return
        generator = np.random.default_rng(self.seed)
        for _ in range(self.resamples):
            times = np.bincount(generator.integers(count, size=count), minlength=count)
            yield times if self.units is None else times[self.units]

    def sums(self, columns: np.ndarray) -> np.ndarray | None:
        """Sums of columns (D, C) over each sample: (S, C) float64; None where there is one unit only."""
        columns = np.asarray(columns, dtype=np.float64)
        samples = [times @ columns for times in self.draws(len(columns))]
        return np.stack(samples) if samples else None

    def words(self, documents: int) -> str:
        """How the interval came about, for a signature."""
        count = self.drawn(documents)
        if count < 2:
            return "interval:none"
        over = "" if self.units is None else f" over {count} groups"
        return f"interval:95% percentile bootstrap{over}, {self.resamples} resamples, seed {self.seed}"


BOOTSTRAP = Bootstrap()


def percentiles(samples: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of resampled values: the percentile bootstrap interval."""
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Sums:
    """Figures of documents, summed over all of them and over every bootstrap sample.

    A score is a function of sums (a ratio, an F1, BLEU), so its interval is that function of each sample's sums.

    total    (1, C)
    samples  (S, C), or None where there is one unit, and so nothing to resample
    """

    total: np.ndarray
    samples: np.ndarray | None
    documents: int
    interval: str

    @classmethod
    def of(cls, columns: np.ndarray, bootstrap: Bootstrap = BOOTSTRAP) -> Sums:
        """Of a figure in each column: (D, C). Raises TextmillError when there is no document."""
        table = np.asarray(columns, dtype=np.float64)
        _some(len(table))
        return cls(table.sum(0)[None], bootstrap.sums(table), len(table), bootstrap.words(len(table)))

    @classmethod
    def of_events(
        cls,
        documents: int,
        owners: np.ndarray,
        kinds: np.ndarray,
        count: int,
        bootstrap: Bootstrap = BOOTSTRAP,
    ) -> Sums:
        """How often each of `count` kinds of event happened: owners (E,) its document, kinds (E,) what it was.

        The same as `of` a table of documents by kinds, which would be large and mostly zeros.
        """
        _some(documents)
        samples = [np.bincount(kinds, times[owners], count) for times in bootstrap.draws(documents)]
        total = np.bincount(kinds, minlength=count).astype(np.float64)[None]
        return cls(total, np.stack(samples) if samples else None, documents, bootstrap.words(documents))

    def score(
        self,
        name: str,
        value: Callable[[np.ndarray], np.ndarray],
        *,
        unit: str = "",
        how: str = "",
        better: Better = "higher",
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
            raise TextmillError(f"{label} is not a number", advice="the model's weights may be damaged")
        samples = samples[np.isfinite(samples)]
        low, high = percentiles(samples) if len(samples) else (None, None)
        signature = "|".join(filter(None, (name, f"documents:{self.documents}", self.interval, how)))
        return Score(whole, low, high, unit, self.documents, signature, better)


@dataclass(frozen=True, eq=False)
class Figures:
    """What a score is made of, text by text: for scores of some of them, and for comparing two systems.

    columns  (D, C)
    value    sums (S, C) -> (S,), as `Sums.score` has it
    binary   whether each text is simply right or wrong, so that exact tests apply
    """

    name: str
    columns: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]
    better: Better = "higher"
    binary: bool = False

    def __len__(self) -> int:
        return len(self.columns)

    def of(self, chosen: np.ndarray) -> Figures:
        """Those of some texts: (n,) their numbers, or (D,) bool."""
        return replace(self, columns=self.columns[chosen])

    def score(self, bootstrap: Bootstrap = BOOTSTRAP) -> Score:
        """The score of all of them. Raises TextmillError when there is none, or nothing in them to be scored."""
        return Sums.of(self.columns, bootstrap).score(
            self.name.replace(" ", "-"), self.value, better=self.better
        )

    @property
    def each(self) -> np.ndarray:
        """(D,) the value of each text by itself; NaN where it has none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.value(self.columns)


def right_or_wrong(name: str, hits: Sequence[bool] | np.ndarray) -> Figures:
    """Figures of texts that are each right or wrong."""
    columns = np.column_stack([np.asarray(hits, np.float64), np.ones(len(hits))])
    return Figures(name, columns.reshape(-1, 2), share(0, 1), binary=True)


def share(top: int, bottom: int) -> Callable[[np.ndarray], np.ndarray]:
    """Column `top` over column `bottom`, as `Sums.score` wants it."""
    return lambda sums: sums[:, top] / sums[:, bottom]


def _some(documents: int) -> None:
    if not documents:
        raise TextmillError("nothing to score", advice="give a split of the corpus that holds documents")
