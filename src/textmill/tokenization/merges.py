"""Merges recovered from the scores of SentencePiece's BPE, for all pieces of a vocabulary at once.

Of the pieces `a b c ab abc`, `ab` can be made of `a` and `b`, and `abc` of `ab` and `c`, but not of `a` and `bc`, which
is no piece: two merges, in the order of the scores of `ab` and `abc`.

A piece of n letters can be made in n - 1 ways, and Gemma has 262,144 pieces: two million look-ups. They are made in
NumPy, by a hash of every prefix and suffix: with h(i) = Σ mix(letter j)·pʲ over j < i, modulo 2⁶⁴ and p odd, the hash
of the letters from a to b is (h(b) - h(a))·p⁻ᵃ wherever they stand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textmill.base.hashing import GOLDEN, mixed

_INVERSE = pow(GOLDEN, -1, 1 << 64)


def recovered(
    tokens: Sequence[str],
    scores: Sequence[float],
    usable: Sequence[bool] | np.ndarray,
    made: Sequence[bool] | np.ndarray,
) -> list[tuple[str, str]]:
    """All ways to make a piece of two others: best score first, then by the ids of the left and the right one.

    usable: whether a token may be part of another. made: whether it may be made of others; a subset.
    """
    spans = _Spans(tokens)
    find = _Finder(spans, np.flatnonzero(np.asarray(usable) & (spans.lengths > 0)))
    whole = np.flatnonzero(np.asarray(made) & (spans.lengths > 1))
    cuts = spans.lengths[whole] - 1
    which = np.repeat(whole, cuts)
    start, stop = spans.starts[which], spans.starts[which] + spans.lengths[which]
    cut = start + 1 + np.arange(len(which)) - np.repeat(np.cumsum(cuts) - cuts, cuts)
    left = find(start, cut)
    kept = np.flatnonzero(left >= 0)
    which, cut, stop, left = which[kept], cut[kept], stop[kept], left[kept]
    right = find(cut, stop)
    kept = np.flatnonzero(right >= 0)
    which, left, right = which[kept], left[kept], right[kept]
    rank = np.unique(-np.asarray(scores, dtype=np.float64), return_inverse=True)[1]
    order = np.lexsort((right, rank[which] * len(tokens) + left))
    spell = tokens.__getitem__
    return list(zip(map(spell, left[order].tolist()), map(spell, right[order].tolist()), strict=True))


class _Spans:
    """All tokens in a row, and a hash of any stretch of it."""

    def __init__(self, tokens: Sequence[str]) -> None:
        letters = np.frombuffer("".join(tokens).encode("utf-32-le", "surrogatepass"), dtype="<u4")
        self.lengths = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
        self.starts = np.cumsum(self.lengths) - self.lengths
        powers = np.full(len(letters) + 1, GOLDEN, dtype=np.uint64)
        powers[0] = 1
        powers = np.cumprod(powers, dtype=np.uint64)
        self._undo = np.full(len(letters) + 1, _INVERSE, dtype=np.uint64)
        self._undo[0] = 1
        self._undo = np.cumprod(self._undo, dtype=np.uint64)
        self._sums = np.zeros(len(letters) + 1, dtype=np.uint64)
        np.cumsum(mixed(letters.astype(np.uint64) + np.uint64(1)) * powers[:-1], out=self._sums[1:])

    def hashes(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """(n,) uint64 of the letters from each start to its stop."""
        return (self._sums[stop] - self._sums[start]) * self._undo[start]


class _Finder:
    """Stretches to tokens, -1 where there is none. That two of some millions share 64 bits by chance is one case in
    ten million; a vocabulary made so that they do gets a merge that makes no token, which the library refuses."""

    def __init__(self, spans: _Spans, tokens: np.ndarray) -> None:
        self._spans = spans
        hashes = spans.hashes(spans.starts[tokens], spans.starts[tokens] + spans.lengths[tokens])
        order = np.argsort(hashes)
        self._hashes, self._tokens = hashes[order], tokens[order]
        # Sorted hashes in shelves by their first bits, sixteen shelves a token: hardly one holds more than two.
        bits = max(4, len(tokens).bit_length() + 4)
        self._shift = np.uint64(64 - bits)
        sizes = np.bincount((hashes >> self._shift).astype(np.int64), minlength=1 << bits)
        self._first = np.zeros((1 << bits) + 1, dtype=np.int64)
        np.cumsum(sizes, out=self._first[1:])

    def __call__(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """(n,) int64: the token that each stretch from `start` to `stop` spells, -1 where there is none."""
        hashes = self._spans.hashes(start, stop)
        shelf = (hashes >> self._shift).astype(np.int64)
        cursor, last = self._first[shelf], self._first[shelf + 1]
        tokens = np.full(len(hashes), -1, dtype=np.int64)
        open_ = np.flatnonzero(cursor < last)
        while len(open_):
            at = cursor[open_]
            same = self._hashes[at] == hashes[open_]
            tokens[open_[same]] = self._tokens[at[same]]
            cursor[open_] += 1
            open_ = open_[~same & (at + 1 < last[open_])]
        return tokens
