"""Labels from few examples: contrastive pairs, then a logistic head (Tunstall et al. 2022, SetFit).

The texts of an update are compared with each other. Of each, with v a vector of length 1 and τ the temperature, the
mean over the others of its label, P, of (Khosla et al. 2020, equation 2)

    nats = -log( exp(v · v_p / τ) / Σ over all others of exp(v · v_a / τ) )

so that n texts make n² pairs. No gradient reaches the head: whenever weights are saved it is fitted to the vectors of
all training texts, by the same solver as a linear model, with a penalty of 1 on vectors of mean length 1.

Shapes: B groups, K texts of a group, N texts, T tokens, D features, C labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import by_length, padded
from textmill.data.groups import GroupLoader
from textmill.data.loader import AnyLoader
from textmill.data.record_view import WholeTextView
from textmill.data.replay import ReplayLoader
from textmill.data.view import ALL, Viewed
from textmill.models.heads import Headed
from textmill.models.linear.fit import loss_of
from textmill.models.linear.lbfgs import minimise, zeros
from textmill.models.model import Model
from textmill.models.vectors import pooled
from textmill.nn.shared import evaluating
from textmill.specs.head import ClassifyHead

_PENALTY, _TOLERANCE = 1.0, 1e-6
_READ = 4096  # tokens read at once


class GroupsOfTexts(WholeTextView):
    """Groups of the rows of a view of whole texts: inputs (B, K, T), targets (B, K) int64, IGNORE where nothing is."""

    def __init__(self, view: WholeTextView, group: int) -> None:
        self.__dict__ |= vars(view)
        self.apart, self.group = view, group

    @property
    def texts(self) -> int:
        """Texts that a group holds, K."""
        return self.group

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """Groups of rows (n,): -(-n / group) rows of a batch. Row -1 is an empty place."""
        places = np.full(-(-len(rows) // self.group) * self.group, -1, dtype=np.int64)
        places[: len(rows)] = rows
        grid = places.reshape(-1, self.group)[share]
        there = grid >= 0
        ids, real = padded([self._row(int(row)) for row in np.where(there, grid, 0).ravel()], self.tokens.pad)
        shape = (*grid.shape, ids.shape[1])
        targets = np.full(grid.shape, IGNORE, dtype=np.int64)
        targets[there] = self.apart.targets(grid[there], 0)[0].numpy()
        batch = Batch(
            inputs=torch.from_numpy(ids.reshape(shape)),
            targets=torch.from_numpy(targets),
            mask=None if real is None else torch.from_numpy(real.reshape(shape)),
        )
        owners = np.where(targets != IGNORE, grid, -1)
        return Viewed(batch, owners, np.stack([np.nonzero(there)[0], grid[there]], axis=1))


def loader(view: WholeTextView, batch: int, seed: int) -> GroupLoader:
    """Updates of one group each."""
    return GroupLoader(GroupsOfTexts(view, batch), batch, seed)


def loss(model: Model, batch: Batch, *, temperature: float) -> tuple[Tensor, Tensor]:
    """(sum over the texts of all groups, texts with a label). A text alone of its label costs nothing."""
    assert isinstance(model, Headed)
    assert isinstance(model.head.spec, ClassifyHead)
    real = None if batch.mask is None else batch.mask.flatten(0, 1)
    states = pooled(model.body, batch.inputs.flatten(0, 1), real, model.head.spec.pooling)
    vectors = F.normalize(states, dim=-1).view(*batch.inputs.shape[:2], -1)
    labelled = batch.targets != IGNORE
    others = labelled[:, :, None] & labelled[:, None] & ~torch.eye(labelled.shape[1], dtype=torch.bool)
    alike = others & (batch.targets[:, :, None] == batch.targets[:, None])
    scores = vectors @ vectors.transpose(1, 2) / temperature
    # Nothing is compared with an empty place: the least number there is, since rows of -inf have no sum.
    logs = scores.masked_fill(~others, torch.finfo(scores.dtype).min).log_softmax(-1)
    nats = -logs.masked_fill(~alike, 0.0).sum(-1) / alike.sum(-1).clamp(min=1)
    return nats.sum(), labelled.sum()


@torch.no_grad()
def settle(model: Any, loader: AnyLoader) -> None:
    """Fit the head of a model, in place, to the training texts: a function of its body and of them alone."""
    assert isinstance(model, Headed)
    view = (loader.first if isinstance(loader, ReplayLoader) else loader).view.apart  # type: ignore[attr-defined]
    # 1. The vectors that the head reads.
    reading, rows = evaluating(model), np.arange(len(view))
    states = model.head.weight.new_zeros(len(rows), model.head.weight.shape[1])
    for some in by_length(view.lengths()[0], _READ):
        batch = view.make(some, np.zeros(len(some), dtype=np.uint64)).batch.to(states.device)
        states[torch.from_numpy(some)] = reading.hidden(batch).to(states.dtype)
    targets = view.targets(rows, 0)[0].numpy()
    known = targets != IGNORE
    states = states[torch.from_numpy(known)].cpu().float()
    # 2. The head that says their labels best.
    length = states.square().sum(1).mean().sqrt()
    table, wanted = states / length, loss_of(targets[known], model.head.weight.shape[0])
    start = zeros(torch.zeros(len(table) + 1, wanted.wanted.shape[1]))
    found = minimise(wanted, lambda shares: table @ (table.T @ shares), _PENALTY, start, tolerance=_TOLERANCE)
    weight, bias = wanted.expanded(table.T @ found.own[:-1] / length, found.own[-1])
    model.head.weight.copy_(torch.from_numpy(weight).T)
    model.head.bias.copy_(torch.from_numpy(bias))
