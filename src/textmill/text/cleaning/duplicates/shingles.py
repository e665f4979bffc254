"""The runs of words of documents, and the set of them a document holds: what documents are compared by.

Of `the mill by the river`, runs of 4 are `the mill by the` and `mill by the river`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import mixed, run_hashes
from textmill.text.signs import Signs
from textmill.text.words import Words

_WORD = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of words of D texts, in order; those of text d are [offsets[d], offsets[d + 1])."""

    hash: NDArray[np.uint64]  # (n,)
    first: NDArray[np.int64]  # (n,) the word each begins with, as numbered in Words
    offsets: NDArray[np.int64]  # (D + 1,)


def runs(words: Words, length: int) -> Runs:
    """Every run of `length` words of each text; none crosses from one text to the next."""
    counts = np.maximum(np.diff(words.offsets) - length + 1, 0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    first = np.arange(offsets[-1]) + np.repeat(words.offsets[:-1] - offsets[:-1], counts)
    return Runs(run_hashes(words.hash, length)[first], first, offsets)


def shingles(
    words: Words, length: int, signs: Signs | None = None
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The set of runs of each text as 32-bit hashes (n,), rising within a text, and offsets (D + 1,).

    A text of fewer words is one run, of all of them; a text without words has none. signs: of these each counts as
    `length` runs, since so many runs hold one word.
    """
    all_runs = runs(words, length)
    texts = len(words.offsets) - 1
    keys = [_keys(np.repeat(np.arange(texts), np.diff(all_runs.offsets)), all_runs.hash)]
    counts = np.diff(words.offsets)
    for size in range(1, length):
        short = np.flatnonzero(counts == size)
        rows = words.hash[words.offsets[short][:, None] + np.arange(size)]
        keys.append(_keys(short, run_hashes(rows.ravel(), size)[::size] if len(short) else rows.ravel()))
    if signs is not None:
        owner, placed = np.repeat(np.arange(texts), np.diff(signs.offsets)), signs.placed(words)
        keys += [_keys(owner, mixed(placed + np.uint64(copy))) for copy in range(length)]
    joined = np.concatenate(keys)
    joined.sort()
    joined = joined[np.concatenate([[True], joined[1:] != joined[:-1]])] if len(joined) else joined
    offsets = np.searchsorted(joined, np.arange(texts + 1, dtype=np.uint64) << _WORD)
    return joined.astype(np.uint32), offsets


def _keys(text: NDArray[np.int64], hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (text.astype(np.uint64) << _WORD) | (hashes >> _WORD)
