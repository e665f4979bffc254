"""One layer of a Transformer: attention and feed-forward, each with its norm and its residual sum.

Shapes: B sequences, T tokens, S tokens of the source, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from textmill.nn import norm
from textmill.nn.attention import Attention, CrossAttention
from textmill.nn.attention_mask import AttentionMask
from textmill.nn.cache import LayerCache, Source
from textmill.nn.dropout import Dropout
from textmill.nn.feedforward import FeedForward
from textmill.nn.mode import PLAIN, Mode
from textmill.specs.model import TransformerSpec


class Block(nn.Module):
    """Self-attention, attention over a source where there is one, feed-forward; around each of them:

    pre:      x + f(norm(x))               (Xiong et al. 2020; GPT-2, Llama)
    post:     norm(x + f(x))               (Vaswani et al. 2017)
    sandwich: x + norm(f(norm(x)))         (Ding et al. 2021; Gemma 2)
    """

    def __init__(self, spec: TransformerSpec, *, causal: bool = True, crossed: bool = False) -> None:
        super().__init__()
        self.placement = spec.placement

        def build_norm() -> nn.Module:
            return norm.build(spec.norm, spec.d_model, spec.norm_eps, spec.bias == "all")

        def build_after() -> nn.Module | None:
            return build_norm() if spec.placement == "sandwich" else None

        self.attention_norm = build_norm()
        self.attention = Attention(spec, causal=causal)
        self.attention_norm_after = build_after()
        self.cross_attention_norm = build_norm() if crossed else None
        self.cross_attention = CrossAttention(spec) if crossed else None
        self.cross_attention_norm_after = build_after() if crossed else None
        self.feedforward_norm = build_norm()
        self.feedforward = FeedForward(spec)
        self.feedforward_norm_after = build_after()
        self.dropout = Dropout(spec.dropout)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        cache: LayerCache | Sequence[LayerCache] | None = None,
        source: Source | Sequence[Source] | None = None,
        mode: Mode = PLAIN,
        at: Tensor | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D). Of rows apart (`mask.apart`) there is a cache, and a source, for each.

        at: (B,) int64, the one token of each row whose state is asked for, (B, 1, D): all are read, and no more than
        that is made of them. Only where the mask says `AttentionMask.alike`.
        """
        norms, real = (self.attention_norm, self.attention_norm_after), mask.real
        x = self._add(x, lambda y: self.attention(y, mask, cache, mode, at), *norms, real, at)
        real = real if at is None else None  # none of those is padding
        if self.cross_attention is not None and source is not None:
            crossed = self.cross_attention
            norms = self.cross_attention_norm, self.cross_attention_norm_after
            x = self._add(x, lambda y: _across(crossed, y, source, mode), *norms, real)
        return self._add(x, self.feedforward, self.feedforward_norm, self.feedforward_norm_after, real)

    def remember(self, source: Tensor) -> LayerCache:
        """The keys and values this block will read of a source (B, S, D)."""
        assert self.cross_attention is not None
        return self.cross_attention.remember(source)

    def _add(
        self,
        x: Tensor,
        sublayer: Callable[[Tensor], Tensor],
        before: nn.Module | None,
        after: nn.Module | None,
        real: Tensor | None,
        at: Tensor | None = None,
    ) -> Tensor:
        assert before is not None
        if self.placement == "post":
            return before(at_places(x, at) + self.dropout(sublayer(x)), real if at is None else None)
        y = sublayer(before(x, real))
        y = y if after is None else after(y, real if at is None else None)
        return at_places(x, at) + self.dropout(y)


def at_places(x: Tensor, at: Tensor | None) -> Tensor:
    """What stands at one place of each row, at (B,) int64: (B, T, D) -> (B, 1, D); all of it where none is named."""
    return x if at is None else x[torch.arange(len(x), device=x.device), at][:, None]


def _across(crossed: CrossAttention, x: Tensor, source: Source | Sequence[Source], mode: Mode) -> Tensor:
    if isinstance(source, Source):
        return crossed(x, source.cache, source.mask, mode)
    return crossed.apart(x, source, mode)
