"""Normalisation: LayerNorm, RMSNorm, and BatchNorm over features that leaves padding out.

Shapes: B sequences, T tokens, D features. Every norm here takes `(x, real)`; `real` (B, T) marks the tokens
that are not padding, and only BatchNorm needs it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.nn import fused


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight (Zhang & Sennrich 2019, equation 4)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        if fused.worthwhile(x):
            return fused.rms_norm(x, self.weight, self.eps)
        return F.rms_norm(x, (self.width,), self.weight, self.eps)


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) · weight + bias (Ba et al. 2016, equation 4)."""

    def __init__(self, width: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        return F.layer_norm(x, (self.width,), self.weight, self.bias, self.eps)


class BatchNorm(nn.Module):
    """Each feature normalised over all real tokens of the batch (Ioffe & Szegedy 2015, algorithm 1).

    In training the statistics are those of the batch, so a token's output depends on tokens after it and on
    its neighbours in the batch: a causal model trained so is causal only in `eval` mode. There, and so in
    cached decoding, the running statistics are used (algorithm 2), which makes each token's output its own.
    Padding neither counts in the statistics nor is normalised: it comes out as zeros.
    """

    momentum = 0.1  # share of a batch's statistics in the running ones

    def __init__(self, width: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        rows = x.reshape(-1, self.width)
        if real is None:
            return self._normalise(rows).view_as(x)
        flat = real.reshape(-1)
        return torch.zeros_like(rows).masked_scatter(flat[:, None], self._normalise(rows[flat])).view_as(x)

    def _normalise(self, rows: Tensor) -> Tensor:
        training = self.training and rows.shape[0] > 1  # one token has no variance
        return F.batch_norm(
            rows,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training,
            self.momentum,
            self.eps,
        )


def build(kind: str, width: int, eps: float, bias: bool) -> RMSNorm | LayerNorm | BatchNorm:
    """A norm over `width` features. RMSNorm has no bias whatever `bias` says."""
    if kind == "rmsnorm":
        return RMSNorm(width, eps)
    return {"layernorm": LayerNorm, "batchnorm": BatchNorm}[kind](width, eps, bias)
