"""The feed-forward layer, plain or gated.

Shapes: B sequences, T tokens, D features of the model, F inner features.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from textmill.nn import fused
from textmill.nn.linear import Linear
from textmill.specs.model import TransformerSpec


class FeedForward(nn.Module):
    """down(act(up(x))), or down(act(gate(x)) · up(x)) when gated (Shazeer 2020, equation 6).

    Gate and up are one matrix, gate first: one large product is quicker than two.
    ReLU² is max(x, 0)² (So et al. 2021); `gelu` is x·Φ(x), `gelu_tanh` its tanh form (Hendrycks & Gimpel
    2016).
    """

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.activation, self.gated = spec.activation, spec.gated
        sections = dict.fromkeys(("gate", "up"), spec.d_ff) if spec.gated else {}
        inner = 2 * spec.d_ff if spec.gated else spec.d_ff
        self.up = Linear(spec.d_model, inner, bias=spec.bias == "all", sections=sections)
        self.down = Linear(spec.d_ff, spec.d_model, bias=spec.bias == "all")

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = self.up(x)
        if self.gated:
            if fused.worthwhile(x):
                return self.down(fused.gate(x, self.activation))
            gate, x = x.chunk(2, dim=-1)
            return self.down(ACTIVATIONS[self.activation](gate) * x)
        return self.down(ACTIVATIONS[self.activation](x))


def _relu2(x: Tensor) -> Tensor:
    return F.relu(x).square()


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS = {  # of gated layers: the gate's
    "relu": F.relu,
    "relu2": _relu2,
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": F.silu,
    "swiglu": F.silu,
    "geglu": F.gelu,
    "geglu_tanh": _gelu_tanh,
}
