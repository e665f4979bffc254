"""Grouped-query attention.

Shapes: B sequences, T queries, S keys, H query heads, K key heads, E features of a head, D of the model.

Two paths give the same numbers: the fused kernel of PyTorch, and the formula written out, which is taken
where the kernel cannot say it (soft-capped scores, relative values), to look at the weights (`capture`) and
to check the kernel (`eager`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.nn import fused, position
from textmill.nn.cache import LayerCache
from textmill.nn.linear import Linear
from textmill.nn.norm import RMSNorm
from textmill.nn.reach import Reach
from textmill.specs.model import TransformerSpec


class _Mode:
    """How attention is worked out just now; see `eager` and `capture`."""

    eager = False
    maps: list[Tensor] | None = None
    over_sources: list[Tensor] | None = None


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Inside the block attention follows its formula step by step instead of using the fused kernel."""
    before, _Mode.eager = _Mode.eager, True
    try:
        yield
    finally:
        _Mode.eager = before


@contextlib.contextmanager
def capture() -> Iterator[list[Tensor]]:
    """Collect the attention weights (B, H, T, S) of every layer run inside the block, in order."""
    before, maps = _Mode.maps, []
    _Mode.maps = maps
    try:
        with eager():
            yield maps
    finally:
        _Mode.maps = before


@contextlib.contextmanager
def capture_sources() -> Iterator[list[Tensor]]:
    """The same, but only of layers that read a source: (B, H, T, S) over its S tokens, or (B / G, H, G · T, S)
    where G rows share a source. It stays empty with a model that reads none."""
    before, maps = _Mode.over_sources, []
    _Mode.over_sources = maps
    try:
        with eager():
            yield maps
    finally:
        _Mode.over_sources = before


def record(weights: Tensor, *, source: bool = False) -> None:
    """Give attention weights (B, H, T, S) to who wants to see them just now. `source`: they are over a source."""
    if _Mode.maps is not None:
        _Mode.maps.append(weights.detach())
    if source and _Mode.over_sources is not None:
        _Mode.over_sources.append(weights.detach())


class _Heads(nn.Module):
    """softmax(q·k / sqrt(E)) · v in each head (Vaswani et al. 2017, equation 1), by either path.

    Each key head serves H/K neighbouring query heads (Ainslie et al. 2023).
    """

    over_source = False

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.heads, self.key_heads, self.head_width = spec.heads, spec.key_heads, spec.head_width
        self.softcap = spec.attention_softcap
        self.scale = spec.attention_scale or 1 / math.sqrt(spec.head_width)
        self.relative_keys: nn.Parameter | None
        self.relative_values: nn.Parameter | None
        self.register_parameter("relative_keys", None)
        self.register_parameter("relative_values", None)

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, reach: Reach) -> Tensor:
        """What each query takes from the values, (B, H, T, E)."""
        special = self.softcap is not None or self.relative_keys is not None
        return self._by_formula(q, k, v, reach) if special or _Mode.eager else self._fused(q, k, v, reach)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, reach: Reach) -> Tensor:
        """PyTorch's kernel; (B, H, T, E)."""
        mask, grouped = reach.mask, self.heads != self.key_heads
        if mask is None and q.shape[2] == 1 and grouped:  # one query: its group becomes rows of one product
            rows = q.unflatten(1, (self.key_heads, -1)).flatten(2, 3)
            mixed = F.scaled_dot_product_attention(rows, k, v, scale=self.scale)
            return mixed.unflatten(2, (-1, 1)).flatten(1, 2)
        if mask is not None and mask.is_floating_point():
            mask = mask.to(q.dtype)
        causal = reach.causal and mask is None and q.shape[2] > 1
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, scale=self.scale, enable_gqa=grouped
        )

    def _by_formula(self, q: Tensor, k: Tensor, v: Tensor, reach: Reach) -> Tensor:
        """The same, written out; (B, H, T, E)."""
        group = self.heads // self.key_heads
        if group > 1:
            k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        scores = q @ k.transpose(-1, -2)
        if (
            self.relative_keys is not None and reach.back is not None
        ):  # Shaw et al. 2018, equation 4: q · (k + a), a by distance
            by_distance = q @ self.relative_keys.T
            scores = scores + by_distance.gather(-1, reach.back.expand(*scores.shape))
        scores = scores * self.scale
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        weights = torch.softmax(_masked(scores, reach), dim=-1)
        record(weights, source=self.over_source)
        mixed = weights @ v
        if self.relative_values is not None and reach.back is not None:  # equation 3: weights · (v + a)
            rows = self.relative_values.shape[0]
            by_distance = weights.new_zeros(*weights.shape[:-1], rows)
            by_distance = by_distance.scatter_add(-1, reach.back.expand(*weights.shape), weights)
            mixed = mixed + by_distance @ self.relative_values
        return mixed


class Attention(_Heads):
    """Of a sequence over itself. Queries, keys and values come from one matrix, in that order: one large product is
    quicker than three.

    `one_by_one` may be set: of several tokens read after a cache, each is then worked out by itself. Attention
    rounds otherwise over several tokens than over one, which matters to who rounds its result to few bits.
    """

    def __init__(self, spec: TransformerSpec, *, causal: bool = True) -> None:
        super().__init__(spec)
        self.one_by_one = False
        width = self.head_width
        self.qkv = Linear(spec.d_model, (self.heads + 2 * self.key_heads) * width, bias=spec.bias != "none")
        self.output = Linear(self.heads * width, spec.d_model, bias=spec.bias == "all")
        self.q_norm = RMSNorm(width, spec.norm_eps) if spec.qk_norm else None
        self.k_norm = RMSNorm(width, spec.norm_eps) if spec.qk_norm else None
        if spec.position.kind == "relative":  # a causal model only meets keys 0 … clip tokens back
            rows = spec.position.clip + 1 if causal else 2 * spec.position.clip + 1
            self.relative_keys = nn.Parameter(torch.zeros(rows, width))
            self.relative_values = nn.Parameter(torch.zeros(rows, width))

    def forward(self, x: Tensor, reach: Reach, cache: LayerCache | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); with a cache, the keys before are read from it and the new ones written."""
        q, k, v = self._project(x, reach)
        if cache is not None:
            cache.write(k, v, reach.start)
            stop = reach.start + x.shape[1]
            k, v = cache.keys[:, :, reach.first : stop], cache.values[:, :, reach.first : stop]
        one_by_one = self.one_by_one and 1 < q.shape[2] < k.shape[2]
        mixed = self._one_by_one(q, k, v, reach) if one_by_one else self._mixed(q, k, v, reach)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _one_by_one(self, q: Tensor, k: Tensor, v: Tensor, reach: Reach) -> Tensor:
        """The last T of S tokens, each by itself, so that it gets to the bit what it gets when it is read alone."""
        mixed = []
        for place in range(q.shape[2]):
            stop = k.shape[2] - q.shape[2] + place + 1
            mask = None if reach.mask is None else reach.mask[:, :, place : place + 1, :stop]
            if mask is not None and mask.dtype is torch.bool and bool(mask.all()):
                mask = None
            back = None if reach.back is None else reach.back[place : place + 1, :stop]
            alone = replace(reach, mask=mask, back=back)
            mixed.append(self._mixed(q[:, :, place : place + 1], k[:, :, :stop], v[:, :, :stop], alone))
        return torch.cat(mixed, dim=2)

    def _project(self, x: Tensor, reach: Reach) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, E), keys and values (B, K, T, E), normed and rotated as the model says."""
        heads, key_heads = self.heads, self.key_heads
        parts = self.qkv(x).unflatten(-1, (heads + 2 * key_heads, self.head_width))
        rotation = reach.rotation
        if self.q_norm is not None and self.k_norm is not None:
            q, k, v = parts.split((heads, key_heads, key_heads), dim=2)
            q, k = self.q_norm(q), self.k_norm(k)
            if rotation is not None:
                q, k = position.rotate(q, *rotation), position.rotate(k, *rotation)
        elif rotation is not None and not fused.worthwhile(parts):
            both, v = parts.split((heads + key_heads, key_heads), dim=2)
            q, k = position.rotate(both, *rotation).split((heads, key_heads), dim=2)
        else:
            if rotation is not None:
                parts = fused.rotate_(parts, *rotation, heads + key_heads)
            q, k, v = parts.split((heads, key_heads, key_heads), dim=2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


class CrossAttention(_Heads):
    """Of a sequence over another one, its source. Keys and values are made once for a source: `remember`.

    Positions play no part: those of the source are in its states already, and the two sequences share no scale.
    """

    over_source = True

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__(spec)
        width = self.head_width
        self.query = Linear(spec.d_model, self.heads * width, bias=spec.bias != "none")
        self.keys_values = Linear(spec.d_model, 2 * self.key_heads * width, bias=spec.bias != "none")
        self.output = Linear(self.heads * width, spec.d_model, bias=spec.bias == "all")

    def remember(self, source: Tensor) -> LayerCache:
        """The keys and values of a source (B, S, D)."""
        parts = self.keys_values(source).unflatten(-1, (2 * self.key_heads, self.head_width))
        keys, values = parts.transpose(1, 2).chunk(2, dim=1)
        return LayerCache(keys, values)

    def forward(self, x: Tensor, source: LayerCache, reach: Reach) -> Tensor:
        """(B, T, D) -> (B, T, D). A source may serve G = B / (its rows) rows that stand one under the other, as
        beams do: their queries are then read as G · T queries over one source, whose keys are read once.
        """
        rows, length = source.keys.shape[0], x.shape[1]
        q = self.query(x).unflatten(-1, (self.heads, self.head_width))
        q = q.reshape(rows, -1, self.heads, self.head_width).transpose(1, 2)
        # On a processor two small products of a source's few queries are twice as quick as the kernel.
        shared = q.shape[2] > length and q.device.type == "cpu" and not torch.is_grad_enabled()
        mix = self._by_formula if shared else self._mixed
        mixed = mix(q, source.keys, source.values, reach)
        return self.output(mixed.transpose(1, 2).reshape(-1, length, self.heads * self.head_width))


def _masked(scores: Tensor, reach: Reach) -> Tensor:
    mask = reach.mask
    if mask is None:
        if not reach.causal:
            return scores
        queries, keys = scores.shape[-2:]
        mask = position.distances(queries, keys, scores.device) >= 0
    if mask.is_floating_point():
        return scores + mask.to(scores.dtype)
    return scores.masked_fill(~mask, -math.inf)
