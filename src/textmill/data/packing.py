"""Packing: how the documents of a token store become rows of a fixed length.

Both ways follow one rule. The token before a document's first is what its tokenizer puts before a text, or else
end-of-text, which is what stands before it in the store; so the first token of a document is learnt as it is asked
for in use, and end-of-text is learnt as the end of every document. Every token of the store is a target exactly
once an epoch.

A row is described by the place in the store of each of its targets; the input there is the token one before.

Say a store holds "a b ." and "c d e ." (. is end-of-text, at places 2 and 6), and a row has 4 targets:

    running   inputs   . a b . | . c d e    each row goes on where the one before ended; to be full the last one
              targets  a b . c | c d e .    begins earlier, and the second c bears no loss
    best fit  inputs   . c d e | . a b -    whole documents, the longest first; attention stays in each of them
              targets  c d e . | a b . -
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.data.tokens import TokenStore

NOWHERE = -1  # the place of padding
LEAD = -2  # the place of a token that is put before a text and stands in no store


@dataclass(frozen=True)
class Rows:
    """What rows are made of, before any token is read. B rows, T positions.

    places     (B, T) int64: place in the store of each target, NOWHERE for padding, LEAD for what is put before
    scored     (B, T) bool: whether the target is in the loss (padding and repeated context do not)
    documents  (B, T) int64: which part of the row attention stays in, or None
    fresh      whether every such part begins as a text does, wherever in a document it stands
    """

    places: np.ndarray
    scored: np.ndarray
    documents: np.ndarray | None
    fresh: bool = False

    def trimmed(self) -> Rows:
        """The same without the columns that are padding in every row, which are the last ones."""
        used = slice(0, int((self.places != NOWHERE).any(0).sum()))
        documents = None if self.documents is None else self.documents[:, used]
        return replace(self, places=self.places[:, used], scored=self.scored[:, used], documents=documents)

    def batch(self, store: TokenStore) -> Batch:
        """Read the tokens."""
        real = self.places != NOWHERE
        targets = store.ids[np.maximum(self.places, 0)].astype(np.int64)
        inputs = store.ids[np.maximum(self.places - 1, 0)].astype(np.int64)
        inputs[self.places == 0] = store.end  # before the first document stands an end of text, too
        if store.opening != (store.end,):
            self._open(inputs, store)
        inputs[~real] = store.pad
        targets[~self.scored] = IGNORE
        whole = self.documents is None and bool(real.all())
        return Batch(
            inputs=torch.from_numpy(inputs),
            targets=torch.from_numpy(targets),
            mask=None if whole else torch.from_numpy(real),
            documents=None if self.documents is None else torch.from_numpy(self.documents),
        )

    def _open(self, inputs: np.ndarray, store: TokenStore) -> None:
        """Put what the tokenizer wants before a text where one begins, as far as there is room: the last of its ids
        in place of the end of the text before, the others in places left for them."""
        first = store.begins_at(self.places)
        if self.fresh:
            parts = np.zeros_like(self.places) if self.documents is None else self.documents
            text = self.places >= 0
            first |= text & ~np.hstack([np.zeros((len(text), 1), dtype=bool), self._goes_on(parts, text)])
        rows, columns = first.nonzero()
        inputs[rows, columns] = store.opening[-1]
        for back, token in enumerate(store.opening[-2::-1], 1):
            there = columns >= back
            before = rows[there], columns[there] - back
            left = self.places[before] == LEAD
            inputs[before[0][left], before[1][left]] = token

    @staticmethod
    def _goes_on(parts: np.ndarray, text: np.ndarray) -> np.ndarray:
        """(B, T - 1) bool: whether a position goes on with the text of the one before it."""
        return (parts[:, 1:] == parts[:, :-1]) & text[:, :-1]


class RunningPacking:
    """Documents one after the other, cut every `sequence` tokens; attention crosses documents.

    The last row starts early enough to be full, and what it repeats bears no loss. A store shorter than one
    row gives a single padded row. `lead` positions before each row are left for the tokens a view puts there.
    """

    def __init__(self, store: TokenStore, sequence: int, lead: int = 0) -> None:
        """Raises TextmillError when the store is empty, ValueError unless 0 <= lead < sequence."""
        _inside(lead, sequence, "lead")
        _not_empty(store)
        self.store, self.sequence, self.lead = store, sequence, lead
        self._stretch = sequence - lead  # tokens of the store in a row

    def __len__(self) -> int:
        """Number of rows in an epoch."""
        return math.ceil(self.store.tokens / self._stretch)

    def rows(self, indices: np.ndarray) -> Rows:
        """The rows of these numbers."""
        regular = np.asarray(indices, dtype=np.int64)[:, None] * self._stretch
        starts = np.minimum(regular, max(self.store.tokens - self._stretch, 0))
        positions = starts + np.arange(self._stretch)
        scored = (positions >= regular) & (positions < self.store.tokens)
        positions = np.where(positions < self.store.tokens, positions, NOWHERE)
        before = np.full((len(positions), self.lead), LEAD)
        scored = np.hstack([np.zeros(before.shape, dtype=bool), scored])
        return Rows(np.hstack([before, positions]), scored, None)

    def rows_of(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """(R,) numbers of the rows in whose loss places start … stop - 1 are, and (R,) how many of them in each."""
        first, last = start // self._stretch, -(-stop // self._stretch)
        rows = np.arange(first, last, dtype=np.int64)
        low, high = np.maximum(rows * self._stretch, start), np.minimum((rows + 1) * self._stretch, stop)
        return rows, high - low


class BestFitPacking:
    """Documents fitted whole into rows, best fit decreasing (Ding et al. 2024, "Fewer Truncations Improve
    Language Modeling", section 3); attention stays inside a document.

    A document longer than `sequence` is cut into pieces of that length, the rest being fitted like a document;
    the first token of a later piece is predicted from the one before it. With `overlap`, later pieces start
    with that many tokens of the piece before, as context that bears no loss.
    """

    def __init__(
        self,
        store: TokenStore,
        sequence: int,
        overlap: int = 0,
        spans: tuple[np.ndarray, np.ndarray] | None = None,
        lead: int = 0,
        fresh: bool = False,
    ) -> None:
        """spans: (K,) starts and (K,) lengths of the stretches of the store to pack; left out: every document.
        lead: positions before each piece, left for the tokens a view puts there, or for the first of several that
        stand before a text. fresh: later pieces, too, begin as a text does.

        Raises TextmillError when there is nothing to pack, ValueError unless 0 <= lead < sequence and
        0 <= overlap < sequence - lead.
        """
        _inside(lead, sequence, "lead")
        _inside(overlap, sequence - lead, "overlap")
        _not_empty(store)
        self.store, self.sequence, self.lead, self.fresh = store, sequence, lead, fresh
        starts, lengths = spans or (store.offsets[:-1], np.diff(store.offsets))
        begins, sizes, context = _cut(np.asarray(starts), np.asarray(lengths), sequence - lead, overlap)
        order, self._rows = best_fit(sizes + lead, sequence)
        # Pieces in the order of their rows: row r holds pieces _rows[r] to _rows[r + 1].
        self._begins, self._sizes, self._context = begins[order], sizes[order], context[order]

    def __len__(self) -> int:
        """Number of rows in an epoch."""
        return len(self._rows) - 1

    @property
    def apart(self) -> bool:
        """Whether every row holds one piece alone."""
        return len(self._sizes) == len(self)

    @property
    def filled(self) -> float:
        """Share of positions that are no padding."""
        return float((self._sizes + self.lead).sum() / (len(self) * self.sequence))

    def rows(self, indices: np.ndarray) -> Rows:
        """The rows of these numbers."""
        indices = np.asarray(indices, dtype=np.int64)
        shape = (len(indices), self.sequence)
        positions = np.full(shape, NOWHERE, dtype=np.int64)
        scored = np.zeros(shape, dtype=bool)
        documents = np.zeros(shape, dtype=np.int64)
        for row, index in enumerate(indices):
            position = 0
            first, last = int(self._rows[index]), int(self._rows[index + 1])
            for number, piece in enumerate(range(first, last)):
                begin, size = int(self._begins[piece]), int(self._sizes[piece])
                text = position + self.lead
                after = text + size
                positions[row, position:text] = LEAD
                positions[row, text:after] = np.arange(begin, begin + size)
                scored[row, text + int(self._context[piece]) : after] = True
                documents[row, position:after] = number
                position = after
            documents[row, position:] = last - first  # padding keeps to itself
        return Rows(positions, scored, documents, self.fresh)

    def rows_of(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """(R,) numbers of the rows in whose loss places start … stop - 1 are, and (R,) how many of them in each."""
        low = np.maximum(self._begins + self._context, start)
        counts = np.maximum(np.minimum(self._begins + self._sizes, stop) - low, 0)
        pieces = np.flatnonzero(counts)
        rows, which = np.unique(np.searchsorted(self._rows, pieces, side="right") - 1, return_inverse=True)
        return rows, np.bincount(which, counts[pieces], len(rows)).astype(np.int64)


Packing = RunningPacking | BestFitPacking


def _inside(number: int, room: int, name: str) -> None:
    if not 0 <= number < room:
        raise ValueError(f"{name} is {number}, but must be at least 0 and under {room}")


def _not_empty(store: TokenStore) -> None:
    if not store.tokens:
        raise TextmillError(
            "holds no document",
            where=store.directory,
            advice="look at the corpus report: what was skipped, and why",
        )


def _cut(
    starts: np.ndarray, lengths: np.ndarray, sequence: int, overlap: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of at most `sequence` places: (P,) begins, (P,) sizes, (P,) leading places that are only context."""
    stride = sequence - overlap
    counts = np.where(lengths > 0, 1 + np.maximum(-(-(lengths - sequence) // stride), 0), 0)
    owner = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = starts[owner] + number * stride
    sizes = np.minimum(lengths[owner] - number * stride, sequence)
    return begins, sizes, np.where(number > 0, overlap, 0)


def best_fit(sizes: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest first, each into the fullest row it fits. O(P log P).

    Returns (P,) piece numbers in the order of their rows, and (R + 1,) where each row's pieces start.
    """
    order = np.argsort(-sizes, kind="stable")
    full = int(np.count_nonzero(sizes == capacity))  # each is a row of its own
    room: list[list[int]] = [[] for _ in range(capacity + 1)]  # rows by the space left in them
    open_rooms = 0  # bit s is set while room[s] is not empty
    row_of = np.empty(len(order), dtype=np.int64)
    row_of[:full] = np.arange(full)
    rows = full
    for piece, size in enumerate(sizes[order[full:]].tolist(), start=full):
        fitting = open_rooms >> size
        if fitting:
            space = size + (fitting & -fitting).bit_length() - 1
            row = room[space].pop()
            if not room[space]:
                open_rooms &= ~(1 << space)
        else:
            space, row = capacity, rows
            rows += 1
        row_of[piece] = row
        if left := space - size:
            room[left].append(row)
            open_rooms |= 1 << left
    by_row = np.argsort(row_of, kind="stable")
    return order[by_row], np.searchsorted(row_of[by_row], np.arange(rows + 1))


PACKINGS = {"running": RunningPacking, "best-fit": BestFitPacking}
