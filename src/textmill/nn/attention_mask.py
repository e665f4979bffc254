"""What each token may see, worked out once for all layers of a forward pass.

Shapes: B sequences, T queries (the last T of S columns), S keys, H heads, E features of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from textmill.nn import position
from textmill.specs.model import TransformerSpec
from textmill.specs.position import (
    AlibiPositions,
    RelativePositions,
    RotaryPositions,
    T5Positions,
    YarnScaling,
)

BLOCK = 128  # queries; half or twice as many take a tenth longer (an EPYC; 512 and 1,024 tokens)


@dataclass(frozen=True, slots=True)
class Block:
    """A run of queries, [start, stop), and the keys that any of them sees, [first, stop)."""

    start: int
    stop: int
    first: int
    matrix: Tensor | None  # (B or 1, H or 1, stop - start, stop - first); None: itself and all before it


@dataclass(frozen=True, slots=True)
class AttentionMask:
    """Who sees whom, and where everybody stands.

    With `matrix` None a query sees every key; or, if `causal`, itself and the keys before it. The fused kernel
    does both fastest.
    """

    matrix: Tensor | None = (
        None  # (B or 1, H or 1, T or 1, S): bool, True = may see; or float, added to the scores
    )
    positions: Tensor | None = None  # (B or 1, T) int64; None: 0 … T-1 in every row
    rotation: tuple[Tensor, Tensor] | None = None  # cosines and sines, (B or 1, T, 1, E/2)
    back: Tensor | None = None  # (T, S) int64: row of the table of relative positions from query to key
    real: Tensor | None = None  # (B, T) bool: False at padding
    start: int = 0  # column of the first query in the cache
    first: int = 0  # first column of the cache that any query sees
    causal: bool = True
    apart: tuple[AttentionMask, ...] | None = (
        None  # each row's, where each has a cache and a length of its own
    )
    # All queries, where it is quicker to read some of the keys for each run of them.
    blocks: tuple[Block, ...] = ()

    @property
    def alike(self) -> bool:
        """Whether all queries of a row see the same keys, wherever they stand."""
        same = not self.causal if self.matrix is None else self.matrix.shape[2] == 1
        return same and self.back is None and self.apart is None


@dataclass(frozen=True, slots=True)
class _Grid:
    """The table of scores to be filled: so many queries, the last of so many keys."""

    queries: int
    keys: int
    device: torch.device
    causal: bool = True

    def distance(self) -> Tensor:
        """How far back each key lies, (T, S)."""
        return position.distances(self.queries, self.keys, self.device)


def whole(
    spec: TransformerSpec,
    tokens: Tensor,
    *,
    causal: bool = True,
    real: Tensor | None = None,
    documents: Tensor | None = None,
    table: Tensor | None = None,
) -> AttentionMask:
    """The mask of whole sequences: tokens (B, T), real (B, T) bool, documents (B, T).

    In packed rows a token sees its own document only, and positions start again with each document, so a
    packed document gives what it gives alone. `table` (buckets, H) holds the biases of T5 positions. Where it is
    not `causal`, a token also sees what follows it.
    """
    grid = _Grid(tokens.shape[1], tokens.shape[1], tokens.device, causal)
    padding = real
    if real is not None and documents is None and _only_after(real):
        padding = None  # causal order already keeps padding at the end out of sight
    mask = _mask(spec, grid, padding if causal else real, documents, table)
    positions = position.count(padding, documents)
    rotation = _rotation(spec, grid, positions)
    blocks = _blocks(mask, grid)
    return AttentionMask(mask, positions, rotation, _back(spec, grid), real, causal=causal, blocks=blocks)


def _blocks(matrix: Tensor | None, grid: _Grid) -> tuple[Block, ...]:
    """The runs of queries of a long causal sequence that is trained on, on a CPU. The kernel works out every score
    there, those that nobody sees included: nearly half of them, and most where short documents are packed."""
    if (
        torch.compiler.is_compiling()  # asked first: the compiler cannot read the questions below
        or not (grid.causal and torch.is_grad_enabled() and grid.device.type == "cpu")
        or grid.queries < 2 * BLOCK
    ):
        return ()
    found = []
    for start in range(0, grid.queries, BLOCK):
        stop, first = min(start + BLOCK, grid.queries), 0
        if matrix is not None:
            rows = matrix[:, :, start:stop, :stop]
            seen = rows if rows.dtype is torch.bool else rows > -math.inf
            first = int(seen.flatten(0, 2).any(0).int().argmax())
            found.append(Block(start, stop, first, rows[..., first:]))
        else:
            below = torch.ones(stop - start, stop, dtype=torch.bool).tril(start)[None, None]
            found.append(Block(start, stop, first, below if start else None))
    return tuple(found)


def next_tokens(
    spec: TransformerSpec,
    count: int,
    length: int,
    *,
    device: torch.device,
    real: Tensor | None = None,
    table: Tensor | None = None,
) -> AttentionMask:
    """The mask of `count` tokens that follow `length` columns of a cache.

    real: (B, capacity) bool, False at padding, which rows usually begin with; None when none has any. With no
    padding and one token nothing need be masked, and a window only makes the kernel read fewer columns.
    """
    first = 0
    if (
        spec.window is not None and not torch.compiler.is_exporting()
    ):  # a graph serves every length: it asks for none
        first = max(0, length + 1 - spec.window)
    stop = length + count
    grid = _Grid(count, stop - first, device)
    mask = _mask(spec, grid, None if real is None else real[:, first:stop], None, table)
    before = None if real is None else position.count(real[:, :stop], None)
    positions = torch.arange(length, stop, device=device)[None] if before is None else before[:, length:]
    rotation = _rotation(spec, grid, positions)
    return AttentionMask(mask, positions, rotation, _back(spec, grid), start=length, first=first)


def apart(masks: Sequence[AttentionMask]) -> AttentionMask:
    """The masks of the next token of rows that each have a cache of their own, as one of all rows."""
    rotation = None
    if masks[0].rotation is not None:
        cos, sin = zip(*(mask.rotation for mask in masks if mask.rotation is not None), strict=True)
        rotation = torch.cat(cos), torch.cat(sin)
    return AttentionMask(rotation=rotation, apart=tuple(masks))


def across(real: Tensor | None) -> AttentionMask:
    """The mask into a source: every real token of it, (B, S) bool; None when all are."""
    checkable = real is not None and real.device.type == "cpu" and not torch.compiler.is_compiling()
    if real is None or (checkable and bool(real.all())):
        return AttentionMask(causal=False)
    return AttentionMask(_seen(real), causal=False)


def _seen(real: Tensor) -> Tensor:
    """(B, 1, 1, S): what is no padding. A row that is nothing but padding sees it all, so that no row is empty."""
    return (real | ~real.any(1, keepdim=True))[:, None, None, :]


def _only_after(real: Tensor) -> bool:
    """Whether padding only follows real tokens. Not asked of a GPU, which would have to be waited for."""
    if torch.compiler.is_compiling() or real.device.type != "cpu":
        return False
    return bool((real[:, 1:] <= real[:, :-1]).all())


def _mask(
    spec: TransformerSpec,
    grid: _Grid,
    real: Tensor | None,
    documents: Tensor | None,
    table: Tensor | None,
) -> Tensor | None:
    """The mask, or None where causal order, or none, says it all. No query is left without a key.

    real: (B, S); documents: (B, S), given for whole sequences only.
    """
    biased = isinstance(spec.position, (AlibiPositions, T5Positions))
    if documents is None and not biased and (real is None or not grid.causal):
        windowed = spec.window is not None and (torch.compiler.is_exporting() or spec.window < grid.keys)
        simple = not grid.causal or grid.queries in (1, grid.keys)  # what the kernel can say by itself
        if simple and not windowed:
            return None if real is None else _seen(real)
    distance = grid.distance()
    allowed = distance >= 0 if grid.causal else torch.ones_like(distance, dtype=torch.bool)
    if spec.window is not None:
        allowed = allowed & (distance.abs() < spec.window)
    allowed = allowed[None, None]
    if documents is not None:
        allowed = allowed & (documents[:, None, :, None] == documents[:, None, None, :])
    if real is not None:  # a token always sees itself
        allowed = (allowed & real[:, None, None, :]) | (distance == 0)
    bias = _bias(spec, distance, table, grid.causal)
    return allowed if bias is None else bias[None].masked_fill(~allowed, -math.inf)


def _bias(spec: TransformerSpec, distance: Tensor, table: Tensor | None, causal: bool) -> Tensor | None:
    """What is added to the scores for their distance, (H, T, S); None where positions work otherwise."""
    if isinstance(spec.position, AlibiPositions):
        return position.alibi_bias(distance, spec.heads)
    if isinstance(spec.position, T5Positions) and table is not None:
        return table[position.t5_bucket(distance, spec.position, causal=causal)].permute(2, 0, 1)
    return None


def _rotation(spec: TransformerSpec, grid: _Grid, positions: Tensor | None) -> tuple[Tensor, Tensor] | None:
    if not isinstance(spec.position, RotaryPositions):
        return None
    rates = position.rotary_frequencies(
        spec.head_width, spec.position.theta, spec.position.scaling, grid.device
    )
    query_positions = torch.arange(grid.queries, device=grid.device)[None] if positions is None else positions
    cos, sin = position.rotation(query_positions, rates)
    scaling = spec.position.scaling
    return (cos * scaling.gain, sin * scaling.gain) if isinstance(scaling, YarnScaling) else (cos, sin)


def _back(spec: TransformerSpec, grid: _Grid) -> Tensor | None:
    """Rows of Shaw et al.'s table: distance back 0 … clip, then, where they are seen, clip … 1 ahead."""
    if not isinstance(spec.position, RelativePositions):
        return None
    clip = spec.position.clip
    if grid.causal:
        return grid.distance().clamp(0, clip)
    return grid.distance().clamp(-clip, clip) % (2 * clip + 1)
