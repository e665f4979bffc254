"""A recurrent language model: GRU or LSTM, with causal self-attention over the states if wanted.

Shapes: B sequences, T tokens, D features of a token vector, W of a state, L layers, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from textmill.data.batch import Batch
from textmill.models.model import Generator, left_padded
from textmill.models.output import OutputLayer
from textmill.nn import attention_mask, mode, recurrent
from textmill.nn.attention import Attention
from textmill.nn.attention_mask import AttentionMask
from textmill.nn.cache import CacheState, allocate, columns
from textmill.nn.dropout import Dropout
from textmill.nn.linear import Linear
from textmill.nn.recurrent import States
from textmill.nn.state import State
from textmill.specs.model import RecurrentSpec, TransformerSpec
from textmill.specs.position import NoPositions


@dataclass(slots=True)
class RecurrentState(State):
    """What the model remembers of the sequences so far.

    It cannot be shortened again: how a state came about is not kept.
    """

    states: States  # (h,) or (h, c), each (L, B, W): a row's state after what it has read
    cache: CacheState | None  # keys and values of the self-attention, where the model has one

    def reorder(self, rows: Tensor) -> RecurrentState:
        """The state whose row i is row rows[i] of this one, rows (n,) int64. This state is left as it was."""
        states = tuple(state[:, rows] for state in self.states)
        return RecurrentState(states, None if self.cache is None else self.cache.reorder(rows))


def attention_spec(spec: RecurrentSpec) -> TransformerSpec:
    """The self-attention over the states: its positions are those the states know of."""
    return TransformerSpec(d_model=spec.width, heads=spec.heads, layers=1, position=NoPositions())


class RecurrentModel(OutputLayer, Generator[RecurrentState]):
    """Embedding, recurrent layers, self-attention added to what they say, a projection, output layer.

    The projection stands where states are not as wide as token vectors (W ≠ D), so that what the output layer reads
    always has D features (Sak et al. 2014 do so to have a smaller output layer).
    """

    spec: RecurrentSpec

    def __init__(self, spec: RecurrentSpec, vocabulary: int) -> None:
        super().__init__()
        self.spec, self.vocabulary = spec, vocabulary
        self.embedding = nn.Embedding(vocabulary, spec.d_model)
        self.dropout = Dropout(spec.dropout)
        self.recurrent = recurrent.Recurrent(
            spec.cell, spec.d_model, spec.width, spec.layers, dropout=spec.dropout
        )
        self.attention = Attention(attention_spec(spec)) if spec.attention else None
        self.projection = Linear(spec.width, spec.d_model) if spec.width != spec.d_model else None
        self.add_output(tied=spec.tied)

    def hidden_of(self, vectors: Tensor, batch: Batch) -> Tensor:
        """(B, T, D) -> (B, T, D). In packed rows the state begins anew with each document."""
        runs = recurrent.cut(batch.mask, batch.documents, exact=False)
        states, _ = self.recurrent(self.dropout(vectors), runs)
        mask = None
        if self.attention is not None:
            spec = attention_spec(self.spec)
            mask = attention_mask.whole(spec, batch.inputs, real=batch.mask, documents=batch.documents)
        return self._read(states, mask)

    @torch.no_grad()
    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, RecurrentState]:
        """As `Generator.hidden_begin`. Only self-attention is bound by the capacity."""
        inputs, real = left_padded(batch)
        states, last = self.recurrent(self.dropout(self.embedding(inputs)), recurrent.cut(real, None))
        cache, mask = None, None
        if self.attention is not None:
            spec, (rows, length) = attention_spec(self.spec), inputs.shape
            layers = allocate(1, rows, spec.key_heads, capacity, spec.head_width, like=states)
            cache = CacheState(layers, 0, columns(real, capacity))
            cache.room(length)
            mask = attention_mask.whole(spec, inputs, real=real)
        return self._read(states, mask, cache)[:, -1], RecurrentState(last, cache)

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """As `Generator.hidden_step`."""
        states, last = self.recurrent(self.dropout(self.embedding(tokens)), None, state.states)
        cache, mask = state.cache, None
        if cache is not None:
            cache.room(tokens.shape[1])
            spec, device = attention_spec(self.spec), tokens.device
            mask = attention_mask.next_tokens(
                spec, tokens.shape[1], cache.length, device=device, real=cache.real
            )
        return self._read(states, mask, cache), RecurrentState(last, cache)

    def _read(self, states: Tensor, mask: AttentionMask | None, cache: CacheState | None = None) -> Tensor:
        """What the output layer reads of the states (B, T, W); new columns of the cache are then used up."""
        if self.attention is not None and mask is not None:
            layer = None if cache is None else cache.layers[0]
            states = states + self.attention(states, mask, layer, mode.current())
        if cache is not None:
            cache.length += states.shape[1]
        states = self.dropout(states)
        return states if self.projection is None else self.projection(states)
