"""What a model says of documents, one by one: an evaluation needs it so, since an interval resamples documents.

Shapes: D documents, B rows, T positions, n targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.data.batch import IGNORE, Batch
from textmill.data.loader import Scored
from textmill.models.model import Model
from textmill.nn.shared import evaluating
from textmill.objectives.loss import token_nats, widened

_MOST_LOGITS = 1 << 26  # logits computed at once: 256 MiB in float32
Context = Callable[[], AbstractContextManager[Any]]
Progress = Callable[[int], None]
Look = Callable[
    [Tensor, Batch, Scored], None
]  # what `hidden` gave, the batch it gave it for, and whose it is


def nothing(*_: Any) -> None:
    """Looks, and tells nobody."""


@torch.inference_mode()
def score_documents(
    model: Model,
    batches: Iterable[Scored],
    documents: int,
    *,
    autocast: Context = nullcontext,
    progress: Progress = nothing,
) -> tuple[np.ndarray, np.ndarray]:
    """(nats (D,), targets (D,)) of the documents of a store, each target counted once.

    `progress` is told the number of targets scored so far. The model's mode is given back as it was.
    """
    nats = torch.zeros(documents, dtype=torch.float64)
    targets = torch.zeros(documents, dtype=torch.int64)
    for hidden, wanted, owner in _stretches(model, batches, autocast, progress, nothing):
        with autocast():
            losses = token_nats(model, hidden, wanted)
        nats.index_add_(0, owner, losses.double().cpu())
        targets.index_add_(0, owner, torch.ones_like(owner))
    return nats.numpy(), targets.numpy()


@torch.inference_mode()
def score_guesses(
    model: Model,
    batches: Iterable[Scored],
    documents: int,
    *,
    autocast: Context = nullcontext,
    progress: Progress = nothing,
    look: Look = nothing,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(nats (D,), hits (D,), targets (D,)): a hit is a target that the model finds likeliest.

    As `score_documents`, for models that have `logits`. look: is shown each batch, its hidden states and its owners.
    """
    sums = torch.zeros(3, documents, dtype=torch.float64)
    for hidden, wanted, owner in _stretches(model, batches, autocast, progress, look):
        with autocast():
            logits = widened(model.logits(hidden))
        nats = F.cross_entropy(logits, wanted, reduction="none")
        hits = logits.argmax(-1) == wanted
        for row, values in enumerate((nats, hits, torch.ones_like(nats))):
            sums[row].index_add_(0, owner, values.double().cpu())
    nats, hits, targets = sums.numpy()
    return nats, hits.astype(np.int64), targets.astype(np.int64)


def _stretches(
    model: Model, batches: Iterable[Scored], autocast: Context, progress: Progress, look: Look
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Targets in stretches whose logits fit into memory: hidden states (n, …), ids (n,), documents (n,) on the CPU."""
    device = next(model.parameters()).device
    most = max(1, _MOST_LOGITS // model.vocabulary)
    model = evaluating(model)
    seen = 0
    for scored in batches:
        batch = scored.batch.to(device)
        chosen = (batch.targets != IGNORE).flatten()
        with autocast():
            states = model.hidden(batch)
        look(states, batch, scored)
        hidden, wanted = states.flatten(0, 1)[chosen], batch.targets.flatten()[chosen]
        owner = scored.documents.flatten()[chosen.cpu()]
        for start in range(0, len(wanted), most):
            part = slice(start, start + most)
            yield hidden[part], wanted[part], owner[part]
        seen += len(owner)
        progress(seen)
