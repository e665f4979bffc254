"""Rows of supervised objectives, made of the records of an example store.

Targets are (B, T) where tokens are to be said (pairs) or tagged, (B,) for one label, (B, C) float for several labels
or for numbers, (B, 2) for spans. Texts stand between the tokenizer's `lead` and `tail`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE, Batch
from textmill.data.examples import ExampleStore
from textmill.data.special import SpecialTokens
from textmill.data.view import ALL, Pair, Viewed, mask_of, padded, pair_batch
from textmill.specs.objective import (
    ClassifyObjective,
    PairsObjective,
    RegressObjective,
    SpanObjective,
    TagObjective,
)


class _Records:
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

    def _read(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([np.arange(len(rows)), self.record[rows]], axis=1)


class PairsView(_Records):
    """Source and target, each cut to what a row holds; a target that was cut has no end."""

    def __init__(
        self, spec: PairsObjective, store: ExampleStore, sequence: int, tokens: SpecialTokens
    ) -> None:
        super().__init__(store, tokens, sequence - max(tokens.frame, 1))
        self.record = np.arange(len(store))
        self._sequence = sequence
        self._targets = np.minimum(store.lengths("target") + 1, sequence)
        self._sources = np.minimum(store.lengths("source") + tokens.frame, sequence)

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of the target, its end included, and (R,) of the source as it is read."""
        return self._targets, self._sources

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share, as wide as the whole batch."""
        batch, owners = pair_batch(
            [self._pair(int(row)) for row in rows], self.tokens.start, self.tokens.pad, share
        )
        return Viewed(batch, owners, self._read(rows[share]))

    def _pair(self, row: int) -> Pair:
        tokens, sequence = self.tokens, self._sequence
        source = self.store.field("source", row)[: sequence - tokens.frame]
        target = np.append(self.store.field("target", row).astype(np.int64), tokens.end)[:sequence]
        framed = np.concatenate([tokens.lead, source, tokens.tail]).astype(np.int64)
        return Pair(framed, target, np.full(len(target), row))


class _Texts(_Records):
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
        made = [self._row(int(row)) for row in rows]
        width = max(len(row) for row in made)
        pad = not all(len(row) == width for row in made)
        rows, made = rows[share], made[share]
        targets, owners = self.targets(rows, width)
        batch = Batch(
            inputs=torch.from_numpy(padded(made, width, self.tokens.pad)),
            targets=targets,
            mask=torch.from_numpy(mask_of(made, width)) if pad else None,
            segments=self.segments(rows, width),
        )
        return Viewed(batch, owners, self._read(rows))

    def _row(self, row: int) -> np.ndarray:
        text = self.store.field("text", int(self.record[row]))[self.begins[row] : self.ends[row]]
        return np.concatenate([self.tokens.lead, text, self.tokens.tail]).astype(np.int64)

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """What is to be said of rows, and the record of each target, -1 for none."""
        raise NotImplementedError

    def segments(self, rows: np.ndarray, width: int) -> Tensor | None:
        """(B, T) where rows have two segments."""
        return None


class _Whole(_Texts):
    """Each record is one row; a text that is too long is cut at its end."""

    def __init__(self, spec: Any, store: ExampleStore, sequence: int, tokens: SpecialTokens) -> None:
        super().__init__(store, tokens, sequence - tokens.frame)
        self.spec, self.record = spec, np.arange(len(store))
        self.begins = np.zeros(len(store), dtype=np.int64)
        self.ends = np.minimum(store.lengths("text"), sequence - tokens.frame)


class ClassifyView(_Whole):
    """Targets (B,) int64, numbers of labels; with `multiple` (B, C) float32 of 0 and 1."""

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """The labels."""
        values = [self.store.field("value", int(row)) for row in rows]
        if not self.spec.multiple:
            return torch.tensor([int(value[0]) for value in values]), rows.copy()
        held = np.zeros((len(rows), len(self.store.labels or ())), dtype=np.float32)
        for place, value in enumerate(values):
            held[place, value] = 1
        return torch.from_numpy(held), np.broadcast_to(rows[:, None], held.shape).copy()


class RegressView(_Whole):
    """Targets (B, 1) float32."""

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """The numbers."""
        values = [float(self.store.field("value", int(row))[0]) for row in rows]
        return torch.tensor(values, dtype=torch.float32)[:, None], rows[:, None].copy()


class TagView(_Texts):
    """Targets (B, T): tags, IGNORE for all but a word's first token. A text that is too long is several rows, each of
    whole words unless one word is longer than a row."""

    def __init__(self, spec: TagObjective, store: ExampleStore, sequence: int, tokens: SpecialTokens) -> None:
        room = sequence - tokens.frame
        super().__init__(store, tokens, room)
        begins, ends, record = [], [], []
        for index, length in enumerate(store.lengths("text").tolist()):
            cuts = [0, length] if length <= room else _word_cuts(store.field("value", index), room)
            begins += cuts[:-1]
            ends += cuts[1:]
            record += [index] * (len(cuts) - 1)
        self.begins, self.ends, self.record = (
            np.array(side, dtype=np.int64) for side in (begins, ends, record)
        )

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """The tags, where the words' first tokens stand."""
        lead = np.full(len(self.tokens.lead), IGNORE)
        tags = [
            np.concatenate(
                [
                    lead,
                    self.store.field("value", int(self.record[row]))[self.begins[row] : self.ends[row]],
                ]
            )
            for row in rows
        ]
        targets = padded(tags, width, IGNORE)
        return torch.from_numpy(targets), np.where(targets != IGNORE, self.record[rows][:, None], -1)


def _word_cuts(tags: np.ndarray, room: int) -> list[int]:
    """Where rows of at most `room` tokens begin and end: as late as possible, at the beginning of a word."""
    words = np.append(np.flatnonzero(tags != IGNORE), len(tags))
    cuts = [0]
    while cuts[-1] < len(tags):
        last = int(words[np.searchsorted(words, cuts[-1] + room, side="right") - 1])
        cuts.append(last if last > cuts[-1] else min(cuts[-1] + room, len(tags)))
    return cuts


class AnswerView(_Texts):
    """`lead question separator text tail`, segments 0 and 1; targets (B, 2), the answer's first and last token.

    A long text is read in windows that overlap by half; in one that does not hold the whole answer the target is the
    row's first token, twice, which stands for "not here" (Devlin et al. 2019, section 4.3). A question is cut to half
    of a row.
    """

    def __init__(
        self, spec: SpanObjective, store: ExampleStore, sequence: int, tokens: SpecialTokens
    ) -> None:
        """Raises RecipeError when the tokenizer has no separator, or rows are too short."""
        self._separator = tokens.need_separator()
        room = sequence - tokens.frame - 1
        super().__init__(store, tokens, room // 2)
        self._questions = np.minimum(store.lengths("question"), room // 2)
        texts, windows = store.lengths("text"), room - self._questions
        counts = 1 + -(-np.maximum(texts - windows, 0) // np.maximum(windows // 2, 1))
        self.record = np.repeat(np.arange(len(store)), counts)
        number = np.arange(len(self.record)) - np.repeat(np.cumsum(counts) - counts, counts)
        window = windows[self.record]
        self.begins = number * np.maximum(window // 2, 1)
        self.ends = np.minimum(self.begins + window, texts[self.record])

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of question and text; there is no source."""
        return self.ends - self.begins + self._questions[self.record], np.zeros(len(self), dtype=np.int64)

    def _row(self, row: int) -> np.ndarray:
        record = int(self.record[row])
        question = self.store.field("question", record)[: self._questions[record]]
        text = self.store.field("text", record)[self.begins[row] : self.ends[row]]
        parts = [self.tokens.lead, question, [self._separator], text, self.tokens.tail]
        return np.concatenate(parts).astype(np.int64)

    def _text_at(self, rows: np.ndarray) -> np.ndarray:
        """(B,) where the text begins in each row."""
        return len(self.tokens.lead) + self._questions[self.record[rows]] + 1

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """First and last token of the answer, counted from the row's first."""
        spans = np.array([self.store.field("value", int(self.record[row])) for row in rows]).reshape(-1, 2)
        inside = (spans[:, 0] >= self.begins[rows]) & (spans[:, 1] < self.ends[rows])
        spans = spans - self.begins[rows][:, None] + self._text_at(rows)[:, None]
        targets = np.where(inside[:, None], spans, 0).astype(np.int64)
        return torch.from_numpy(targets), np.repeat(self.record[rows][:, None], 2, axis=1)

    def segments(self, rows: np.ndarray, width: int) -> Tensor:
        """0 up to the separator after the question, 1 from there to the row's last token."""
        places, start = np.arange(width), self._text_at(rows)[:, None]
        stop = start + (self.ends - self.begins)[rows][:, None] + len(self.tokens.tail)
        return torch.from_numpy(((places >= start) & (places < stop)).astype(np.int64))


# What makes the rows of each supervised objective.
VIEWS: dict[str, Any] = {
    PairsObjective.kind: PairsView,
    ClassifyObjective.kind: ClassifyView,
    RegressObjective.kind: RegressView,
    TagObjective.kind: TagView,
    SpanObjective.kind: AnswerView,
}
