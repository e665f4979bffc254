"""The key-value cache: allocated once, written in place.

Shapes: B sequences, K key heads, C capacity in tokens, E features of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.base.errors import TextmillError
from textmill.nn.attention_mask import AttentionMask
from textmill.nn.state import State


@dataclass(slots=True)
class LayerCache:
    """What one attention layer remembers."""

    keys: Tensor  # (B, K, C, E)
    values: Tensor  # (B, K, C, E)

    def write(self, keys: Tensor, values: Tensor, start: int) -> None:
        """Put new keys and values (B, K, T, E) at columns start … start + T - 1."""
        count = keys.shape[2]
        self.keys.narrow(2, start, count).copy_(keys)
        self.values.narrow(2, start, count).copy_(values)

    def seen(self, first: int, stop: int) -> tuple[Tensor, Tensor]:
        """Keys and values of columns first … stop - 1, as views."""
        return self.keys.narrow(2, first, stop - first), self.values.narrow(2, first, stop - first)


@dataclass(frozen=True, slots=True)
class Source:
    """What a block of a decoder sees of a source."""

    cache: LayerCache  # its keys and values
    mask: AttentionMask


@dataclass(slots=True)
class CacheState(State):
    """What a decoder remembers of the sequences so far. Rows of different lengths begin with padding.

    The keys and values of a source are kept once for all rows that read it, where those stand together and are
    equally many (`nn.attention.CrossAttention`): beams share them, and reordering beams does not touch them.
    """

    layers: list[LayerCache]
    length: int  # columns written so far
    real: Tensor | None  # (B, C) bool, False at padding; None when no row has any
    sources: list[Source] | None = None  # one a layer; None where nothing is read but the sequence

    @property
    def capacity(self) -> int:
        """Columns there are."""
        return self.layers[0].keys.shape[2]

    @property
    def rows(self) -> int:
        """Sequences there are."""
        return self.layers[0].keys.shape[0]

    def room(self, tokens: int) -> None:
        """Raise TextmillError unless `tokens` more columns fit."""
        if self.length + tokens > self.capacity:
            raise TextmillError(
                f"the cache holds {self.capacity} tokens, and {self.length} + {tokens} were asked of it",
                advice="use a larger capacity",
            )

    def truncate(self, length: int) -> CacheState:
        """The state after its first `length` columns only: what was read later is written over. It is this one."""
        self.length = min(self.length, length)
        return self

    def columns(self, first: int, stop: int) -> list[LayerCache]:
        """Copies of the keys and values of some columns, layer by layer."""
        return [
            LayerCache(layer.keys[:, :, first:stop].clone(), layer.values[:, :, first:stop].clone())
            for layer in self.layers
        ]

    @classmethod
    def of_columns(cls, pieces: Sequence[Sequence[LayerCache]], capacity: int) -> CacheState:
        """The state of what `columns` gave, one piece after the other, with so many columns in all."""
        layers, length = [], 0
        for parts in zip(*pieces, strict=True):
            length = sum(part.keys.shape[2] for part in parts)
            whole = [
                torch.cat([part.keys for part in parts], 2),
                torch.cat([part.values for part in parts], 2),
            ]
            layers.append(LayerCache(*(_wider(one, capacity - length) for one in whole)))
        return cls(layers, length, None)

    def grown(self, capacity: int) -> CacheState:
        """The state with at least so many columns; this one where it has them."""
        more = capacity - self.capacity
        if more <= 0:
            return self
        layers = [LayerCache(_wider(layer.keys, more), _wider(layer.values, more)) for layer in self.layers]
        real = None if self.real is None else F.pad(self.real, (0, more), value=True)
        return CacheState(layers, self.length, real, self.sources)

    def reorder(self, rows: Tensor) -> CacheState:
        """The state whose row i is row rows[i] of this one: for beams, and for dropping finished rows.

        rows: (n,) int64; rows may repeat and be left out. This state is left as it was.
        """
        layers = [LayerCache(layer.keys[rows], layer.values[rows]) for layer in self.layers]
        real = None if self.real is None else self.real[rows]
        return CacheState(layers, self.length, real, self._sources(rows))

    def rearrange(self, rows: Tensor) -> CacheState:
        """`reorder` in place, for as many rows as there are: only rows that change are copied, and of them only what
        has been written. It is this one."""
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero().squeeze(1)
        origin = rows[moved]
        for layer in self.layers:
            for whole in (layer.keys, layer.values):
                written = whole[:, :, : self.length]
                written.index_copy_(0, moved, written.index_select(0, origin))
        if self.real is not None:
            self.real[moved] = self.real[origin]
        self.sources = self._sources(rows)
        return self

    def _sources(self, rows: Tensor) -> list[Source] | None:
        """What these rows see of their sources, each once for those that stand together."""
        if self.sources is None:
            return None
        number = self.sources[0].cache.keys.shape[0]
        owner = rows // (self.rows // number)
        first, counts = torch.unique_consecutive(owner, return_counts=True)
        kept = first if bool((counts == counts[0]).all()) else owner
        if len(kept) == number and bool((kept == torch.arange(number, device=kept.device)).all()):
            return self.sources
        return [_chosen(source, kept) for source in self.sources]


def _wider(columns: Tensor, more: int) -> Tensor:
    return F.pad(columns, (0, 0, 0, more))


def _chosen(source: Source, rows: Tensor) -> Source:
    cache, matrix = source.cache, source.mask.matrix
    mask = source.mask if matrix is None else replace(source.mask, matrix=matrix[rows])
    return Source(LayerCache(cache.keys[rows], cache.values[rows]), mask)


def allocate(
    layers: int, rows: int, key_heads: int, capacity: int, head_width: int, *, like: Tensor
) -> list[LayerCache]:
    """Room for `capacity` tokens in every layer, in the dtype and on the device of `like`."""
    shape = (rows, key_heads, capacity, head_width)
    options = {"dtype": like.dtype, "device": like.device}
    return [LayerCache(torch.zeros(shape, **options), torch.zeros(shape, **options)) for _ in range(layers)]


def columns(real: Tensor | None, capacity: int) -> Tensor | None:
    """(B, C) bool: which columns of a cache are no padding, where prompts with a mask real (B, T) are its first."""
    return None if real is None else F.pad(real, (0, capacity - real.shape[1]), value=True)
