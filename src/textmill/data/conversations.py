"""Conversations as rows of training: several in one row, each of which sees itself alone.

A record of the store is a conversation, or the pieces of one that was too long:

    text    the ids of its pieces, one after the other
    loss    1 for each id that an assistant says, else 0
    pieces  how many ids each piece has

A piece of n ids is n - 1 places of a row: the last id is said, and read by nobody. Pieces are fitted whole into rows,
best fit decreasing; positions begin anew with each, and attention stays inside it.

Shapes: R records, P pieces, B rows, T positions.
"""

from __future__ import annotations

import numpy as np
import torch

from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.data.examples import ExampleStore
from textmill.data.packing import best_fit
from textmill.data.view import ALL, Viewed


class ConversationView:
    """Rows of at most `sequence` places.

    owners  (P,) int64, rising: the record each piece is of
    """

    def __init__(self, store: ExampleStore, sequence: int, pad: int, *, packed: bool = True) -> None:
        """pad: the id where nothing is read. packed: as many pieces in a row as fit; else one.

        Raises TextmillError when there is no conversation, or one longer than a row.
        """
        sizes, offsets = store.fields["pieces"]
        self.store, self._pad = store, pad
        self._ids, self._loss = store.fields["text"][0], store.fields["loss"][0]
        self._sizes = sizes.astype(np.int64)
        self._begins = np.concatenate([[0], np.cumsum(self._sizes)])[:-1]
        self.owners = np.repeat(np.arange(len(store)), np.diff(offsets))
        places = self._sizes - 1
        if not len(places) or places.max() > sequence:
            raise TextmillError(
                "holds no conversation" if not len(places) else "holds conversations longer than a sequence",
                where=store.directory,
                advice="prepare the data again",
            )
        self._order, self._cuts = np.arange(len(places)), np.arange(len(places) + 1)
        if packed:  # row r holds the pieces _order[_cuts[r] : _cuts[r + 1]]
            self._order, self._cuts = best_fit(places, sequence)
        self._filled = np.add.reduceat(places[self._order], self._cuts[:-1])

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._cuts) - 1

    @property
    def filled(self) -> float:
        """Share of positions that are no padding, were all rows as long as the longest."""
        return float(self._filled.mean() / self._filled.max())

    def sizes(self) -> np.ndarray:
        """(rows,) places that are read."""
        return self._filled

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """The same; there is no source."""
        return self._filled, np.zeros(len(self), dtype=np.int64)

    def rows_of(self, document: int, key: int) -> np.ndarray:
        """The rows that read a record, in every epoch the same."""
        return np.unique(
            np.searchsorted(self._cuts, np.flatnonzero(self.owners[self._order] == document), "right") - 1
        )

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share, as wide as the whole batch must be. Nothing in them is random."""
        chosen, shape = rows[share], (len(rows[share]), int(self._filled[rows].max()))
        inputs = np.full(shape, self._pad, dtype=np.int64)
        targets, owners = np.full(shape, IGNORE, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
        documents, real = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
        read = set()
        for row, number in enumerate(chosen.tolist()):
            place = 0
            pieces = self._order[self._cuts[number] : self._cuts[number + 1]]
            for part, piece in enumerate(pieces.tolist()):
                begin, size = int(self._begins[piece]), int(self._sizes[piece])
                ids = self._ids[begin : begin + size].astype(np.int64)
                said = self._loss[begin + 1 : begin + size] == 1
                here = slice(place, place + size - 1)
                inputs[row, here], documents[row, here], real[row, here] = ids[:-1], part, True
                targets[row, here] = np.where(said, ids[1:], IGNORE)
                owners[row, here] = np.where(said, self.owners[piece], -1)
                read.add((row, int(self.owners[piece])))
                place += size - 1
            documents[row, place:] = len(pieces)  # padding keeps to itself
        alone = bool((np.diff(self._cuts)[rows] == 1).all())
        batch = Batch(
            inputs=torch.from_numpy(inputs),
            targets=torch.from_numpy(targets),
            mask=None if bool((self._filled[rows] == shape[1]).all()) else torch.from_numpy(real),
            documents=None if alone else torch.from_numpy(documents),
        )
        return Viewed(batch, owners, np.array(sorted(read), dtype=np.int64).reshape(-1, 2))
