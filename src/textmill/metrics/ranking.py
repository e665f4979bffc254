"""How well things are put in order: AUROC and average precision of yes and no, recall at k, MRR and nDCG of a search.

AUROC              the share of pairs (one yes, one no) in which the yes has the higher score; ties count half
                   (Hanley & McNeil 1982)
average precision  Σ over thresholds (recall gained · precision there), as scikit-learn computes it
recall at k        the share of what is relevant to a query that stands among its first k results
MRR                the mean of 1 / rank of the first relevant result
nDCG at k          Σ relevant at rank r ≤ k of 1 / log2(r + 1), over the most there could be (Järvelin & Kekäläinen
                   2002)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike

from textmill.base.errors import TextmillError
from textmill.metrics.guesses import proportion
from textmill.metrics.score import BOOTSTRAP, Bootstrap, Score, percentiles

_AT_ONCE = 1 << 17  # numbers of samples that are looked at together, so that they stay in a cache


class _Ranked:
    """Scores (D,) of what is true or not, (D,) bool, in order, the highest first. Of the n true ones is kept how many
    of all, and of the true ones, stand before those with its score, and how many up to the last of these."""

    def __init__(self, scores: np.ndarray, truth: np.ndarray) -> None:
        """Raises TextmillError where all are true or none is."""
        if not truth.any() or truth.all():
            raise TextmillError("there are not both true and false ones to tell apart")
        self._order = np.argsort(-scores, kind="stable")
        level = np.cumsum(np.diff(scores[self._order], prepend=np.nan) != 0)
        self._true = truth[self._order]
        own = level[self._true]
        self._bounds, self._own_bounds = (
            [np.searchsorted(among, own, side) for side in ("left", "right")] for among in (level, own)
        )

    def areas(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(S,) AUROC and (S,) average precision of samples in which each stands so many times, (S, D); NaN where all
        there are true, or none is."""
        every = times[:, self._order]
        own = every[:, self._true]
        yes, count = own.sum(1), every.sum(1)
        before, through = _summed(every, self._bounds)
        own_before, own_through = _summed(own, self._own_bounds)
        # The no's behind a yes are worth 1 each, those of its own score a half.
        behind = (count - yes)[:, None] - (before - own_before + through - own_through) / 2
        precision = own_through / np.maximum(through, 1)
        with np.errstate(invalid="ignore"):
            area = (own * behind).sum(1) / (yes * (count - yes)).astype(np.float64)
            average = np.where(count > yes, (own * precision).sum(1) / yes, np.nan)
        return area, average


def _summed(values: np.ndarray, bounds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The sums of the first so many of each row of (S, D), for each of some bounds (n,): (S, n)."""
    sums = np.zeros((len(values), values.shape[1] + 1), dtype=np.int64)
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return [sums[:, bound] for bound in bounds]


def _samples(bootstrap: Bootstrap, documents: int) -> Iterator[np.ndarray]:
    """Its samples, some at once: (S, D)."""
    draws = bootstrap.draws(documents)
    while some := list(islice(draws, max(1, _AT_ONCE // documents))):
        yield np.stack(some)


def told_apart(
    score: ArrayLike, truth: ArrayLike, bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> dict[str, Score]:
    """`AUROC` and `average precision` of (D,) scores of what is true or not, (D,) bool.

    Raises TextmillError where all are true or none is.
    """
    ranked, documents = _Ranked(np.asarray(score, np.float64), np.asarray(truth, bool)), np.size(truth)
    whole = ranked.areas(np.ones((1, documents), dtype=np.int64))
    found = [np.zeros((2, 0)), *(np.stack(ranked.areas(times)) for times in _samples(bootstrap, documents))]
    samples = np.concatenate(found, axis=1)
    return {
        name: _score(name, float(whole[place][0]), samples[place], documents, bootstrap, how)
        for place, name in enumerate(("AUROC", "average precision"))
    }


def each_against_the_rest(
    scores: ArrayLike, truth: ArrayLike, bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> Score:
    """`AUROC` of several labels: the mean over labels of how well each is told from all others, of (D, C) scores and
    (D,) numbers of the labels that are right. Labels that nothing has, or everything, are left out.

    Raises TextmillError where none is left.
    """
    table, right = np.asarray(scores, np.float64), np.asarray(truth)
    sides = [(table[:, label], right == label) for label in range(table.shape[1])]
    ranked = [_Ranked(side, hits) for side, hits in sides if hits.any() and not hits.all()]
    if not ranked:
        raise TextmillError("there are not two labels to tell apart")

    def means(times: np.ndarray) -> np.ndarray:
        """(S,), of labels that a sample has."""
        found = np.stack([one.areas(times)[0] for one in ranked])
        there = ~np.isnan(found)
        return np.where(there, found, 0.0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)

    every = [np.zeros(0), *(means(times) for times in _samples(bootstrap, len(right)))]
    value = float(means(np.ones((1, len(right)), dtype=np.int64))[0])
    words = "|".join(filter(None, (f"mean-over-{len(ranked)}-labels-each-against-the-rest", how)))
    return _score("AUROC", value, np.concatenate(every), len(right), bootstrap, words)


def _score(
    name: str, value: float, samples: np.ndarray, documents: int, bootstrap: Bootstrap, how: str
) -> Score:
    """With the interval of its samples; NaN are those that tell nothing."""
    samples = samples[~np.isnan(samples)]
    low, high = percentiles(samples) if len(samples) else (None, None)
    words = f"documents:{documents}|{bootstrap.words(documents)}"
    signature = "|".join(filter(None, (name.replace(" ", "-"), words, how)))
    return Score(value, low, high, "", documents, signature)


def found(
    results: Sequence[Sequence[Hashable]],
    relevant: Sequence[Sequence[Hashable]],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    at: Sequence[int] = (1, 5, 10),
    how: str = "",
) -> dict[str, Score]:
    """`recall@k` and `nDCG@k` for each k, and `MRR`, of queries: what was found, best first, and what is relevant.

    Raises TextmillError when there is no query, or one to which nothing is relevant.
    """
    hits, wanted = [], np.array([len(set(each)) for each in relevant])
    if (wanted == 0).any():
        raise TextmillError(
            "nothing is relevant to a query",
            where=f"query {int(np.argmin(wanted)) + 1}",
            advice="leave it out",
        )
    for said, true in zip(results, map(set, relevant), strict=True):
        unique = list(dict.fromkeys(said))
        hits.append(
            np.array([1 + rank for rank, name in enumerate(unique) if name in true], dtype=np.float64)
        )
    made: dict[str, Score] = {}
    for k in at:
        recall = [(ranks <= k).sum() / count for ranks, count in zip(hits, wanted, strict=True)]
        gain = [
            (1 / np.log2(ranks[ranks <= k] + 1)).sum() / (1 / np.log2(np.arange(2, min(k, count) + 2))).sum()
            for ranks, count in zip(hits, wanted, strict=True)
        ]
        made[f"recall@{k}"] = proportion(f"recall@{k}|mean over queries", recall, bootstrap, how=how)
        made[f"nDCG@{k}"] = proportion(f"nDCG@{k}|mean over queries, gain 0 or 1", gain, bootstrap, how=how)
    first = [1 / ranks[0] if len(ranks) else 0.0 for ranks in hits]
    return made | {"MRR": proportion("MRR|mean 1/rank of the first", first, bootstrap, how=how)}
