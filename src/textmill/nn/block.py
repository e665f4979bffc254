"""One layer of a decoder: attention and feed-forward, each with its norm and its residual sum.

Shapes: B sequences, T tokens, D features.
"""

from __future__ import annotations

from torch import Tensor, nn

from textmill.base.model_spec import DecoderSpec
from textmill.nn import norm
from textmill.nn.attention import Attention
from textmill.nn.cache import LayerCache
from textmill.nn.feedforward import FeedForward
from textmill.nn.reach import Reach


class Block(nn.Module):
    """A decoder block.

    pre:      x + f(norm(x))               (Xiong et al. 2020; GPT-2, Llama)
    post:     norm(x + f(x))               (Vaswani et al. 2017)
    sandwich: x + norm(f(norm(x)))         (Ding et al. 2021; Gemma 2)
    """

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.placement = spec.placement

        def build_norm() -> nn.Module:
            return norm.build(spec.norm, spec.d_model, spec.norm_eps, spec.bias == "all")

        sandwich = spec.placement == "sandwich"
        self.attention_norm = build_norm()
        self.attention = Attention(spec)
        self.attention_norm_after = build_norm() if sandwich else None
        self.feedforward_norm = build_norm()
        self.feedforward = FeedForward(spec)
        self.feedforward_norm_after = build_norm() if sandwich else None
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, reach: Reach, cache: LayerCache | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        real = reach.real
        if self.placement == "post":
            x = self.attention_norm(x + self.dropout(self.attention(x, reach, cache)), real)
            return self.feedforward_norm(x + self.dropout(self.feedforward(x)), real)
        y = self.attention(self.attention_norm(x, real), reach, cache)
        if self.attention_norm_after is not None:
            y = self.attention_norm_after(y, real)
        x = x + self.dropout(y)
        y = self.feedforward(self.feedforward_norm(x, real))
        if self.feedforward_norm_after is not None:
            y = self.feedforward_norm_after(y, real)
        return x + self.dropout(y)
