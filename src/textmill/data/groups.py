"""Batches of groups of rows that are compared with each other, and so are never cut.

What a row of a group is to say depends on the others: its loss is that of the group. So a batch is a whole number of
groups, and a row of the `Batch` is a group: whoever takes rows of it, as a micro-batch or as a rank's share, takes
whole ones, and the sum of the loss is the same however a batch is cut.

Every epoch deals its rows in a new order, so that a row meets others each time. With a `window` a group is drawn from
so many rows that stand near each other in the store: where a corpus stands by topic, these are harder to tell apart
(Hofstätter et al. 2021, who draw batches from clusters of queries).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from textmill.base.errors import RecipeError, TextmillError
from textmill.data.batch import Batch
from textmill.data.loader import Epochs, Scored
from textmill.data.order import key, permute_many
from textmill.data.view import View, Viewed, indices_of, named, noise_key, sample


class GroupedView(View, Protocol):
    """A view that makes of n · `group` rows a batch of n groups. Row -1 is an empty place; so are those of the last
    group where there are fewer rows."""

    @property
    def group(self) -> int: ...


class GroupLoader(Epochs):
    """Batches of `batch` rows of a view, `batch / view.group` groups."""

    def __init__(self, view: GroupedView, batch: int, seed: int, window: int | None = None) -> None:
        """batch, window: multiples of the group. Raises TextmillError when there is no row."""
        if batch % view.group or (window or 0) % view.group:
            raise ValueError(
                f"{batch} rows, {window} in a window, are no whole number of groups of {view.group}"
            )
        if not len(view):
            raise TextmillError("holds nothing to train on", where=view.store.directory)
        # An epoch is whole groups: places beyond the last row are empty.
        super().__init__(-(-len(view) // view.group) * view.group, batch, seed)
        self.view, self.store = view, view.store
        self._orders: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._window = window

    def order(self, step: int, share: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """(n,) epochs and (n,) rows of a share of a step's batch; -1: an empty place."""
        if self._window is None:
            epochs, rows = super().order(step, share)
            return epochs, np.where(rows < len(self.view), rows, -1)
        samples = step * self.size + np.arange(self.size, dtype=np.int64)[share]
        epochs, positions = np.divmod(samples, self.count)
        rows = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = self._by_window(int(epoch))[0][positions[here]]
        return epochs, rows

    def steps_at(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """In which steps an epoch reads rows: (n,) to (n,)."""
        if self._window is None:
            return super().steps_at(rows, epoch)
        return (epoch * self.count + self._by_window(epoch)[1][rows]) // self.size

    def _by_window(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(R,) the rows of an epoch in its order, and (R,) where each row stands in it.

        Rows are turned by a shift of the epoch's own and cut into windows; the rows of each are shuffled and cut into
        groups, and the groups are dealt in an order of their own. It is a pure function: only its time is saved.
        """
        if epoch not in self._orders:
            assert self._window is not None
            group, window, name, count = self.view.group, self._window, self._key(epoch), len(self.view)
            shift = permute_many(np.array([0]), count, key("shift", name))
            near = []
            for start in range(0, count, window):
                size = min(window, count - start)
                near.append(start + permute_many(np.arange(size), size, key("window", name, start)))
            rows = np.full(self.count, -1, dtype=np.int64)
            rows[:count] = (np.concatenate(near) + shift) % count
            groups = permute_many(np.arange(self.count // group), self.count // group, key("groups", name))
            rows = rows.reshape(-1, group)[groups].reshape(-1)
            places = np.argsort(rows, kind="stable")[self.count - count :]
            self._orders = {epoch: (rows, places)} | dict(list(self._orders.items())[:1])
        return self._orders[epoch]

    def share(self, rank: int = 0, world: int = 1) -> slice:
        """Which rows of a batch are a rank's: whole groups. Raises RecipeError when there are not as many for each."""
        groups = self.size // self.view.group
        if groups % world:
            raise RecipeError(
                f"an update of {groups} groups cannot be shared evenly by {world} ranks, and a group is never cut",
                where="training.batch",
                advice="lower objective.group, or raise training.batch",
            )
        return super().share(rank, world)

    def rows(self, step: int) -> np.ndarray:
        """(batch,) numbers of the rows of a step; -1: an empty place."""
        return self.order(step)[1]

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rank's share of the groups of a step."""
        return self._viewed(step, self.share(rank, world)).batch

    def _viewed(self, step: int, share: slice = slice(None)) -> Viewed:
        epochs, rows = self.order(step, share)
        different, inverse = np.unique(epochs, return_inverse=True)
        keys = np.array([noise_key(self.seed, int(epoch)) for epoch in different], dtype=np.uint64)
        return self.view.make(rows, keys[inverse])

    def documents(self, step: int) -> list[tuple[str, int]]:
        """The documents of a step's whole batch: (content id, targets of it), most targets first."""
        return named(self.store, self._viewed(step).counts())

    def steps_of(self, document: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """In which of the first `steps` steps a document is read: (S,) steps, rising, and (S,) its targets in each."""
        totals: Counter[int] = Counter()
        for index in indices_of(self.store, document):
            for epoch in self.epochs_of(steps):
                totals.update(self.steps_at(self.view.rows_of(int(index), 0), epoch).tolist())
        read = sorted(step for step in totals if step < steps)
        return np.array(read, dtype=np.int64), np.array([totals[step] for step in read], dtype=np.int64)

    def evaluation(self, batch: int, *, tokens: int | None = None) -> Iterator[Scored]:
        """Every row once, in groups that are the same on every call, of rows that do not stand beside each other.

        tokens: a sample of the rows that together read about so many tokens, the same on every call.
        """
        rows = sample(self.view.sizes(), tokens)
        rows = rows[permute_many(np.arange(len(rows)), len(rows), key("evaluation"))]
        together = max(1, batch // self.view.group) * self.view.group
        fixed = np.uint64(key("evaluation"))
        for start in range(0, len(rows), together):
            some = rows[start : start + together]
            made = self.view.make(some, np.full(len(some), fixed, dtype=np.uint64))
            yield Scored(made.batch, torch.from_numpy(made.owners))
