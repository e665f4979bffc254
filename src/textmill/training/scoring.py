"""Nats by document: what an evaluation needs, since a confidence interval resamples documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from textmill.data.batch import IGNORE
from textmill.data.loader import Scored
from textmill.training.loss import token_nats

_MOST_LOGITS = 1 << 26  # logits computed at once: 256 MiB in float32


@torch.inference_mode()
def score_documents(
    model: Any,
    batches: Iterable[Scored],
    documents: int,
    *,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    progress: Callable[[int], None] = lambda targets: None,
) -> tuple[np.ndarray, np.ndarray]:
    """(nats (D,), targets (D,)) of the documents of a store under a Generator, each target counted once.

    `progress` is told the number of targets scored so far. The model's mode is given back as it was.
    """
    nats = torch.zeros(documents, dtype=torch.float64)
    targets = torch.zeros(documents, dtype=torch.int64)
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    seen = 0
    for scored in batches:
        batch = scored.batch.to(device)
        chosen = (batch.targets != IGNORE).flatten()
        with autocast():
            hidden = model.hidden(batch).flatten(0, 1)[chosen]
        wanted = batch.targets.flatten()[chosen]
        owner = scored.documents.flatten()[chosen.cpu()]
        rows = max(1, _MOST_LOGITS // model.vocabulary)
        for start in range(0, len(wanted), rows):
            with autocast():
                losses = token_nats(model, hidden[start : start + rows], wanted[start : start + rows])
            nats.index_add_(0, owner[start : start + rows], losses.double().cpu())
        targets.index_add_(0, owner, torch.ones_like(owner))
        seen += len(owner)
        progress(seen)
    model.train(training)
    return nats.numpy(), targets.numpy()
