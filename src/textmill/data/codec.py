"""From texts to rows of ids: the one way for training, evaluation, use and proofs alike.

    lead text tail              what an encoder, a model with a head, or the encoder of a pair reads
    lead a between b tail       two texts in one row: segments 0 and 1
    text end                    a target, which the decoder reads behind `start`
    prefix text                 a prompt, which a decoder goes on from

`lead` and `tail` are what the tokenizer's own model expects around a text (of a tokenizer learnt here, `start` before
it), `between` is what it expects between two texts, or the separator; `prefix` is what it expects before one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from textmill.data.special import SpecialTokens, frame
from textmill.tokenization.protocol import AnyTokenizer

Ids = Sequence[int] | np.ndarray


@dataclass(frozen=True, eq=False)
class Codec:
    """A tokenizer, and what stands around its texts.

    start: the id a target begins with, where the model says one (`model.start`); else the tokenizer's.
    """

    tokenizer: AnyTokenizer
    start: int | None = None

    @cached_property
    def special(self) -> SpecialTokens:
        """The ids that stand around texts and in place of their tokens."""
        return SpecialTokens.of(self.tokenizer, start=self.start)

    def prompt(self, text: str) -> np.ndarray:
        """prefix text: (T,) int64; empty where both are."""
        return _joined(self.tokenizer.prefix, self.tokenizer.encode(text))

    def source(self, text: str) -> np.ndarray:
        """lead text tail: (T,) int64, whatever its length."""
        lead, tail = frame(self.tokenizer)
        return _joined(lead, self.tokenizer.encode(text), tail)


def _joined(*parts: Ids) -> np.ndarray:
    return np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])


def padded(
    rows: Sequence[Ids],
    filler: float = 0,
    *,
    width: int | None = None,
    front: bool = False,
    dtype: type = np.int64,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows one under the other, (B, T), and which places are of a row, (B, T) bool; None: all are.

    width: T; left out: the longest row's length. front: the filler stands before the rows, not after them.
    """
    width = max(map(len, rows), default=0) if width is None else width
    values = np.full((len(rows), width), filler, dtype=dtype)
    real = np.zeros((len(rows), width), dtype=bool)
    for index, row in enumerate(rows):
        columns = slice(width - len(row), width) if front else slice(0, len(row))
        values[index, columns] = row
        real[index, columns] = True
    return values, None if bool(real.all()) else real


def by_length(lengths: Sequence[int] | np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Indices of rows in batches of like length, the longest first: each of at most `tokens`, padding included.

    A row longer than that is a batch of its own.

    >>> [batch.tolist() for batch in by_length([2, 9, 3, 2], tokens=8)]
    [[1], [2, 0], [3]]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, tokens // max(1, int(lengths[order[start]])))
        yield order[start:stop]
        start = stop
