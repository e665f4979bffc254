"""Hashes of runs of words, and the set of runs a document holds: what documents are compared by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textmill.text.words import Words, mixed

_BASE = 0xD1342543DE82EF95  # odd, of good spectrum (Steele & Vigna 2022, table 3)
_WORD = np.uint64(32)


def run_hashes(words: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """(n - length + 1,): the hash of each run of `length` of these (n,) word hashes; empty when there is none.

    A polynomial modulo 2**64, put together from runs of half the length, and mixed at the end.
    """
    if len(words) < length:
        return np.empty(0, np.uint64)
    values, size = words, 1
    for bit in f"{length:b}"[1:]:
        values = values[:-size] * np.uint64(pow(_BASE, size, 1 << 64)) + values[size:]
        size *= 2
        if bit == "1":
            values = values[:-1] * np.uint64(_BASE) + words[size:]
            size += 1
    return mixed(values)


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


def shingles(words: Words, length: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The set of runs of each text as 32-bit hashes (n,), rising within a text, and offsets (D + 1,).

    A text of fewer words is one run, of all of them; a text without words has none.
    """
    found = runs(words, length)
    texts = len(words.offsets) - 1
    keys = [_keys(np.repeat(np.arange(texts), np.diff(found.offsets)), found.hash)]
    counts = np.diff(words.offsets)
    for size in range(1, length):
        short = np.flatnonzero(counts == size)
        rows = words.hash[words.offsets[short][:, None] + np.arange(size)]
        keys.append(_keys(short, run_hashes(rows.ravel(), size)[::size] if len(short) else rows.ravel()))
    joined = np.concatenate(keys)
    joined.sort()
    joined = joined[np.concatenate([[True], joined[1:] != joined[:-1]])] if len(joined) else joined
    offsets = np.searchsorted(joined, np.arange(texts + 1, dtype=np.uint64) << _WORD)
    return joined.astype(np.uint32), offsets


def _keys(text: NDArray[np.int64], hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (text.astype(np.uint64) << _WORD) | (hashes >> _WORD)
