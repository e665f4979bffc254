"""Batches of rows of nearly equal length, so that little of a batch is padding.

Rows are sorted by the length of their target, then of their source, and cut into batches. Where the cuts are
depends on the lengths alone, so every epoch has the same number of batches. Each epoch shuffles rows of equal
target length whose sources are nearly as long, and deals the batches in an order of its own: the batch of a step
is a pure function of (lengths, seed, step), and an epoch reads every row exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import TextmillError
from textmill.data import noise
from textmill.data.batch import IGNORE, Batch
from textmill.data.loader import Scored
from textmill.data.order import invert_many, key, permute_many
from textmill.data.view import View, Viewed, named, noise_key, sample, steps_in

_NEAR = 0.05  # sources whose lengths differ by less than this share may change places


class RaggedView(View, Protocol):
    """A view whose rows have lengths of their own."""

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) of what a row is to say, or reads where that is one label, and (R,) of its source (0: none)."""
        ...


class BucketLoader:
    """Batches of `batch` rows, or of as many as have `batch_tokens` target tokens, padding included.

    A row longer than `batch_tokens` is a batch of its own. Ranks share a batch as evenly as rows can be shared, so
    shares may differ by one row; the loop divides by the targets of all ranks, so that changes nothing. A rank that
    would have no row gets a copy of the first one with nothing to learn.
    """

    def __init__(
        self, view: RaggedView, *, batch: int | None = None, batch_tokens: int | None = None, seed: int
    ) -> None:
        """Give `batch` or `batch_tokens`. Raises TextmillError when there is no row."""
        if (batch is None) == (batch_tokens is None) or (batch or batch_tokens or 0) < 1:
            raise ValueError("set either batch or batch_tokens, to at least 1")
        self.view, self.store, self.seed = view, view.store, seed
        self._targets, self._sources = view.lengths()
        if not len(self._targets):
            raise TextmillError("holds nothing to train on", where=self.store.directory)
        self._cuts = _cuts(np.sort(self._targets), batch, batch_tokens)
        self._order = lru_cache(maxsize=2)(self._sorted)  # a pure function: only its time is saved

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._cuts) - 1

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every row is read once."""
        return float(len(self))

    def rows(self, step: int) -> np.ndarray:
        """(B,) numbers of the rows of a step's whole batch, by rising length."""
        if step < 0:
            raise IndexError(f"step {step}")
        epoch, position = divmod(step, len(self))
        number = int(permute_many(np.array([position]), len(self), self._key(epoch))[0])
        return self._order(epoch)[self._cuts[number] : self._cuts[number + 1]]

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rank's share of the batch of a step: contiguous rows, so that the shares of all ranks, one under
        the other, are the batch of one rank, where every rank has a row."""
        if not 0 <= rank < world:
            raise IndexError(f"rank {rank} of {world}")
        rows = self.rows(step)
        share = slice(len(rows) * rank // world, len(rows) * (rank + 1) // world)
        if share.start == share.stop:
            return idle(self._viewed(step, rows, slice(0, 1)).batch)
        return self._viewed(step, rows, share).batch

    def _viewed(self, step: int, rows: np.ndarray, share: slice = slice(None)) -> Viewed:
        noise = noise_key(self.seed, step // len(self))
        return self.view.make(rows, np.full(len(rows), noise, dtype=np.uint64), share)

    def documents(self, step: int) -> list[tuple[str, int]]:
        """The documents of a step's whole batch: (content id, targets of it), most targets first."""
        return named(self.store, self._viewed(step, self.rows(step)).counts())

    def steps_of(self, document: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """In which of the first `steps` steps a document is read: (S,) steps, rising, and (S,) its targets in each."""
        epochs = range(-(-steps // len(self)))
        return steps_in(self.view, self.seed, document, epochs, self._steps_at, steps)

    def _steps_at(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        position = np.empty(len(self._targets), dtype=np.int64)
        position[self._order(epoch)] = np.arange(len(position))
        batches = np.searchsorted(self._cuts, position[rows], side="right") - 1
        return epoch * len(self) + invert_many(batches, len(self), self._key(epoch))

    def evaluation(self, batch: int, *, tokens: int | None = None) -> Iterator[Scored]:
        """Every row once, `batch` at a time, by rising length and with fixed noise: the same on every call.

        tokens: a sample of the rows that together have about so many tokens, the same on every call.
        """
        rows = sample(self.view.sizes(), tokens)
        rows = rows[np.lexsort((self._sources[rows], self._targets[rows]))]
        fixed = np.uint64(key("evaluation"))
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            made = self.view.make(some, np.full(len(some), fixed, dtype=np.uint64))
            yield Scored(made.batch, torch.from_numpy(made.owners))

    def _key(self, epoch: int) -> int:
        return key("epoch", self.seed, epoch)

    def _sorted(self, epoch: int) -> np.ndarray:
        """All rows in the order that `_cuts` cuts: by target, then by source give or take a little; rising and
        falling in turns, so that where one length of target ends and the next begins sources are alike."""
        numbers = np.arange(len(self._targets))
        words = noise.row_keys(np.array([noise_key(self.seed, epoch)], dtype=np.uint64), numbers)
        draws = noise.uniform(words, 2, 7)
        source = self._sources * (1 + _NEAR * draws[:, 0])
        source = np.where(self._targets % 2, -source, source)
        return np.lexsort((draws[:, 1], source, self._targets))


def _cuts(lengths: np.ndarray, batch: int | None, batch_tokens: int | None) -> np.ndarray:
    """Where batches of rising lengths (R,) begin: (batches + 1,)."""
    if batch is not None:
        return np.append(np.arange(0, len(lengths), batch), len(lengths))
    assert batch_tokens is not None
    cuts = [0]
    while cuts[-1] < len(lengths):
        low, high = cuts[-1] + 1, len(lengths)  # the most rows whose longest, times their number, still fits
        while low < high:
            middle = (low + high + 1) // 2
            fits = (middle - cuts[-1]) * lengths[middle - 1] <= batch_tokens
            low, high = (middle, high) if fits else (low, middle - 1)
        cuts.append(low)
    return np.array(cuts)


def idle(batch: Batch) -> Batch:
    """The same rows with nothing to learn from them."""

    def emptied(values: Tensor) -> Tensor:
        return torch.full_like(values, float("nan") if values.is_floating_point() else IGNORE)

    return replace(
        batch,
        targets=emptied(batch.targets),
        labels=None if batch.labels is None else emptied(batch.labels),
    )
