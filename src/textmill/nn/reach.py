"""What each token may see, worked out once for all layers of a forward pass.

Shapes: B sequences, T queries, S keys, H heads, E features of a head. The queries are the last T of S columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from textmill.base.model_spec import DecoderSpec
from textmill.nn import position


@dataclass(frozen=True, slots=True)
class Reach:
    """Who sees whom, and where everybody stands.

    With `mask` None a query sees itself and every key before it, which the fused kernel does fastest.
    """

    mask: Tensor | None = None  # (B or 1, H or 1, T, S): bool, True = may see; or float, added to the scores
    positions: Tensor | None = None  # (B or 1, T) int64; None: 0 … T-1 in every row
    rotation: tuple[Tensor, Tensor] | None = None  # cosines and sines, (B or 1, T, 1, E/2)
    back: Tensor | None = None  # (T, S) int64: clipped distance from query to key, for relative positions
    real: Tensor | None = None  # (B, T) bool: False at padding
    start: int = 0  # column of the first query in the cache
    first: int = 0  # first column of the cache that any query sees


def whole(
    spec: DecoderSpec,
    tokens: Tensor,
    real: Tensor | None = None,
    documents: Tensor | None = None,
    table: Tensor | None = None,
) -> Reach:
    """The reach of whole sequences: tokens (B, T), real (B, T) bool, documents (B, T).

    In packed rows a token sees its own document only, and positions start again with each document, so a
    packed document gives what the document alone gives. `table` (buckets, H) holds the biases of T5 positions.
    """
    length = tokens.shape[1]
    everybody = real
    if real is not None and documents is None and _only_after(real):
        everybody = None  # causal order already keeps padding at the end out of sight
    mask = _mask(spec, length, length, tokens.device, everybody, documents, table)
    positions = position.count(everybody, documents)
    return _place(spec, mask, positions, length, length, tokens.device, real=real)


def next_tokens(
    spec: DecoderSpec,
    count: int,
    length: int,
    device: torch.device,
    real: Tensor | None = None,
    table: Tensor | None = None,
) -> Reach:
    """The reach of `count` tokens that follow `length` columns of a cache.

    real: (B, capacity) bool, False at the padding some rows begin with; None when none does. With no padding
    and one token nothing need be masked, and a window only makes the kernel read fewer columns.
    """
    first = max(0, length + 1 - spec.window) if spec.window is not None else 0
    stop = length + count
    mask = _mask(
        spec, count, stop - first, device, None if real is None else real[:, first:stop], None, table
    )
    positions = torch.arange(length, stop, device=device)[None]
    if real is not None:
        padding = length - real[:, :length].sum(1, keepdim=True)
        positions = positions - padding
    return _place(spec, mask, positions, count, stop - first, device, start=length, first=first)


def _only_after(real: Tensor) -> bool:
    """Whether padding only follows real tokens. Asked on a CPU only: elsewhere the answer would be waited for."""
    return real.device.type == "cpu" and bool((real[:, 1:] <= real[:, :-1]).all())


def _mask(
    spec: DecoderSpec,
    queries: int,
    keys: int,
    device: torch.device,
    real: Tensor | None,
    documents: Tensor | None,
    table: Tensor | None,
) -> Tensor | None:
    """The mask, or None where causal order says it all. A token always sees itself, so no row is empty."""
    biased = spec.position.kind in ("alibi", "t5")
    bounded = spec.window is not None and spec.window < keys
    simple = queries in (1, keys)  # what the kernel can say by itself
    if simple and not biased and not bounded and real is None and documents is None:
        return None
    distance = position.distances(queries, keys, device)
    allowed = distance >= 0
    if bounded:
        allowed = allowed & (distance < spec.window)
    allowed = allowed[None, None]
    if documents is not None:
        allowed = allowed & (documents[:, None, :, None] == documents[:, None, None, :])
    if real is not None:
        allowed = (allowed & real[:, None, None, :]) | (distance == 0)
    if not biased:
        return allowed
    if spec.position.kind == "alibi":
        bias = position.alibi_bias(distance, spec.heads)
    else:
        bias = table[position.t5_bucket(distance, spec.position)].permute(2, 0, 1)
    return bias[None].masked_fill(~allowed, -math.inf)


def _place(
    spec: DecoderSpec,
    mask: Tensor | None,
    positions: Tensor | None,
    queries: int,
    keys: int,
    device: torch.device,
    real: Tensor | None = None,
    start: int = 0,
    first: int = 0,
) -> Reach:
    rotation, back = None, None
    if spec.position.kind == "rotary":
        rates = position.rotary_frequencies(
            spec.head_width, spec.position.theta, spec.position.scaling, device
        )
        places = torch.arange(queries, device=device)[None] if positions is None else positions
        rotation = position.rotation(places, rates)
    if spec.position.kind == "relative":
        back = position.distances(queries, keys, device).clamp(0, spec.position.clip)
    return Reach(mask, positions, rotation, back, real, start, first)
