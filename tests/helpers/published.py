"""Shapes of published architectures in our words, and weights that leave nothing symmetric."""

from __future__ import annotations

import torch
from torch import nn

from textmill.specs.position import LearnedPositions, SinusoidalPositions, T5Positions

GPT2 = {"position": LearnedPositions(), "norm": "layernorm", "activation": "gelu_tanh", "bias": "all"}
T5 = {
    "position": T5Positions(buckets=8, max_distance=20),
    "norm": "rmsnorm",
    "norm_eps": 1e-6,
    "placement": "pre",
    "bias": "none",
    "attention_scale": 1.0,
}
BART = {"position": LearnedPositions(), "activation": "gelu", "output_bias": True, "embedding_norm": True}
MARIAN = {"position": SinusoidalPositions(layout="halves"), "activation": "silu", "output_bias": True}


@torch.no_grad()
def shaken(model: nn.Module, by: float = 0.15) -> nn.Module:
    """The same model, for evaluation, far from its beginning."""
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * by)
    return model.eval()
