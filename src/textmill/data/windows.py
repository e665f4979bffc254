"""Where texts that are longer than a row are cut, in training as in use.

Shapes: N texts, W windows.
"""

from __future__ import annotations

import itertools

import numpy as np


def overlapping(lengths: np.ndarray, rooms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts of `lengths` (N,) tokens in windows of at most `rooms` (N,): (W,) begins, (W,) ends, (W,) which text.

    Each window begins half of one after the window before it, so that what stands across an end of one stands inside
    another.

    >>> [part.tolist() for part in overlapping(np.array([9, 3]), np.array([4, 4]))]
    [[0, 2, 4, 6, 0], [4, 6, 8, 9, 3], [0, 0, 0, 0, 1]]
    """
    steps = np.maximum(rooms // 2, 1)
    counts = 1 + -(-np.maximum(lengths - rooms, 0) // steps)
    owner = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = number * steps[owner]
    return begins, np.minimum(begins + rooms[owner], lengths[owner]), owner


def of_one(length: int, room: int) -> list[tuple[int, int]]:
    """`overlapping` of one text: [begin, end) of each window."""
    begins, ends, _ = overlapping(np.array([length]), np.array([room]))
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def of_words(begins_word: np.ndarray, room: int) -> list[tuple[int, int]]:
    """[begin, end) of windows of at most `room` tokens, one after the other: each ends at the end of a word, as late as
    it can, or where it is full when one word is longer. begins_word: (n,) bool.

    >>> of_words(np.array([True, False, True, True, False, False]), 3)
    [(0, 3), (3, 6)]
    """
    words = np.append(np.flatnonzero(begins_word), len(begins_word))
    cuts = [0]
    while cuts[-1] < len(begins_word):
        last = int(words[np.searchsorted(words, cuts[-1] + room, side="right") - 1])
        cuts.append(last if last > cuts[-1] else min(cuts[-1] + room, len(begins_word)))
    return list(itertools.pairwise(cuts))
