"""The loader: the batch of a step as a pure function of (data, seed, step), for any number of ranks.

There is no state to save and none to restore: a run that resumes, or goes on with more machines, asks for
the next step and gets the batch it would have got anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.data.batch import Batch
from textmill.data.order import invert_many, key, permute_many
from textmill.data.packing import BestFitPacking, Packing, Rows
from textmill.data.tokens import TokenStore


class Loader:
    """Batches of `batch` rows, every epoch in a new order.

    Row b of step s is sample g = s * batch + b of the run; its epoch is g // len(packing), and its row of the
    packing is the permutation of that epoch at g % len(packing). So an epoch reads every row exactly once, and
    a batch may hold the end of one epoch and the start of the next.
    """

    def __init__(self, packing: Packing, batch: int, seed: int) -> None:
        """batch: rows in one update, over all ranks."""
        if batch < 1:
            raise ValueError("a batch has at least one row")
        self.packing, self.size, self.seed = packing, batch, seed

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every row is read once."""
        return len(self.packing) / self.size

    def _rows(self, step: int, rank: int = 0, world: int = 1) -> Rows:
        if self.size % world:
            raise RecipeError(
                f"a batch of {self.size} sequences cannot be shared evenly by {world} ranks",
                where="training.batch",
                advice="choose a multiple of the number of ranks",
            )
        if not (0 <= rank < world and step >= 0):
            raise IndexError(f"step {step}, rank {rank} of {world}")
        share = self.size // world
        samples = step * self.size + rank * share + np.arange(share, dtype=np.int64)
        epochs, places = np.divmod(samples, len(self.packing))
        rows = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = permute_many(places[here], len(self.packing), key("epoch", self.seed, int(epoch)))
        return self.packing.rows(rows)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rank's share of the batch of a step: contiguous rows, so that the shares of all ranks, one under
        the other, are the batch of one rank. Raises RecipeError when the ranks cannot share it evenly."""
        return self._rows(step, rank, world).batch(self.packing.store)

    def documents(self, step: int) -> list[tuple[str, int]]:
        """The documents of a step's whole batch: (content id, tokens of it that bear loss), most tokens first."""
        rows, store = self._rows(step), self.packing.store
        counts: Counter[str] = Counter()
        found, times = np.unique(store.documents_at(rows.places[rows.scored]), return_counts=True)
        for index, count in zip(found, times, strict=True):
            counts[store.document_id(int(index))] += int(count)  # pieces of one document share its id
        return counts.most_common()

    def steps_of(self, document: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """In which of the first `steps` steps a document is read: (S,) steps, rising, and (S,) its tokens in each.

        Tokens that bear loss are counted, those of all pieces of this content id. Nothing is walked through: the
        rows the document stands in are looked up, and the order of each epoch is asked backwards.
        """
        store, total = self.packing.store, len(self.packing)
        wanted = np.frombuffer(bytes.fromhex(document), dtype=np.uint8)
        places = [np.zeros(0, dtype=np.int64)]
        counts = [np.zeros(0, dtype=np.int64)]
        for index in np.flatnonzero((store.document_ids == wanted).all(axis=1)):
            rows, tokens = self.packing.rows_of(int(store.offsets[index]), int(store.offsets[index + 1]))
            for epoch in range(-(-steps * self.size // total)):
                order = invert_many(rows, total, key("epoch", self.seed, epoch))
                places.append((epoch * total + order) // self.size)
                counts.append(tokens)
        found, which = np.unique(np.concatenate(places), return_inverse=True)
        sums = np.bincount(which, np.concatenate(counts), len(found)).astype(np.int64)
        return found[found < steps], sums[found < steps]


@dataclass(frozen=True, eq=False)
class Scored:
    """A batch to be scored, and whose each target is.

    documents  (B, T) int64: index in the store of the document a target belongs to; -1 where there is no target
    """

    batch: Batch
    documents: Tensor


def evaluation_batches(
    store: TokenStore, sequence: int, batch: int, *, overlap: int = 0, tokens: int | None = None
) -> Iterator[Scored]:
    """Every token of the store, or of a sample of about `tokens` of them, as a target exactly once, in fixed order.

    Documents are kept apart (attention stays inside each), so a document's score does not depend on its
    neighbours and documents can be resampled for an interval. overlap: tokens of context that later pieces of
    a long document start with; more is closer to what a model with the whole document would score, and dearer.
    The sample is whole documents in an order of its own, the last one cut: it is the same on every call.
    Raises TextmillError when the store is empty.
    """
    packing = BestFitPacking(store, sequence, overlap, None if tokens is None else _some(store, tokens))
    for start in range(0, len(packing), batch):
        rows = packing.rows(np.arange(start, min(start + batch, len(packing))))
        documents = np.where(rows.scored, store.documents_at(rows.places), -1)
        yield Scored(rows.batch(store), torch.from_numpy(documents))


def _some(store: TokenStore, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of randomly chosen documents that together have `tokens` tokens."""
    chosen = permute_many(np.arange(len(store)), len(store), key("sample"))
    ends = np.cumsum(np.diff(store.offsets)[chosen])
    chosen = chosen[: int(np.searchsorted(ends, tokens)) + 1]
    lengths = np.diff(store.offsets)[chosen]
    lengths[-1] -= max(int(lengths.sum()) - tokens, 0)
    place = np.argsort(chosen)
    return store.offsets[:-1][chosen][place], lengths[place]
