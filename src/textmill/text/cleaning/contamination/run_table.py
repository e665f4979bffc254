"""Looking up runs of words of a few texts (examples) in many others (documents).

An example of 15 words has three runs of 13, which begin 0, 1 and 2 words after it. Where the second is found at word 41
of a document, the example would begin at word 40; if all three say so, it may stand there whole, and is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textmill.text.cleaning.duplicates.shingles import Runs, runs
from textmill.text.words import Words

_COMMON = 10  # examples that may share a run; what more of them share is a phrase of their set
_SPARSE = 16  # slots of the first, coarse look-up for each run


@dataclass(frozen=True, slots=True)
class Found:
    """An example is found in a document, from this word on (as numbered in the documents' Words)."""

    document: int
    example: int
    word: int
    whole: bool
    similarity: float


class HashTable:
    """Which of many hashes are among (n,) others, and where each of those stands; it may stand there more than once."""

    def __init__(self, values: NDArray[np.uint64]) -> None:
        self._order = np.argsort(values, kind="stable")
        self._values = values[self._order]
        bits = max(10, (_SPARSE * len(values)).bit_length())
        self._shift = np.uint64(64 - min(bits, 28))
        self._coarse = np.zeros(1 << min(bits, 28), bool)
        self._coarse[values >> self._shift] = True

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(positions in `hashes`, positions in the table) of all equal pairs, the first rising."""
        likely = np.flatnonzero(self._coarse[hashes >> self._shift])
        low = np.searchsorted(self._values, hashes[likely], "left")
        counts = np.searchsorted(self._values, hashes[likely], "right") - low
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(likely, counts), self._order[np.repeat(low, counts) + within]


def text_of(all_runs: Runs, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The text that the run at each of these positions is of."""
    return np.searchsorted(all_runs.offsets, positions, side="right") - 1


class RunTable:
    """All runs of one length of some examples."""

    def __init__(self, words: Words, examples: NDArray[np.int64], length: int) -> None:
        """words: of all examples; examples: the numbers of those whose runs are looked for."""
        self._length = length
        every = runs(words, length)
        example = text_of(every, np.arange(len(every.hash)))
        wanted = np.flatnonzero(np.isin(example, examples))
        wanted = wanted[~_shared(every.hash[wanted], example[wanted])]
        self._example = example[wanted]
        self._offset = every.first[wanted] - words.offsets[self._example]
        self._runs = np.bincount(self._example, minlength=len(words.offsets))  # of each example
        self._words = words
        self._table = HashTable(every.hash[wanted])

    def find(self, words: Words) -> Iterator[Found]:
        """Examples with a run in some document; each document and example once, whole where it is."""
        there = runs(words, self._length)
        position, entry = self._table.find(there.hash)
        document, example = text_of(there, position), self._example[entry]
        word = there.first[position]
        begin = word - self._offset[entry]  # where the example would begin
        order = np.lexsort((word, begin, example, document))
        document, example, begin, word = document[order], example[order], begin[order], word[order]
        starts = _changes(document, example, begin)
        sizes = np.diff(starts, append=len(order))
        best: dict[tuple[int, int], Found] = {}
        for at, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            key = (int(document[at]), int(example[at]))
            known = best.get(key)
            if known is None or not known.whole:
                whole = size == self._runs[key[1]] and self._stands(words, *key, int(begin[at]))
                if known is None or whole:
                    best[key] = Found(*key, int(word[at]), whole, 1.0)
        yield from best.values()

    def _stands(self, words: Words, document: int, example: int, begin: int) -> bool:
        """Whether an example stands whole in a document, its first word at `begin`."""
        wanted = self._words.hash[self._words.offsets[example] : self._words.offsets[example + 1]]
        if begin < words.offsets[document] or begin + len(wanted) > words.offsets[document + 1]:
            return False
        return np.array_equal(words.hash[begin : begin + len(wanted)], wanted)


def _changes(*columns: NDArray) -> NDArray[np.int64]:
    """Where a row differs from the one before it; the first always does."""
    new = np.zeros(len(columns[0]), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def _shared(hashes: NDArray[np.uint64], example: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these runs more than _COMMON examples hold."""
    order = np.lexsort((example, hashes))
    pairs = _changes(hashes[order], example[order])  # each run and example once
    starts = _changes(hashes[order])
    owners = np.diff(np.searchsorted(pairs, starts), append=len(pairs))
    shared = np.empty(len(order), bool)
    shared[order] = np.repeat(owners, np.diff(starts, append=len(order))) > _COMMON
    return shared
