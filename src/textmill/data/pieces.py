"""Cutting the documents of a store into pieces, each of which becomes a row of its own."""

from __future__ import annotations

import numpy as np

from textmill.base.errors import TextmillError
from textmill.data.tokens import TokenStore


def balanced(starts: np.ndarray, lengths: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stretches (K,) cut into as few pieces of at most `most` tokens as will do, of lengths that differ by one at
    most: (P,) begins, (P,) sizes, (P,) which stretch."""
    counts = -(-lengths // most)
    owner = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    each, more = np.divmod(lengths[owner], counts[owner])
    begins = starts[owner] + number * each + np.minimum(number, more)
    return begins, each + (number < more), owner


def even(total: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """One stretch cut every `most` tokens: (P,) begins, (P,) sizes; the last is what is left."""
    begins = np.arange(0, total, most, dtype=np.int64)
    return begins, np.minimum(total - begins, most)


class Pieces:
    """Stretches of a store that together are all of it, in order: running over documents, or inside each.

    begins, sizes  (P,) int64; first (P,) bool, nothing stands before the piece that it may know
    """

    def __init__(self, store: TokenStore, most: int, packing: str) -> None:
        """packing: running or best-fit. Raises TextmillError when the store is empty."""
        if not store.tokens:
            raise TextmillError(
                "holds no document",
                where=store.directory,
                advice="look at the corpus report: what was skipped, and why",
            )
        self.store = store
        if packing == "running":
            self.begins, self.sizes = even(store.tokens, most)
            self.first = self.begins == 0
        else:
            self.begins, self.sizes, owner = balanced(store.offsets[:-1], np.diff(store.offsets), most)
            self.first = np.concatenate([[True], owner[1:] != owner[:-1]])

    def __len__(self) -> int:
        return len(self.begins)

    def places(self, row: int) -> np.ndarray:
        """Places in the store of a piece's tokens."""
        return np.arange(self.begins[row], self.begins[row] + self.sizes[row])

    def rows_of(self, document: int) -> np.ndarray:
        """Numbers of the pieces that hold tokens of a document, rising."""
        start, stop = self.store.offsets[document : document + 2]
        low = np.searchsorted(self.begins, start, side="right") - 1
        return np.arange(max(low, 0), np.searchsorted(self.begins, stop, side="left"))
