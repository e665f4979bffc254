"""The n-grams of texts as hashed features: numpy over many texts at once, no loop over words.

Words are those of text/words.py: case aside, each hanzi a word, and signs that say something (`!`, an emoji) among
them. Characters are those of the text in lower case, a run of blanks as one. An n-gram's feature is a hash of it, of
its kind (words, characters) and of where it stands: in the first text, the second, or, of two texts, both. The hash is
the same in every process and on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import mixed, run_hashes
from textmill.specs.model import LinearSpec
from textmill.text.words import spelt

Row = tuple[str, ...]  # one text, or two
_BLANKS = re.compile(r"\s+")
_BOTH = 2  # where an n-gram stands: 0 the first text, 1 the second, 2 both of them
_BATCH = 1 << 22  # characters of texts looked at together


@dataclass(frozen=True, eq=False)
class Features:
    """The different features of N rows, in order: those of row i are [offsets[i], offsets[i + 1]), rising."""

    keys: NDArray[np.int64]  # (n,) below 2**bits
    counts: NDArray[np.float32]  # (n,) how often each occurs in its row
    offsets: NDArray[np.int64]  # (N + 1,)

    @property
    def owners(self) -> NDArray[np.int64]:
        """(n,) the row of each."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


@dataclass(frozen=True, eq=False)
class Occurrences:
    """Every n-gram of T texts: what it is, and the characters [start, end) it stands at. In no particular order.

    Of n-grams of characters these are places in the text in lower case, runs of blanks as one.
    """

    hash: NDArray[np.uint64]  # (n,)
    text: NDArray[np.int64]  # (n,)
    start: NDArray[np.int64]  # (n,)
    end: NDArray[np.int64]  # (n,)
    characters: NDArray[np.bool_]  # (n,) whether it is of characters


def occurrences(texts: Sequence[str], spec: LinearSpec) -> Occurrences:
    """The n-grams of texts, of the orders that a spec asks for."""
    columns: list[tuple[NDArray, ...]] = [
        (np.empty(0, np.uint64), *(np.empty(0, np.int64) for _ in range(3)), np.empty(0, bool))
    ]
    if spec.words:
        words = spelt(texts)
        for order in spec.words:
            columns.append(_runs(words.hash, words.offsets, words.start, words.end, order, characters=False))
    if spec.characters:
        plain = [flattened(text) for text in texts]
        codes = np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), np.uint32).astype(
            np.uint64
        )
        offsets = np.cumsum([0, *map(len, plain)])
        at = np.arange(len(codes)) - np.repeat(offsets[:-1], np.diff(offsets))
        for order in spec.characters:
            columns.append(_runs(codes, offsets, at, at + 1, order, characters=True))
    return Occurrences(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def flattened(text: str) -> str:
    """A text as its n-grams of characters read it: with a blank at either end, which is part of words there.

    >>> flattened("A  mill\\n")
    ' a mill '
    """
    return f" {_BLANKS.sub(' ', text.lower()).strip()} "


def _runs(
    values: NDArray, offsets: NDArray, starts: NDArray, ends: NDArray, order: int, *, characters: bool
) -> tuple[NDArray, ...]:
    """The runs of `order` values of each text; none crosses from one text to the next."""
    counts = np.maximum(np.diff(offsets) - order + 1, 0)
    text = np.repeat(np.arange(len(counts)), counts)
    first = np.arange(counts.sum()) + np.repeat(offsets[:-1] - (np.cumsum(counts) - counts), counts)
    salt = np.uint64(2 * order + characters)
    hashed = mixed(run_hashes(values, order)[first] ^ mixed(np.full(1, salt)))
    kind = np.full(len(first), characters)
    return hashed, text, starts[first], ends[first + order - 1], kind


def key_of(hashed: NDArray[np.uint64], place: int, bits: int) -> NDArray[np.int64]:
    """The feature of n-grams that stand in the first text (0), the second (1), or both (2)."""
    return (mixed(hashed + np.uint64(place)) >> np.uint64(64 - bits)).astype(np.int64)


def features(rows: Sequence[Row], spec: LinearSpec) -> Features:
    """The features of rows of one or two texts. The same row has the same features whatever stands beside it."""
    sizes = np.cumsum([sum(map(len, row)) for row in rows])
    parts, start = [], 0
    while start < len(rows):
        before = int(sizes[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(sizes, before + _BATCH)))
        parts.append(_features(rows[start:stop], spec))
        start = stop
    if len(parts) == 1:
        return parts[0]
    counts = [np.zeros(1, np.int64), *(np.diff(part.offsets) for part in parts)]
    keys, number = (
        np.concatenate([np.empty(0, kind), *(getattr(part, name) for part in parts)])
        for name, kind in (("keys", np.int64), ("counts", np.float32))
    )
    return Features(keys, number, np.cumsum(np.concatenate(counts)))


def _features(rows: Sequence[Row], spec: LinearSpec) -> Features:
    bits, sides = spec.bits, max(map(len, rows))
    found = [occurrences([row[side] for row in rows], spec) for side in range(sides)]
    columns = [(side.text, key_of(side.hash, place, bits)) for place, side in enumerate(found)]
    if sides > 1:
        first, second = (
            np.unique(np.stack([side.text.astype(np.uint64), side.hash], 1), axis=0) for side in found
        )
        both = np.concatenate([first, second])
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        shared = both[1:][(both[1:] == both[:-1]).all(1)]
        columns.append((shared[:, 0].astype(np.int64), key_of(shared[:, 1], _BOTH, bits)))
    joined = np.concatenate([(text << bits) | key for text, key in columns])
    joined.sort()
    fresh = np.concatenate([np.ones(min(1, len(joined)), bool), joined[1:] != joined[:-1]])
    places = np.flatnonzero(fresh)
    counts = np.diff(places, append=len(joined)).astype(np.float32)
    joined = joined[places]
    offsets = np.searchsorted(joined, np.arange(len(rows) + 1) << bits)
    return Features(joined & ((1 << bits) - 1), counts, offsets)
