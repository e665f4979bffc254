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


def told_apart(
    score: ArrayLike, truth: ArrayLike, bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> dict[str, Score]:
    """`AUROC` and `average precision` of (D,) scores of what is true or not, (D,) bool.

    Raises TextmillError where all are true or none is.
    """
    scores, truth = np.asarray(score, np.float64), np.asarray(truth, bool)
    if not truth.any() or truth.all():
        raise TextmillError("there are not both true and false ones to tell apart")
    order = np.argsort(-scores, kind="stable")
    ranked, last = truth[order], np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)  # of equal scores

    def both(times: np.ndarray) -> tuple[float, float] | None:
        """Of a sample in which each stands so many times."""
        yes = np.cumsum(np.where(ranked, times[order], 0))[last]
        no = np.cumsum(np.where(ranked, 0, times[order]))[last]
        if not yes[-1] or not no[-1]:
            return None
        gained_yes, gained_no = np.diff(yes, prepend=0), np.diff(no, prepend=0)
        area = (gained_no * (yes - gained_yes / 2)).sum() / (float(yes[-1]) * float(no[-1]))
        precision = yes / np.maximum(yes + no, 1)
        return float(area), float((gained_yes * precision).sum() / yes[-1])

    whole = both(np.ones(len(truth), dtype=np.int64))
    assert whole is not None
    sampled = [pair for pair in map(both, bootstrap.draws(len(truth))) if pair is not None]
    words = f"documents:{len(truth)}|{bootstrap.words(len(truth))}"
    made = {}
    for place, name in enumerate(("AUROC", "average precision")):
        low, high = percentiles(np.array(sampled)[:, place]) if sampled else (None, None)
        signature = "|".join(filter(None, (name.replace(" ", "-"), words, how)))
        made[name] = Score(whole[place], low, high, "", len(truth), signature)
    return made


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
