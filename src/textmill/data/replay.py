"""Two loaders as one: what is learnt now, and beside it some of what was learnt before, so that it is not forgotten.

Each step reads the batch of that step of both, so the batch of a step stays a pure function of (data, seed, step)
(experience replay; Scialom et al. 2022, "Fine-tuned language models are continual learners").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.data.batch import IGNORE, Batch
from textmill.data.buckets import idle
from textmill.data.loader import AnyLoader, Scored


class ReplayLoader:
    """Batches of `first`, with those of `general` under them. Epochs, and what is scored, are those of `first`."""

    def __init__(self, first: AnyLoader, general: AnyLoader) -> None:
        self.first, self.general = first, general
        self.store: Any = first.store

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every row of `first` is read once."""
        return self.first.steps_per_epoch

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rank's share of a step's rows: contiguous, and of all ranks alike give or take one. A rank that would
        have no row gets a copy of the first one with nothing to learn."""
        if not 0 <= rank < world:
            raise IndexError(f"rank {rank} of {world}")
        whole = joined(self.first.batch(step), self.general.batch(step))
        start, stop = len(whole) * rank // world, len(whole) * (rank + 1) // world
        return whole.rows(start, stop) if start < stop else idle(whole.rows(0, 1))

    def documents(self, step: int) -> list[tuple[str, int]]:
        """The documents of a step's whole batch: (content id, targets of it), most targets first."""
        counts = Counter(dict(self.first.documents(step)))
        counts.update(dict(self.general.documents(step)))
        return counts.most_common()

    def steps_of(self, document: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """In which of the first `steps` steps a document is read: (S,) steps, rising, and (S,) its targets in each."""
        found = [loader.steps_of(document, steps) for loader in (self.first, self.general)]
        distinct, which = np.unique(np.concatenate([at for at, _ in found]), return_inverse=True)
        sums = np.bincount(which, np.concatenate([tokens for _, tokens in found]), len(distinct))
        return distinct, sums.astype(np.int64)

    def evaluation(self, batch: int, *, tokens: int | None = None) -> Iterator[Scored]:
        """As `first`'s."""
        return self.first.evaluation(batch, tokens=tokens)


# What stands where a row is shorter than others; the mask says that nothing does.
_FILLERS = {"targets": IGNORE, "mask": False, "source_mask": False, "candidates": False}
_FLAT = ("labels",)  # one value a row


def joined(first: Batch, second: Batch) -> Batch:
    """The rows of two batches one under the other, the shorter ones padded."""
    made: dict[str, Tensor | None] = {}
    for name in (field.name for field in fields(Batch)):
        pair = [_given(each, name, (first, second)) for each in (first, second)]
        present = [tensor for tensor in pair if tensor is not None]
        by_position = name not in _FLAT and (name != "targets" or first.targets.shape == first.inputs.shape)
        made[name] = torch.cat(_padded(present, name) if by_position else present) if present else None
    return Batch(**made)  # type: ignore[arg-type]


def _given(batch: Batch, name: str, both: tuple[Batch, Batch]) -> Tensor | None:
    """A field of a batch, spelt out where the other batch has it, or where rows are of different lengths."""
    tensor: Tensor | None = getattr(batch, name)
    if tensor is not None or name in ("source", *_FLAT):
        return tensor
    like = batch.source if name == "source_mask" else batch.inputs
    if like is None:
        return None
    widths = {each.shape[1] for each in (_side(each, name) for each in both) if each is not None}
    uneven = name in ("mask", "source_mask") and len(widths) > 1
    if not uneven and all(getattr(each, name) is None for each in both):
        return None
    if name == "candidates" and batch.mask is not None:
        return batch.mask
    whole = name in ("mask", "source_mask", "candidates")
    return torch.ones_like(like, dtype=torch.bool) if whole else torch.zeros_like(like)


def _side(batch: Batch, name: str) -> Tensor | None:
    return batch.source if name == "source_mask" else batch.inputs


def _padded(tensors: list[Tensor], name: str) -> list[Tensor]:
    """(b, T) of several widths, all as wide as the widest."""
    width = max(tensor.shape[1] for tensor in tensors)
    return [F.pad(tensor, (0, width - tensor.shape[1]), value=_FILLERS.get(name, 0)) for tensor in tensors]
