"""Counting n-grams: from the order of a text's suffixes, which puts equal n-grams side by side for every n at once.

A text is (n,) token ids: an end-of-text, then documents, each followed by an end-of-text, as the corpus index keeps
them. An n-gram holds end-of-text at its end, or at its beginning, where it means the beginning of a document. It
never crosses from one document into the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textmill.base.errors import TextmillError


@dataclass(frozen=True)
class Level:
    """The N different n-grams of one length n >= 2, in lexicographic order, and the M of length n - 1.

    An n-gram's number is its place in that order. Those that go on from one (n - 1)-gram stand together.
    """

    tokens: np.ndarray  # (N,) int32: the last token
    starts: np.ndarray  # (M + 1,): those that begin with (n - 1)-gram m are starts[m] <= i < starts[m + 1]
    counts: np.ndarray  # (N,) int64: occurrences
    suffixes: np.ndarray  # (N,): the number of the (n - 1)-gram that is left without the first token
    begins: np.ndarray  # (N,) bool: begins with end-of-text

    @property
    def parents(self) -> np.ndarray:
        """(N,): the number of the (n - 1)-gram that is left without the last token."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(M,) float64: the sum of (N,) values over the n-grams that begin with each (n - 1)-gram."""
        return np.bincount(self.parents, weights=values, minlength=len(self.starts) - 1)


@dataclass(frozen=True)
class Counts:
    """All n-grams of a text up to a length. The 1-grams are the vocabulary, seen or not."""

    unigrams: np.ndarray  # (V,) int64; the leading end-of-text is not counted
    levels: list[Level]  # of length 2, 3, …

    def continuations(self, length: int) -> np.ndarray:
        """How many different tokens stand before each n-gram of this length: N1+(• w1 … wn)."""
        size = len(self.unigrams) if length == 1 else len(self.levels[length - 2].tokens)
        return np.bincount(self.levels[length - 1].suffixes, minlength=size)


def sort(ids: np.ndarray, vocabulary: int) -> np.ndarray:
    """(n,) int32: the places of a text in the order of the suffixes that begin there.

    Takes 4 bytes of memory for each of 2 (vocabulary up to 65,536) or 4 bytes per token. Raises TextmillError when
    the text is too long to be sorted at once.
    """
    import pydivsufsort

    dtype = np.dtype(">u2" if vocabulary <= 1 << 16 else ">u4")
    if len(ids) * dtype.itemsize >= 1 << 31:
        raise TextmillError("is too long to be counted at once", where="the training text")
    suffixes = pydivsufsort.divsufsort(np.ascontiguousarray(ids, dtype=dtype).view(np.uint8))
    return (suffixes[(suffixes & (dtype.itemsize - 1)) == 0] // dtype.itemsize).astype(np.int32)


def common(ids: np.ndarray, order: np.ndarray, end: int, most: int) -> np.ndarray:
    """(n,) uint8: how many tokens each suffix shares with the one before it in order, up to `most`.

    What follows a shared end-of-text, but one at the beginning, belongs to other documents and is not compared.
    """
    padded = np.concatenate([ids, np.full(most, -1, dtype=ids.dtype)])
    shared = np.zeros(len(ids), dtype=np.uint8)
    alive = np.arange(1, len(ids))
    one, other = order[:-1].astype(np.int64), order[1:].astype(np.int64)
    for length in range(most):
        token = padded[one + length]
        same = token == padded[other + length]
        shared[alive[same]] = length + 1
        if length:
            same &= token != end
        alive, one, other = alive[same], one[same], other[same]
    return shared


def count(
    ids: np.ndarray, order: np.ndarray, vocabulary: int, end: int, longest: int, shared: np.ndarray
) -> Counts:
    """The n-grams of a text up to `longest` tokens.

    ids (n,) int32, order (n,) of its suffixes, shared (n,) from `common` with most >= longest.
    """
    rank = np.empty(len(ids), dtype=np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    reach = _to_next_end(ids, end, longest)[order]
    levels: list[Level] = []
    numbers = ids[order]  # of the (n - 1)-gram at the beginning of each suffix
    for length in range(2, longest + 1):
        different = shared < length
        first = np.flatnonzero(different)
        counts = np.diff(first, append=len(ids))
        whole = reach[first] >= length - 1
        runs = np.where(whole, np.cumsum(whole, dtype=np.int32) - 1, -1).astype(np.int32)
        first, counts = first[whole], counts[whole]
        parents, positions = numbers[first], order[first].astype(np.int64)
        size = vocabulary if length == 2 else len(levels[-1].tokens)
        starts = np.concatenate([[0], np.cumsum(np.bincount(parents, minlength=size))])
        levels.append(
            Level(
                tokens=ids[positions + length - 1].astype(np.int32),
                starts=starts.astype(np.int32),
                counts=counts,
                suffixes=numbers[rank[positions + 1]],
                begins=ids[positions] == end,
            )
        )
        numbers = runs[np.cumsum(different, dtype=np.int32) - 1]
    return Counts(np.bincount(ids[1:], minlength=vocabulary), levels)


def _to_next_end(ids: np.ndarray, end: int, most: int) -> np.ndarray:
    """(n,) uint8: how many tokens on the next end-of-text stands, up to `most`; 0 at the last."""
    ends = np.flatnonzero(ids == end)
    following = np.append(ends, len(ids) - 1)[np.cumsum(ids == end)]
    return np.minimum(following - np.arange(len(ids)), most).astype(np.uint8)


def agreement(ids: np.ndarray, order: np.ndarray, shared: np.ndarray, end: int, most: int) -> np.ndarray:
    """(most + 1,) float64: how often two lone occurrences of an n-gram, in different documents, go on alike, by n.

    This is leaving one out: had the text only one of the two, it would have foretold the other's next token. Only
    pairs that differ in the token before count, as a new text differs there from the longest context it shares with
    this one; else one long copy would speak for all of its places. Two pairs that go on as often as those one token
    shorter are added to what is counted. `shared` from `common` with more than `most`.
    """
    ahead = np.append(shared[1:], 0)
    behind = np.insert(shared[:-1], 0, 0)
    lonely = np.maximum(ahead, behind)  # a third occurrence shares that much with one of the two
    document = np.cumsum(ids == end)
    pairs = np.flatnonzero(shared > lonely)
    one, other = (
        order[at].astype(np.int64) for at in (pairs, pairs - 1)
    )  # signed: before the first comes the last
    pairs = pairs[(document[one] != document[other]) & (ids[one - 1] != ids[other - 1])]
    escapes, known = np.empty(most + 1), 0.5
    for length in range(most + 1):
        both = pairs[(shared[pairs] >= length) & (lonely[pairs] < length)]
        alike = np.count_nonzero(shared[both] > length)
        escapes[length] = known = (alike + 2 * known) / (len(both) + 2)
    return escapes
