"""The loader: the batch of a step as a pure function of (data, seed, step), for any number of ranks.

There is no state to save and none to restore: a run that resumes, or goes on with more machines, asks for
the next step and gets the batch it would have got anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.data.batch import Batch
from textmill.data.order import invert_many, key, permute_many
from textmill.data.packing import BestFitPacking, Packing, Rows
from textmill.data.special import SpecialTokens
from textmill.data.tokens import TokenStore


@dataclass(frozen=True)
class Batching:
    """How rows are cut, and dealt to steps.

    sequence: most tokens a row holds, on either side. batch: rows of an update, over all ranks. packing: running or
    best-fit. tokens: what stands around texts and in place of their tokens. reference: (R, 2) float64, what the model
    the run began as says of each row, where the objective compares with it and it is known.
    """

    sequence: int
    batch: int
    seed: int
    packing: str
    tokens: SpecialTokens
    reference: np.ndarray | None = None


class AnyLoader(Protocol):
    """What every loader can do, and does purely. `evaluation` reads the same store in fixed order, documents apart."""

    store: Any  # a TokenStore or an ExampleStore

    @property
    def steps_per_epoch(self) -> float: ...
    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch: ...
    def documents(self, step: int) -> list[tuple[str, int]]: ...
    def steps_of(self, document: str, steps: int) -> tuple[np.ndarray, np.ndarray]: ...
    def evaluation(self, batch: int, *, tokens: int | None = None) -> Iterator[Scored]: ...


class Epochs:
    """Which rows a step reads: `size` of `count` rows, every epoch in a new order.

    Row b of step s is sample g = s * size + b of the run; its epoch is g // count, and its row is the permutation
    of that epoch at g % count. So an epoch reads every row exactly once, and a batch may hold the end of one epoch
    and the start of the next.
    """

    def __init__(self, count: int, size: int, seed: int) -> None:
        """size: rows in one update, over all ranks."""
        if size < 1:
            raise ValueError("a batch has at least one sequence")
        self.count, self.size, self.seed = count, size, seed

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every row is read once."""
        return self.count / self.size

    def share(self, rank: int = 0, world: int = 1) -> slice:
        """Which rows of a batch are a rank's. Raises RecipeError when the ranks cannot share it evenly."""
        if self.size % world:
            raise RecipeError(
                f"a batch of {self.size} sequences cannot be shared evenly by {world} ranks",
                where="training.batch",
                advice="choose a multiple of the number of ranks",
            )
        if not 0 <= rank < world:
            raise IndexError(f"rank {rank} of {world}")
        part = self.size // world
        return slice(rank * part, (rank + 1) * part)

    def order(self, step: int, share: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """(n,) epochs and (n,) rows of a share of a step's batch."""
        if step < 0:
            raise IndexError(f"step {step}")
        samples = step * self.size + np.arange(self.size, dtype=np.int64)[share]
        epochs, positions = np.divmod(samples, self.count)
        rows = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = permute_many(positions[here], self.count, self._key(int(epoch)))
        return epochs, rows

    def steps_at(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """In which steps an epoch reads rows: (n,) to (n,)."""
        return (epoch * self.count + invert_many(rows, self.count, self._key(epoch))) // self.size

    def epochs_of(self, steps: int) -> range:
        """The epochs that the first `steps` steps begin."""
        return range(-(-steps * self.size // self.count))

    def _key(self, epoch: int) -> int:
        return key("epoch", self.seed, epoch)


class Loader(Epochs):
    """Batches of `batch` rows of a packing."""

    def __init__(self, packing: Packing, batch: int, seed: int) -> None:
        """batch: rows in one update, over all ranks."""
        super().__init__(len(packing), batch, seed)
        self.packing, self.store = packing, packing.store

    def _rows(self, step: int, rank: int = 0, world: int = 1) -> Rows:
        return self.packing.rows(self.order(step, self.share(rank, world))[1])

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rank's share of the batch of a step: contiguous rows, so that the shares of all ranks, one under
        the other, are the batch of one rank. Raises RecipeError when the ranks cannot share it evenly."""
        return self._rows(step, rank, world).batch(self.store)

    def evaluation(self, batch: int, *, tokens: int | None = None) -> Iterator[Scored]:
        """`evaluation_batches` of the same store, `batch` rows at a time."""
        return evaluation_batches(self.store, self.packing.sequence, batch, tokens=tokens)

    def documents(self, step: int) -> list[tuple[str, int]]:
        """The documents of a step's whole batch: (content id, tokens of it that are in the loss), most tokens first."""
        rows, store = self._rows(step), self.packing.store
        counts: Counter[str] = Counter()
        indices, times = np.unique(store.documents_at(rows.places[rows.scored]), return_counts=True)
        for index, count in zip(indices, times, strict=True):
            counts[store.document_id(int(index))] += int(count)  # pieces of one document share its id
        return counts.most_common()

    def steps_of(self, document: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """In which of the first `steps` steps a document is read: (S,) steps, rising, and (S,) its tokens in each.

        Tokens that are in the loss are counted, those of all pieces of this content id. Nothing is walked through: the
        rows the document stands in are looked up, and the order of each epoch is asked backwards.
        """
        store = self.store
        wanted = np.frombuffer(bytes.fromhex(document), dtype=np.uint8)
        occurrences = [np.zeros(0, dtype=np.int64)]
        counts = [np.zeros(0, dtype=np.int64)]
        for index in np.flatnonzero((store.document_ids == wanted).all(axis=1)):
            rows, tokens = self.packing.rows_of(int(store.offsets[index]), int(store.offsets[index + 1]))
            for epoch in self.epochs_of(steps):
                occurrences.append(self.steps_at(rows, epoch))
                counts.append(tokens)
        distinct, which = np.unique(np.concatenate(occurrences), return_inverse=True)
        sums = np.bincount(which, np.concatenate(counts), len(distinct)).astype(np.int64)
        return distinct[distinct < steps], sums[distinct < steps]


@dataclass(frozen=True, eq=False)
class Scored:
    """A batch to be scored, and whose each target is.

    documents  (B, T) int64: index in the store of the document a target belongs to; -1 where there is no target
    """

    batch: Batch
    documents: Tensor


def evaluation_batches(
    store: TokenStore,
    sequence: int,
    batch: int,
    *,
    overlap: int = 0,
    tokens: int | None = None,
    end: bool = True,
) -> Iterator[Scored]:
    """Every token of the store, or of a sample of about `tokens` of them, as a target exactly once, in fixed order.

    Documents are kept apart (attention stays inside each), so a document's score does not depend on its
    neighbours and documents can be resampled for an interval. A document begins with what its tokenizer puts before a
    text (`store.opening`); one longer than `sequence` is read in windows, each of which begins so too, unless that is
    end-of-text. Rows are no longer than the longest document, and as many more are read at once. overlap: tokens of
    context that later windows of a long document start with; more is closer to what a model with the whole document
    would score, and dearer. The sample is whole documents in an order of its own, the last one cut: it is the same on
    every call. end: whether the end-of-text tokens are targets.
    Raises TextmillError when the store is empty.
    """
    spans = None if tokens is None else _some(store, tokens)
    longest = int((np.diff(store.offsets) if spans is None else spans[1]).max(initial=1))
    lead, fresh = len(store.opening) - 1, store.opening != (store.end,)
    width = max(min(sequence, longest + lead), lead + 1)
    # A window that begins anew asks for no token that what it begins with does not lead to.
    overlap = min(max(overlap, int(fresh)), width - lead - 1)
    packing = BestFitPacking(store, width, overlap, spans, lead, fresh)
    batch = max(1, batch * sequence // width)
    last = store.offsets[1:] - 1
    for start in range(0, len(packing), batch):
        rows = packing.rows(np.arange(start, min(start + batch, len(packing))))
        rows = rows.trimmed()
        owners = store.documents_at(rows.places)
        if (
            packing.apart
        ):  # then causal order alone keeps documents apart, which is a quicker mask, and takes no memory
            rows = replace(rows, documents=None)
        if not end:
            rows = replace(rows, scored=rows.scored & (rows.places != last[owners]))
        yield Scored(rows.batch(store), torch.from_numpy(np.where(rows.scored, owners, -1)))


def _some(store: TokenStore, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of randomly chosen documents that together have `tokens` tokens."""
    chosen = permute_many(np.arange(len(store)), len(store), key("sample"))
    ends = np.cumsum(np.diff(store.offsets)[chosen])
    chosen = chosen[: int(np.searchsorted(ends, tokens)) + 1]
    lengths = np.diff(store.offsets)[chosen]
    lengths[-1] -= max(int(lengths.sum()) - tokens, 0)
    order = np.argsort(chosen)
    return store.offsets[:-1][chosen][order], lengths[order]
