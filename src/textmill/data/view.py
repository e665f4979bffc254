"""Views: what an objective makes of the rows of a store, and the loader that deals them out.

A view is pure: the rows it makes depend on their numbers and on the keys it is given, never on the place in a
batch, the rank or the step. Whatever is random in a row comes from (seed, epoch, row).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import padded
from textmill.data.loader import Epochs, Scored
from textmill.data.order import key, permute_many

ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Viewed:
    """Rows as an objective reads them.

    batch    what the model and the loss read
    owners   in the shape of `batch.targets`, int64: the store's document a target belongs to, -1 where none is
    read     (n, 2) int64, all pairs of a row and a document that it reads, whether or not a target is of it
    """

    batch: Batch
    owners: np.ndarray
    read: np.ndarray

    def counts(self) -> Counter[int]:
        """Targets of each document that is read, 0 included."""
        counts: Counter[int] = Counter(dict.fromkeys(self.read[:, 1].tolist(), 0))
        documents, times = np.unique(self.owners[self.owners >= 0], return_counts=True)
        counts.update(dict(zip(documents.tolist(), times.tolist(), strict=True)))
        return counts


class View(Protocol):
    """What a loader needs of a view. Rows are numbered from 0; keys are those of epochs, one for each row."""

    @property
    def store(self) -> Any: ...  # with document_id, document_ids, vocabulary
    def __len__(self) -> int: ...
    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share, as wide as the whole batch must be: (B,) rows and (B,) uint64 keys."""
        ...

    def rows_of(self, document: int, key: int) -> np.ndarray:
        """Numbers of the rows that read a document in an epoch of this key."""
        ...

    def sizes(self) -> np.ndarray:
        """(len,) tokens each row reads: what a sample of an evaluation is measured by."""
        ...


def steps_in(
    view: View,
    seed: int,
    document: str,
    epochs: Sequence[int],
    steps_at: Callable[[np.ndarray, int], np.ndarray],
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """In which of the first `steps` steps a document is read: (S,) steps, rising, and (S,) its targets in each.

    Nothing is walked through: the rows it stands in are looked up, and made to see what was chosen of them.
    steps_at: the steps in which rows are dealt in an epoch.
    """
    totals: Counter[int] = Counter()
    for index in indices_of(view.store, document):
        for epoch in epochs:
            noise = noise_key(seed, epoch)
            rows = view.rows_of(int(index), noise)
            if not len(rows):
                continue
            owners = view.make(rows, np.full(len(rows), noise, dtype=np.uint64)).owners
            counts = (owners.reshape(len(rows), -1) == index).sum(axis=1)
            for step, count in zip(steps_at(rows, epoch).tolist(), counts.tolist(), strict=True):
                totals[step] += count
    read = sorted(step for step in totals if step < steps)
    return np.array(read, dtype=np.int64), np.array([totals[step] for step in read], dtype=np.int64)


class ViewLoader(Epochs):
    """Batches of `batch` rows of a view, every epoch in a new order and with new noise.

    apart: makes the view that an evaluation reads, in which a document does not see its neighbours.
    """

    def __init__(self, view: View, batch: int, seed: int, apart: Callable[[], View] | None = None) -> None:
        super().__init__(len(view), batch, seed)
        self.view, self.store = view, view.store
        self._apart = apart or (lambda: view)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rank's share of the batch of a step: contiguous rows, so that the shares of all ranks, one under
        the other, are the batch of one rank. Raises RecipeError when the ranks cannot share it evenly."""
        return self._viewed(step, self.share(rank, world)).batch

    def _viewed(self, step: int, share: slice = ALL) -> Viewed:
        epochs, rows = self.order(step)
        return self.view.make(rows, self._keys(epochs), share)

    def _keys(self, epochs: np.ndarray) -> np.ndarray:
        different, inverse = np.unique(epochs, return_inverse=True)
        return np.array([noise_key(self.seed, int(epoch)) for epoch in different], dtype=np.uint64)[inverse]

    def documents(self, step: int) -> list[tuple[str, int]]:
        """The documents a step's whole batch reads: (content id, targets of it), most targets first. One that is
        only read, since nothing of it was chosen, has 0."""
        return named(self.store, self._viewed(step).counts())

    def steps_of(self, document: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """In which of the first `steps` steps a document is read: (S,) steps, rising, and (S,) its targets in each."""
        epochs = self.epochs_of(steps)
        return steps_in(self.view, self.seed, document, epochs, self.steps_at, steps)

    def evaluation(self, batch: int, *, tokens: int | None = None) -> Iterator[Scored]:
        """Every row once, `batch` at a time, in fixed order and with fixed noise: the same on every call.

        tokens: a sample of the rows that together read about so many tokens, the same on every call.
        """
        view = self._apart()
        rows = sample(view.sizes(), tokens)
        fixed = np.uint64(key("evaluation"))
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            made = view.make(some, np.full(len(some), fixed, dtype=np.uint64))
            yield Scored(made.batch, torch.from_numpy(made.owners))


def noise_key(seed: int, epoch: int) -> int:
    """The key of whatever is random in the rows of an epoch."""
    return key("noise", seed, epoch)


def sample(sizes: np.ndarray, tokens: int | None) -> np.ndarray:
    """Numbers of all rows, or of randomly chosen ones whose sizes reach `tokens`; rising, the same on every call."""
    if tokens is None:
        return np.arange(len(sizes))
    chosen = permute_many(np.arange(len(sizes)), len(sizes), key("sample"))
    return np.sort(chosen[: int(np.searchsorted(np.cumsum(sizes[chosen]), tokens)) + 1])


def indices_of(store: Any, document: str) -> np.ndarray:
    """Where the pieces of a content id stand in a store."""
    wanted = np.frombuffer(bytes.fromhex(document), dtype=np.uint8)
    return np.flatnonzero((store.document_ids == wanted).all(axis=1))


def named(store: Any, counts: Counter[int]) -> list[tuple[str, int]]:
    """Counts by content id, most first; pieces of one document share its id."""
    result: Counter[str] = Counter()
    for index, count in counts.items():
        result[store.document_id(index)] += count
    return result.most_common()


@dataclass(frozen=True, eq=False)
class Pair:
    """One row of a source and a target, without padding. owners: (T,) the document of each target, -1 for none."""

    source: np.ndarray
    target: np.ndarray
    owners: np.ndarray


def pair_batch(pairs: list[Pair], start: int, pad: int, share: slice = ALL) -> tuple[Batch, np.ndarray]:
    """The decoder reads `start` and the target but its last token, and says the target: a Batch with source, and
    the owners (B, T). Padding stands at the end, up to the widest of all pairs; rows are those of the share."""
    sources, targets = [pair.source for pair in pairs], [pair.target for pair in pairs]
    source, source_real = padded(sources, pad, width=max(1, *map(len, sources)))
    target, real = padded(targets, pad, width=max(1, *map(len, targets)))
    owners, _ = padded([pair.owners for pair in pairs], -1, width=target.shape[1])
    inputs = np.concatenate([np.full((len(pairs), 1), start), target[:, :-1]], axis=1)
    if real is not None:
        inputs[~real] = pad
    batch = Batch(
        inputs=torch.from_numpy(inputs),
        targets=torch.from_numpy(np.where(owners >= 0, target, IGNORE)),
        mask=None if real is None else torch.from_numpy(real),
        source=torch.from_numpy(source),
        source_mask=None if source_real is None else torch.from_numpy(source_real),
    )
    first, last, _ = share.indices(len(pairs))
    return batch.rows(first, last), owners[share]
