"""Passages of documents that nearly repeat an example, found by the rarest of its runs.

An example of 14 words has 10 runs of 5. A passage of Jaccard similarity 0.8 with it lacks at most 2 of them, so it
holds one of any 3: the 3 that fewest examples share are looked up, and only around a hit is the similarity computed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from textmill.text.cleaning.contamination.run_table import Found, HashTable, text_of
from textmill.text.cleaning.duplicates.shingles import runs
from textmill.text.words import Words

SHINGLE = 5  # words of a run
_MOST = 1000  # matches between which passages are looked for; of more, every so manieth


class Passages:
    """Examples as sets of runs. One of Jaccard similarity s with a passage misses at most a share 1 - s of its set,
    so one more than that many of its runs, the rarest, are enough to find every such passage.
    """

    def __init__(self, words: Words, examples: NDArray[np.int64], near: float) -> None:
        """words: of all examples; examples: the numbers of those that are looked for."""
        self._near = near
        every = runs(words, SHINGLE)
        _, which, often = np.unique(every.hash, return_inverse=True, return_counts=True)
        rarity = often[which]
        self._sets: dict[int, NDArray[np.uint64]] = {}
        anchors, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for example in examples.tolist():
            start, end = every.offsets[example], every.offsets[example + 1]
            distinct, first = np.unique(every.hash[start:end], return_index=True)
            needed = int((1 - near) * len(distinct) + 1e-9) + 1
            rarest = np.lexsort((distinct, rarity[start:end][first]))[:needed]
            self._sets[example] = distinct
            anchors.append(distinct[rarest])
            owners.append(np.full(needed, example))
        self._owners = np.concatenate(owners)
        self._table = HashTable(np.concatenate(anchors))

    def find(self, words: Words) -> Iterator[Found]:
        """Examples with a passage near enough; each document and example once."""
        there = runs(words, SHINGLE)
        position, entry = self._table.find(there.hash)
        document, example = text_of(there, position), self._owners[entry]
        done: set[tuple[int, int]] = set()
        for at in np.lexsort((position, example, document)).tolist():
            here = (int(document[at]), int(example[at]))
            if here in done:
                continue
            wanted = self._sets[here[1]]
            reach = int(len(wanted) / self._near) + 1  # a passage near enough has no more runs
            low = max(int(there.offsets[here[0]]), int(position[at]) - reach)
            high = min(int(there.offsets[here[0] + 1]), int(position[at]) + reach)
            similarity, first = self._nearest(there.hash[low:high], wanted)
            if similarity >= self._near - 1e-12:
                done.add(here)
                yield Found(*here, int(there.first[low + first]), False, similarity)

    def _nearest(self, hashes: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> tuple[float, int]:
        """The largest Jaccard similarity of `wanted` with a passage, and where that begins."""
        at = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        matches = np.flatnonzero(wanted[at] == hashes)
        if len(np.unique(at[matches])) < self._near * len(wanted):
            return 0.0, 0
        step = -(-len(matches) // _MOST)
        matches = matches[::step]
        common = step * (np.arange(len(matches))[None, :] - np.arange(len(matches))[:, None]) + 1
        size = matches[None, :] - matches[:, None] + 1
        guess = np.where(common > 0, common / np.maximum(len(wanted) + size - common, 1), 0)
        first, last = np.unravel_index(int(np.argmax(guess)), guess.shape)
        passage = np.unique(hashes[matches[first] : matches[last] + 1])
        both = len(np.intersect1d(passage, wanted, assume_unique=True))
        return both / (len(passage) + len(wanted) - both), int(matches[first])
