"""Grouped-query attention.

Shapes: B sequences, T queries, S keys, H query heads, K key heads, E features of a head, D of the model.

Two paths give the same numbers: the fused kernel of PyTorch, and the formula written out, which is taken
where the kernel cannot say it (soft-capped scores, relative values), to look at the weights and to check the
kernel (both by `nn.mode`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.nn import fused, position
from textmill.nn.attention_mask import AttentionMask
from textmill.nn.cache import LayerCache, Source
from textmill.nn.linear import Linear
from textmill.nn.mode import PLAIN, Mode
from textmill.nn.norm import RMSNorm
from textmill.specs.model import TransformerSpec


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

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask, mode: Mode) -> Tensor:
        """What each query takes from the values, (B, H, T, E)."""
        if self._written_out(mode):
            return self._by_formula(q, k, v, mask, mode)
        return self._fused(q, k, v, mask)

    def _written_out(self, mode: Mode) -> bool:
        """Whether the kernel cannot say it, or is not to."""
        return mode.eager or self.softcap is not None or self.relative_keys is not None

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask) -> Tensor:
        """PyTorch's kernel; (B, H, T, E)."""
        if mask.matrix is None and q.shape[2] == 1:
            return self._single(q, [(k, v)])
        if torch.compiler.is_compiling() or not mask.blocks:  # asked first: blocks differ from batch to batch
            return self._kernel(q, k, v, mask.matrix, causal=mask.causal and q.shape[2] > 1)
        mixed = []
        for block in mask.blocks:
            keys = slice(block.first, block.stop)
            some = q[:, :, block.start : block.stop], k[:, :, keys], v[:, :, keys]
            mixed.append(self._kernel(*some, block.matrix, causal=True))
        return torch.cat(mixed, dim=2)

    def _kernel(self, q: Tensor, k: Tensor, v: Tensor, matrix: Tensor | None, *, causal: bool) -> Tensor:
        """causal: where there is no matrix, whether a query sees itself and the keys before it only."""
        if matrix is not None and matrix.is_floating_point():
            matrix = matrix.to(q.dtype)
        causal, grouped = causal and matrix is None, self.heads != self.key_heads
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=matrix, is_causal=causal, scale=self.scale, enable_gqa=grouped
        )

    def _single(self, q: Tensor, seen: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """One query of each row (B, H, 1, E), over all keys and values that there are for it, by PyTorch's kernel; the
        same shape. seen: of all rows, or of one row after the other. A group of heads becomes rows of one product.
        """
        groups = q.reshape(len(q), self.key_heads, -1, self.head_width).split(len(q) // len(seen))
        mixed = [
            F.scaled_dot_product_attention(group, k, v, scale=self.scale)
            for group, (k, v) in zip(groups, seen, strict=True)
        ]
        return (mixed[0] if len(mixed) == 1 else torch.cat(mixed)).reshape(len(q), self.heads, 1, -1)

    def _by_formula(self, q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask, mode: Mode) -> Tensor:
        """The same, written out; (B, H, T, E)."""
        group = self.heads // self.key_heads
        if group > 1:
            k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        scores = q @ k.transpose(-1, -2)
        if self.relative_keys is not None and mask.back is not None:
            # Shaw et al. 2018, equation 4: q · (k + a), a by distance
            by_distance = q @ self.relative_keys.T
            scores = scores + by_distance.gather(-1, mask.back.expand(*scores.shape))
        scores = scores * self.scale
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        weights = torch.softmax(_masked(scores, mask), dim=-1)
        mode.record(weights, source=self.over_source)
        mixed = weights @ v
        if self.relative_values is not None and mask.back is not None:  # equation 3: weights · (v + a)
            rows = self.relative_values.shape[0]
            by_distance = weights.new_zeros(*weights.shape[:-1], rows)
            by_distance = by_distance.scatter_add(-1, mask.back.expand(*weights.shape), weights)
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
        sections = {"q": self.heads * width, "k": self.key_heads * width, "v": self.key_heads * width}
        self.qkv = Linear(spec.d_model, sum(sections.values()), bias=spec.bias != "none", sections=sections)
        self.output = Linear(self.heads * width, spec.d_model, bias=spec.bias == "all")
        self.prefix: Prefix | None = None
        self.q_norm = RMSNorm(width, spec.norm_eps) if spec.qk_norm else None
        self.k_norm = RMSNorm(width, spec.norm_eps) if spec.qk_norm else None
        if spec.position.kind == "relative":  # a causal model only meets keys 0 … clip tokens back
            rows = spec.position.clip + 1 if causal else 2 * spec.position.clip + 1
            self.relative_keys = nn.Parameter(torch.zeros(rows, width))
            self.relative_values = nn.Parameter(torch.zeros(rows, width))

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        cache: LayerCache | Sequence[LayerCache] | None = None,
        mode: Mode = PLAIN,
        at: Tensor | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D); with a cache, the keys before are read from it and the new ones written.

        at: (B,) int64, the one query of each row that is asked for, (B, 1, D), where all queries see the same keys.
        Rows that each have a cache are attended to one by one (`mask.apart`), so that each gets to the bit what it gets
        alone.
        """
        q, k, v = self._project(x, mask.rotation)
        if at is not None:
            q = q[torch.arange(len(q), device=q.device), :, at][:, :, None]
        if mask.apart is None:
            assert cache is None or isinstance(cache, LayerCache)
            mixed = self._seen(q, k, v, mask, cache, mode)
        else:
            assert isinstance(cache, Sequence)
            mixed = self._apart(q, k, v, mask.apart, cache, mode)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _seen(
        self, q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask, cache: LayerCache | None, mode: Mode
    ) -> Tensor:
        """What queries take from new keys and values, and those of the cache: (B, H, T, E)."""
        if self.prefix is not None and mask.start == 0:
            k, v = self.prefix(k, v, mask.positions)
        if cache is not None:
            cache.write(k, v, mask.start)
            stop = mask.start + q.shape[2]
            k, v = cache.keys[:, :, mask.first : stop], cache.values[:, :, mask.first : stop]
        one_by_one = self.one_by_one and 1 < q.shape[2] < k.shape[2]
        mix = self._one_by_one if one_by_one else self._mixed
        return mix(q, k, v, mask, mode)

    def _apart(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        masks: Sequence[AttentionMask],
        caches: Sequence[LayerCache],
        mode: Mode,
    ) -> Tensor:
        """What the next query of each row takes, (B, H, 1, E), each over a cache of its own. Rows are few microseconds
        each, so what can be said of all of them at once is."""
        columns = [
            whole.narrow(2, mask.start, 1)
            for whole, mask in (
                *((cache.keys, mask) for cache, mask in zip(caches, masks, strict=True)),
                *((cache.values, mask) for cache, mask in zip(caches, masks, strict=True)),
            )
        ]
        torch._foreach_copy_(columns, [*k.split(1), *v.split(1)])
        seen = [cache.seen(mask.first, mask.start + 1) for cache, mask in zip(caches, masks, strict=True)]
        if masks[0].matrix is None and not self._written_out(mode):
            return self._single(q, seen)
        rows = zip(q.split(1), seen, masks, strict=True)
        return torch.cat([self._mixed(one, *pair, mask, mode) for one, pair, mask in rows])

    def _one_by_one(self, q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask, mode: Mode) -> Tensor:
        """The last T of S tokens, each by itself, so that it gets to the bit what it gets when it is read alone."""
        mixed = []
        for query in range(q.shape[2]):
            stop = k.shape[2] - q.shape[2] + query + 1
            matrix = None if mask.matrix is None else mask.matrix[:, :, query : query + 1, :stop]
            if matrix is not None and matrix.dtype is torch.bool and bool(matrix.all()):
                matrix = None
            back = None if mask.back is None else mask.back[query : query + 1, :stop]
            alone = replace(mask, matrix=matrix, back=back)
            mixed.append(self._mixed(q[:, :, query : query + 1], k[:, :, :stop], v[:, :, :stop], alone, mode))
        return torch.cat(mixed, dim=2)

    def _project(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, E), keys and values (B, K, T, E), normed and rotated as the model says."""
        heads, key_heads = self.heads, self.key_heads
        parts = self.qkv(x).unflatten(-1, (heads + 2 * key_heads, self.head_width))
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


class Prefix(nn.Module):
    """Trained keys and values (K, n, E) in place of those of the first n tokens of each document (Li & Liang 2021)."""

    def __init__(self, key_heads: int, tokens: int, width: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(key_heads, tokens, width))
        self.values = nn.Parameter(torch.empty(key_heads, tokens, width))

    def forward(self, k: Tensor, v: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, K, T, E) twice, at positions (B, T), or 0 … T-1 -> the same."""
        return self._placed(self.keys, k, positions), self._placed(self.values, v, positions)

    def _placed(self, own: Tensor, given: Tensor, positions: Tensor | None) -> Tensor:
        tokens = own.shape[1]
        if positions is None:
            before = own.to(given.dtype).expand(len(given), -1, -1, -1)
            return torch.cat((before, given[:, :, tokens:]), dim=2)
        chosen = own.to(given.dtype)[:, positions.clamp(max=tokens - 1)].transpose(0, 1)
        return torch.where((positions < tokens)[:, None, :, None], chosen, given)


class CrossAttention(_Heads):
    """Of a sequence over another one, its source. Keys and values are made once for a source: `remember`.

    Positions play no part: those of the source are in its states already, and the two sequences share no scale.
    """

    over_source = True

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__(spec)
        width = self.head_width
        biased, sections = spec.bias != "none", dict.fromkeys(("k", "v"), self.key_heads * width)
        self.query = Linear(spec.d_model, self.heads * width, bias=biased)
        self.keys_values = Linear(spec.d_model, 2 * self.key_heads * width, bias=biased, sections=sections)
        self.output = Linear(self.heads * width, spec.d_model, bias=spec.bias == "all")

    def remember(self, source: Tensor) -> LayerCache:
        """The keys and values of a source (B, S, D)."""
        parts = self.keys_values(source).unflatten(-1, (2 * self.key_heads, self.head_width))
        keys, values = parts.transpose(1, 2).chunk(2, dim=1)
        return LayerCache(keys, values)

    def forward(self, x: Tensor, source: LayerCache, mask: AttentionMask, mode: Mode = PLAIN) -> Tensor:
        """(B, T, D) -> (B, T, D). A source may serve G = B / (its rows) rows that stand one under the other, as
        beams do: their queries are then read as G · T queries over one source, whose keys are read once.
        """
        mixed = self._across(self.query(x), source, mask, mode)
        return self.output(mixed)

    def apart(self, x: Tensor, sources: Sequence[Source], mode: Mode = PLAIN) -> Tensor:
        """(B, T, D) -> (B, T, D), of rows that each have a source of their own."""
        rows = zip(self.query(x).split(1), sources, strict=True)
        return self.output(torch.cat([self._across(q, one.cache, one.mask, mode) for q, one in rows]))

    def _across(self, q: Tensor, source: LayerCache, mask: AttentionMask, mode: Mode) -> Tensor:
        """What queries (B, T, H · E) take from a source: (B, T, H · E)."""
        rows, length = source.keys.shape[0], q.shape[1]
        q = q.reshape(rows, -1, self.heads, self.head_width).transpose(1, 2)
        # On a processor two small products of a source's few queries are twice as quick as the kernel.
        shared = q.shape[2] > length and q.device.type == "cpu" and not torch.is_grad_enabled()
        mix = self._by_formula if shared else self._mixed
        mixed = mix(q, source.keys, source.values, mask, mode)
        return mixed.transpose(1, 2).reshape(-1, length, self.heads * self.head_width)


def _masked(scores: Tensor, mask: AttentionMask) -> Tensor:
    matrix = mask.matrix
    if matrix is None:
        if not mask.causal:
            return scores
        queries, keys = scores.shape[-2:]
        matrix = position.distances(queries, keys, scores.device) >= 0
    if matrix.is_floating_point():
        return scores + matrix.to(scores.dtype)
    return scores.masked_fill(~matrix, -math.inf)
