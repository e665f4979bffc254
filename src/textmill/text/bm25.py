"""BM25: which of many passages share the rare words of a query (Robertson & Zaragoza 2009, section 3.2).

A passage scores, summed over the terms of the query, each as often as the query has it:

    idf · tf · (k1 + 1) / (tf + k1 · (1 - b + b · length / mean length)),    idf = ln(1 + (P - df + 0.5) / (df + 0.5))

with tf how often the passage has the term, df how many of the P passages have it, and lengths counted in terms. This
idf never falls below 0 (Lucene's form of the formula).

Terms are words, case aside (`text.words`). Of Chinese and Japanese they are single characters and, since one character
says little, each two that stand beside each other (Nie et al. 2000): no segmenter is needed, and none can differ
between query and passage.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import GOLDEN, mixed
from textmill.text.words import ALONE, SYMBOL, spelt

_TOGETHER = 1024  # texts whose terms are found at once


def terms(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """(n,) hashes of the terms of D texts, in order, and (n,) the text of each."""
    found, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for start in range(0, len(texts), _TOGETHER):
        words = spelt(texts[start : start + _TOGETHER])
        owner = np.repeat(np.arange(len(words.offsets) - 1), np.diff(words.offsets)) + start
        kept = words.kind != SYMBOL
        alone = words.kind == ALONE
        beside = alone[1:] & alone[:-1] & (words.end[:-1] == words.start[1:]) & (owner[1:] == owner[:-1])
        pairs = mixed(words.hash[:-1][beside] * np.uint64(GOLDEN) + words.hash[1:][beside])
        found += [words.hash[kept], pairs]
        owners += [owner[kept], owner[:-1][beside]]
    return np.concatenate(found), np.concatenate(owners)


class BM25:
    """An index of passages, in memory: 12 bytes for each different term of each passage."""

    def __init__(self, passages: Sequence[str], *, k1: float = 1.2, b: float = 0.75) -> None:
        """k1: how soon more of a term stops to count. b: how much long passages are held back, 0 to 1."""
        self.passages = len(passages)
        term, owner = terms(passages)
        self._terms, term = np.unique(term, return_inverse=True)
        posting, count = np.unique(term * max(self.passages, 1) + owner, return_counts=True)
        term, self._owner = np.divmod(posting, max(self.passages, 1))
        self._begins = np.searchsorted(term, np.arange(len(self._terms) + 1))
        length = np.bincount(owner, minlength=self.passages)
        relative = length / max(length.mean(), 1e-9) if self.passages else length
        held = np.diff(self._begins)
        idf = np.log1p((self.passages - held + 0.5) / (held + 0.5))
        dampened = count * (k1 + 1) / (count + k1 * (1 - b + b * relative[self._owner]))
        self._weight = (idf[term] * dampened).astype(np.float32)
        self._owner = self._owner.astype(np.int32)

    def scores(self, query: str) -> NDArray[np.float64]:
        """(P,), how well each passage fits; 0 where it shares no term."""
        total = np.zeros(self.passages)
        wanted, times = np.unique(terms([query])[0], return_counts=True)
        places = np.searchsorted(self._terms, wanted)
        for term, place, often in zip(wanted, places, times, strict=True):
            if place < len(self._terms) and self._terms[place] == term:
                some = slice(self._begins[place], self._begins[place + 1])
                total[self._owner[some]] += often * self._weight[some].astype(np.float64)
        return total

    def best(self, query: str, most: int) -> list[tuple[int, float]]:
        """(number, score) of the passages that share a term with a query, the best first, at most so many; of equal
        ones the earlier first."""
        scores = self.scores(query)
        order = np.argsort(-scores, kind="stable")[:most]
        return [(int(number), float(scores[number])) for number in order if scores[number] > 0]
