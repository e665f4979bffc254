"""Blocks one on the other, with the embeddings beneath and the norm above: what every Transformer is made of.

Shapes: B sequences, T tokens, S tokens of a source, D features, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.models.model import left_padded
from textmill.nn import attention_mask as masks
from textmill.nn import mode, norm, position
from textmill.nn.attention_mask import AttentionMask
from textmill.nn.block import Block, at_places
from textmill.nn.cache import CacheState, LayerCache, Source, allocate, columns
from textmill.nn.dropout import Dropout
from textmill.nn.mode import Mode
from textmill.specs.model import TransformerSpec
from textmill.specs.position import LearnedPositions, SinusoidalPositions, T5Positions


class Stack(nn.Module):
    """Blocks, and what is trained around them, but for the token embedding.

    blocks_before: of the same model, in the stack before this one (`nn.mode.Mode.recomputed_blocks` counts them all).
    """

    def __init__(
        self,
        spec: TransformerSpec,
        layers: int,
        *,
        causal: bool = True,
        crossed: bool = False,
        blocks_before: int = 0,
    ) -> None:
        super().__init__()
        self.spec, self.causal, self.blocks_before = spec, causal, blocks_before
        learned = isinstance(spec.position, LearnedPositions)
        self.position_embedding = nn.Embedding(spec.context, spec.d_model) if learned else None
        self.position_bias = (
            nn.Embedding(spec.position.buckets, spec.heads)
            if isinstance(spec.position, T5Positions)
            else None
        )
        biased = spec.bias == "all"
        self.embedding_norm = (
            norm.build(spec.norm, spec.d_model, spec.norm_eps, biased) if spec.embedding_norm else None
        )
        self.dropout = Dropout(spec.dropout)
        self.blocks = nn.ModuleList(Block(spec, causal=causal, crossed=crossed) for _ in range(layers))
        self.norm = norm.build(spec.norm, spec.d_model, spec.norm_eps, biased) if spec.last_norm else None
        # Blocks may differ in window and rotary base: the different ones there are, and which each block is.
        self._views = list(dict.fromkeys(spec.of_block(layer) for layer in range(layers)))
        self._view_of = [self._views.index(spec.of_block(layer)) for layer in range(layers)]

    def all_blocks(self) -> list[nn.Module]:
        """As `Model.all_blocks`."""
        return list(self.blocks)

    def read(
        self,
        vectors: Tensor,
        batch: Batch,
        *,
        extra: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: AttentionMask | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """The states (B, T, D) of whole sequences: the batch's inputs, whose token vectors (B, T, D) are given.

        extra: (B, T, D) added to them beside the positions. memory: (B, S, D), the states of a source, and what of
        it is seen. at: (B,) int64, the one token of each row whose state is asked for: (B, 1, D).

        Raises TextmillError when positions are learned and there are more tokens than were learned.
        """
        if batch.documents is None:  # packed rows may be longer: each document has its own positions
            self.fits(vectors.shape[1])

        def mask(view: TransformerSpec) -> AttentionMask:
            return masks.whole(
                view,
                batch.inputs,
                causal=self.causal,
                real=batch.mask,
                documents=batch.documents,
                table=self._table(),
            )

        sources = self._sources(memory, memory_mask)
        return self._run(vectors, self._masks(mask), extra=extra, sources=sources, at=at)

    def start(
        self,
        embed: Callable[[Tensor], Tensor],
        batch: Batch,
        capacity: int,
        *,
        memory: Tensor | None = None,
        memory_mask: AttentionMask | None = None,
    ) -> tuple[Tensor, CacheState]:
        """Read the prompts `batch.inputs` (B, T): the state (B, D) of each one's last token, and the cache.

        embed: (B, T) ids -> (B, T, D). capacity: tokens a row may hold in all, padding included. Where `batch.mask`
        marks padding, on whichever side, it is moved to the left, so that all rows end together. Raises
        TextmillError when capacity is under T, or, where no row is padded, over the context of a model with
        learned positions.
        """
        inputs, real = left_padded(batch)
        rows, length = inputs.shape
        # A row that begins with padding may outlast the longest one, in columns past the last position.
        self.fits(capacity if real is None else length)
        spec, vectors = self.spec, embed(inputs)
        layers = allocate(len(self.blocks), rows, spec.key_heads, capacity, spec.head_width, like=vectors)
        state = CacheState(layers, 0, columns(real, capacity), self._sources(memory, memory_mask))
        state.room(length)
        bounds = self._masks(lambda view: masks.whole(view, inputs, real=real, table=self._table()))
        states = self._run(vectors, bounds, layers, sources=state.sources)
        state.length = length
        return states[:, -1], state

    def go_on(self, vectors: Tensor, state: CacheState) -> Tensor:
        """Read n tokens, as vectors (B, n, D), after what `state` holds; (B, n, D). The state is written in place.

        Raises TextmillError when the capacity is used up.
        """
        count = vectors.shape[1]
        state.room(count)
        bounds = self._masks(
            lambda view: masks.next_tokens(
                view, count, state.length, device=vectors.device, real=state.real, table=self._table()
            )
        )
        states = self._run(vectors, bounds, state.layers, sources=state.sources)
        state.length += count
        return states

    def go_on_apart(self, vectors: Tensor, states: Sequence[CacheState]) -> Tensor:
        """Read the next token, as vectors (B, 1, D), of rows that each have a state of their own; (B, 1, D). The states
        are written in place. Raises TextmillError when a capacity is used up."""
        for state in states:
            state.room(1)
        device, table = vectors.device, self._table()
        bounds = self._masks(
            lambda view: masks.apart(
                [
                    masks.next_tokens(view, 1, one.length, device=device, real=one.real, table=table)
                    for one in states
                ]
            )
        )
        caches = list(zip(*(state.layers for state in states), strict=True))
        sources = None
        if states[0].sources is not None:
            sources = list(zip(*(state.sources or () for state in states), strict=True))
        read = self._run(vectors, bounds, caches, sources=sources)
        for state in states:
            state.length += 1
        return read

    def fits(self, tokens: int) -> None:
        """Raise TextmillError where positions are learned and `tokens` are more than were learned."""
        if self.spec.position.kind == "learned" and tokens > self.spec.context:
            raise TextmillError(
                f"{tokens} tokens are more than the {self.spec.context} positions this model learned",
                advice="shorten the text, or train with a larger model.context",
            )

    def _masks(self, mask: Callable[[TransformerSpec], AttentionMask]) -> list[AttentionMask]:
        """The mask of each block."""
        made = [mask(spec) for spec in self._views]
        return [made[number] for number in self._view_of]

    def _sources(self, memory: Tensor | None, mask: AttentionMask | None) -> list[Source] | None:
        if memory is None or mask is None:
            return None
        return [Source(block.remember(memory), mask) for block in self.blocks]  # type: ignore

    def _run(
        self,
        vectors: Tensor,
        bounds: list[AttentionMask],
        cache: Sequence[LayerCache | Sequence[LayerCache]] | None = None,
        *,
        extra: Tensor | None = None,
        sources: Sequence[Source | Sequence[Source]] | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        x = self._embedded(vectors, bounds[0], extra)
        current = mode.current()
        recomputed = current.recomputed_blocks - self.blocks_before if torch.is_grad_enabled() else 0
        # The last block makes the states that are asked for and no others, unless somebody looks at its attention.
        last = len(self.blocks) - 1
        early = at is not None and bounds[last].alike and current.weights is None and recomputed <= last
        for index, block in enumerate(self.blocks):
            source = None if sources is None else sources[index]
            if index < recomputed:
                x = _recomputed(block, x, bounds[index], source, current)
            else:
                only = at if early and index == last else None
                x = block(x, bounds[index], None if cache is None else cache[index], source, current, only)
            if current.between is not None:
                current.between()
        if at is not None:
            x = x if early else at_places(x, at)
            return x if self.norm is None else self.norm(x)
        return x if self.norm is None else self.norm(x, bounds[0].real)

    def _embedded(self, x: Tensor, mask: AttentionMask, extra: Tensor | None) -> Tensor:
        """Token vectors (B, T, D), and position vectors where the model adds them.

        With sinusoids token vectors are multiplied by sqrt(D) first (Vaswani et al. 2017, section 3.4).
        """
        if mask.apart is not None:  # whole vectors of a row at a time: sines of many are rounded otherwise
            return torch.cat([self._embedded(x[[row]], one, extra) for row, one in enumerate(mask.apart)])
        positions = mask.positions
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device)
        spec, scheme = self.spec, self.spec.position
        if spec.scaled_embedding or isinstance(scheme, SinusoidalPositions):
            x = x * math.sqrt(spec.d_model)
        if isinstance(scheme, SinusoidalPositions):
            x = x + position.sinusoidal(positions, spec.d_model, scheme.layout).to(x.dtype)
        if extra is not None:
            x = x + extra
        learned = self.position_embedding
        if learned is not None:
            x = x + learned(positions)
        if self.embedding_norm is not None:
            x = self.embedding_norm(x, mask.real)
        return self.dropout(x)

    def _table(self) -> Tensor | None:
        return None if self.position_bias is None else self.position_bias.weight


def _recomputed(
    block: nn.Module,
    x: Tensor,
    mask: AttentionMask,
    source: Source | Sequence[Source] | None,
    current: Mode,
) -> Tensor:
    """What a block makes of x (B, T, D), computed again in the backward pass instead of keeping what that needs.

    Who collects attention weights gets those of the first time only.
    """
    modes = itertools.chain([current], itertools.repeat(replace(current, weights=None, source_weights=None)))
    return checkpoint(lambda y: block(y, mask, None, source, next(modes)), x, use_reentrant=False)
