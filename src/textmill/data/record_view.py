"""Rows made of the records of an example store: what the views of supervised objectives share.

Texts stand between the tokenizer's `lead` and `tail`. What is to be said of a row is the objective's own affair.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.data.batch import Batch
from textmill.data.codec import padded
from textmill.data.examples import ExampleStore
from textmill.data.special import SpecialTokens
from textmill.data.view import ALL, Viewed


class RecordView:
    """Rows are stretches of records: all of it where it is short enough. `record` (R,) says which each is of."""

    record: np.ndarray

    def __init__(self, store: ExampleStore, tokens: SpecialTokens, room: int) -> None:
        """room: tokens of a text that fit into a row. Raises RecipeError when there is none."""
        if room < 1:
            raise RecipeError(
                "leaves no room for text beside the special tokens",
                where="training.sequence",
                advice="make it longer",
            )
        self.store, self.tokens = store, tokens

    def __len__(self) -> int:
        return len(self.record)

    def rows_of(self, document: int, key: int) -> np.ndarray:
        """The rows of a record, in every epoch the same."""
        return np.arange(
            np.searchsorted(self.record, document), np.searchsorted(self.record, document, side="right")
        )

    def sizes(self) -> np.ndarray:
        """(R,) tokens of the text, or of the target of pairs."""
        return self.lengths()[0]

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of a row, and (R,) of its source."""
        raise NotImplementedError

    def read_by(self, rows: np.ndarray) -> np.ndarray:
        """(n, 2) pairs of a row and the record it reads."""
        return np.stack([np.arange(len(rows)), self.record[rows]], axis=1)


class TextView(RecordView):
    """Rows that read one text; a subclass says which stretch of it and what is to be said.

    begins, ends (R,): the stretch of the text
    """

    begins: np.ndarray
    ends: np.ndarray

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of a row without those around it; there is no source."""
        return self.ends - self.begins, np.zeros(len(self), dtype=np.int64)

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share, as wide as the whole batch."""
        ids, real = padded([self._row(int(row)) for row in rows], self.tokens.pad)
        targets, owners = self.targets(rows[share], ids.shape[1])
        batch = Batch(
            inputs=torch.from_numpy(ids[share]),
            targets=targets,
            mask=None if real is None else torch.from_numpy(real[share]),
        )
        return Viewed(batch, owners, self.read_by(rows[share]))

    def _row(self, row: int) -> np.ndarray:
        text = self.store.field("text", int(self.record[row]))[self.begins[row] : self.ends[row]]
        return self.tokens.around(text)

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """What is to be said of rows, and the record of each target, -1 for none."""
        raise NotImplementedError


PAIR = "pair"  # the field of a second text


class WholeTextView(TextView):
    """Each record is one row of its text, or of its two texts, segments 0 and 1 (`lead text between pair tail`).

    A text that is too long is cut at its end; of two the longer one first, token by token (Devlin et al. 2019, A.2).
    """

    def __init__(self, spec: Any, store: ExampleStore, sequence: int, tokens: SpecialTokens) -> None:
        """Raises RecipeError when rows are too short, or where of two texts nothing stands between them."""
        self._paired = PAIR in store.fields
        room = sequence - tokens.frame - (len(tokens.need_between()) if self._paired else 0)
        super().__init__(store, tokens, room // 2 if self._paired else room)
        self.spec, self.record = spec, np.arange(len(store))
        self.begins, first = np.zeros(len(store), dtype=np.int64), store.lengths("text")
        self._seconds = np.zeros(len(store), dtype=np.int64)
        if self._paired:
            second = store.lengths(PAIR)
            self._seconds = np.minimum(second, np.maximum(room - first, room // 2))
            first = np.minimum(first, room - self._seconds)
        self.ends = np.minimum(first, room)

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of a row without those around its texts; there is no source."""
        return self.ends + self._seconds, np.zeros(len(self), dtype=np.int64)

    def _row(self, row: int) -> np.ndarray:
        text = self.store.field("text", row)[: self.ends[row]]
        if not self._paired:
            return self.tokens.around(text)
        return self.tokens.around(text, self.store.field(PAIR, row)[: self._seconds[row]])

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share, as wide as the whole batch."""
        made = super().make(rows, keys, share)
        if not self._paired:
            return made
        chosen, positions = rows[share], np.arange(made.batch.inputs.shape[1])
        start = self.tokens.before_second + self.ends[chosen]
        stop = start + self._seconds[chosen] + len(self.tokens.tail)
        second = (positions >= start[:, None]) & (positions < stop[:, None])
        return replace(made, batch=replace(made.batch, segments=torch.from_numpy(second.astype(np.int64))))
