"""The architectures there are, by the `kind` of their spec."""

from __future__ import annotations

import torch
from torch import nn

from textmill.base.model_spec import ModelSpec
from textmill.models.decoder import Decoder
from textmill.models.initial import initialise

MODELS = {"decoder": Decoder}


def empty(spec: ModelSpec, vocabulary: int) -> nn.Module:
    """The model without storage (on the meta device), for weights to be assigned to; in eval mode."""
    with torch.device("meta"):
        return MODELS[spec.kind](spec, vocabulary).eval()


def build(
    spec: ModelSpec, vocabulary: int, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """A fresh model on the CPU, in training mode, its weights a function of (spec, vocabulary, seed) only.

    Weights are drawn in float32 and then rounded to `dtype`. The global random state is not touched.
    """
    model = empty(spec, vocabulary).to_empty(device="cpu").train()
    initialise(model, seed)
    return model.to(dtype)
