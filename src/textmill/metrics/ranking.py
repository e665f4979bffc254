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

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from textmill.base.errors import TextmillError
from textmill.metrics.guesses import proportion
from textmill.metrics.score import BOOTSTRAP, Bootstrap, Score, percentiles


class _Ranked:
    """Scores (D,) of what is true or not, (D,) bool, in order, the highest first."""

    def __init__(self, scores: np.ndarray, truth: np.ndarray) -> None:
        """Raises TextmillError where all are true or none is."""
        if not truth.any() or truth.all():
            raise TextmillError("there are not both true and false ones to tell apart")
        self._order = np.argsort(-scores, kind="stable")
        self._truth = truth[self._order]
        self._last = np.flatnonzero(np.diff(scores[self._order], append=np.nan) != 0)  # of equal scores

    def areas(self, times: np.ndarray) -> tuple[float, float]:
        """AUROC and average precision of a sample in which each stands so many times; NaN where all there are true, or
        none is."""
        yes = np.cumsum(np.where(self._truth, times[self._order], 0))[self._last]
        no = np.cumsum(np.where(self._truth, 0, times[self._order]))[self._last]
        if not yes[-1] or not no[-1]:
            return np.nan, np.nan
        gained_yes, gained_no = np.diff(yes, prepend=0), np.diff(no, prepend=0)
        area = (gained_no * (yes - gained_yes / 2)).sum() / (float(yes[-1]) * float(no[-1]))
        precision = yes / np.maximum(yes + no, 1)
        return float(area), float((gained_yes * precision).sum() / yes[-1])


def told_apart(
    score: ArrayLike, truth: ArrayLike, bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> dict[str, Score]:
    """`AUROC` and `average precision` of (D,) scores of what is true or not, (D,) bool.

    Raises TextmillError where all are true or none is.
    """
    ranked, documents = _Ranked(np.asarray(score, np.float64), np.asarray(truth, bool)), np.size(truth)
    whole = ranked.areas(np.ones(documents, dtype=np.int64))
    samples = np.array([ranked.areas(times) for times in bootstrap.draws(documents)]).reshape(-1, 2)
    return {
        name: _score(name, whole[place], samples[:, place], documents, bootstrap, how)
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

    def mean(times: np.ndarray) -> float:
        found = np.array([one.areas(times)[0] for one in ranked])
        return float(np.nanmean(found)) if not np.isnan(found).all() else np.nan

    samples = np.array([mean(times) for times in bootstrap.draws(len(right))])
    words = "|".join(filter(None, (f"mean-over-{len(ranked)}-labels-each-against-the-rest", how)))
    return _score("AUROC", mean(np.ones(len(right), dtype=np.int64)), samples, len(right), bootstrap, words)


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
