"""Texts as vectors: which states of a model stand for a text.

Shapes: N texts, T tokens, D features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.data.batch import IGNORE, Batch
from textmill.models.heads import POOLED
from textmill.models.model import Model
from textmill.models.output import NoOutput, OutputLayer
from textmill.models.sentences import Sentences

_TOGETHER = 16  # texts of nearly equal length that are read at once
_ABOVE = ("transform", "transform_norm", "output_bias", "pooler", "sentences")  # of what no state is made


def scaled(pooled: Tensor, how: Sentences) -> Tensor:
    """Pooled states (…, D) as vectors, or the first features of them as smaller ones."""
    return F.normalize(pooled, dim=-1) if how.normalised else pooled


def bare(model: Model) -> Model:
    """A model without what makes logits of its states, in place: what no vector is made by is neither trained nor
    published. An output layer that is also the embedding stays."""
    for name in _ABOVE:
        if name in model._modules or name in model._parameters:
            setattr(model, name, None)
    if isinstance(model, OutputLayer) and model.output is not None:
        model.output = None if "transform" in model._modules else NoOutput()
    return model


def pooled(model: Model, inputs: Tensor, real: Tensor | None, pooling: str) -> Tensor:
    """The pooled states of texts, each as if it were read alone: ids (N, T), which of them are real (N, T) -> (N, D).

    A text that stands there twice is read once. Texts of nearly equal length are read together, without the padding
    that none of them needs. They have one real token at least.
    """
    if real is None:
        real = torch.ones_like(inputs, dtype=torch.bool)
    rows, places = torch.unique(torch.where(real, inputs, -1), dim=0, return_inverse=True)
    lengths = (rows >= 0).sum(1)
    order, parts = lengths.argsort(stable=True), []
    for some in order.split(_TOGETHER):
        ids = rows[some, : int(lengths[some].max())]
        mask = None if bool((ids >= 0).all()) else ids >= 0
        parts.append(POOLED[pooling](_states(model, ids.clamp(min=0), mask), mask))
    return torch.cat(parts)[order.argsort()[places]]


def _states(model: Model, inputs: Tensor, real: Tensor | None) -> Tensor:
    """(N, T, D) in float32 or more: sums over states want it."""
    states = model.hidden(Batch(inputs, torch.full_like(inputs, IGNORE), real))
    return states if states.dtype == torch.float64 else states.float()
