"""A recurrent language model: GRU or LSTM, with causal self-attention over the states if wanted.

Shapes: B sequences, T tokens, D features of a token vector, W of a state, L layers, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from textmill.data.batch import Batch
from textmill.models.generator import Writer
from textmill.nn import fused, reach, recurrent
from textmill.nn.attention import Attention
from textmill.nn.cache import CacheState, allocate
from textmill.nn.dropout import Dropout
from textmill.nn.linear import Linear, product
from textmill.nn.recurrent import States
from textmill.specs.model import RecurrentSpec, TransformerSpec
from textmill.specs.position import NoPositions


@dataclass(slots=True)
class RecurrentState:
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


class RecurrentModel(Writer, nn.Module):
    """Embedding, recurrent layers, self-attention added to what they say, a projection, output layer.

    The projection stands where states are not as wide as token vectors (W ≠ D), so that what the output layer reads
    always has D features (Sak et al. 2014 do so to have a smaller output layer).
    """

    output: Linear | None

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
        # Registered where it is None too, so that whoever changes a model's layers finds that it has one to change.
        self.register_module("output", None if spec.tied else Linear(spec.d_model, vocabulary, bias=False))

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, T, V) of the token after each of `batch.inputs`."""
        return self.logits(self.hidden(batch))

    def hidden(self, batch: Batch, vectors: Tensor | None = None) -> Tensor:
        """What the output layer reads, (B, T, D): so that a loss can compute logits a piece at a time.

        vectors: (B, T, D), the embedding's rows of the batch's tokens, where they were already looked up. In packed
        rows the state begins anew with each document.
        """
        runs = recurrent.cut(batch.mask, batch.documents, exact=False)
        vectors = self.embedding(batch.inputs) if vectors is None else vectors
        states, _ = self.recurrent(self.dropout(vectors), runs)
        bounds = None
        if self.attention is not None:
            spec = attention_spec(self.spec)
            bounds = reach.whole(spec, batch.inputs, real=batch.mask, documents=batch.documents)
        return self._read(states, bounds)

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, V)."""
        return product(hidden, self.embedding.weight) if self.output is None else self.output(hidden)

    def factors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """hidden (B, T, D) and the matrix (V, D): logits are hidden · matrixᵀ, and a loss may make them itself.

        Where the matrix is also the embedding, both of its gradients are made in one buffer.
        """
        if self.output is not None:
            return self.hidden(batch), self.output.weight
        vectors, matrix = fused.tied_embedding(batch.inputs, self.embedding.weight)
        return self.hidden(batch, vectors), matrix

    @torch.no_grad()
    def begin(self, batch: Batch, capacity: int) -> tuple[Tensor, RecurrentState]:
        """Read the prompts `batch.inputs` (B, T): logits (B, V) after each one's last token, and the state.

        capacity: tokens a row may hold in all, padding included; only self-attention is bound by it. `batch.mask`
        may mark padding on whichever side. Raises TextmillError when self-attention has less room than T.
        """
        inputs, real = _to_the_right(batch)
        runs = recurrent.cut(real, None)
        states, last = self.recurrent(self.dropout(self.embedding(inputs)), runs)
        cache, bounds = None, None
        if self.attention is not None:
            cache = self._cache(inputs, real, capacity)
            bounds = reach.whole(attention_spec(self.spec), inputs, real=real)
        hidden = self._read(states, bounds, cache)
        return self.logits(hidden[:, -1]), RecurrentState(last, cache)

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Read `tokens` (B, n) after what `state` holds: what the output layer reads, (B, n, D), and the state."""
        states, last = self.recurrent(self.dropout(self.embedding(tokens)), None, state.states)
        cache, bounds = state.cache, None
        if cache is not None:
            cache.room(tokens.shape[1])
            spec, device = attention_spec(self.spec), tokens.device
            bounds = reach.next_tokens(spec, tokens.shape[1], cache.length, device=device, real=cache.real)
        return self._read(states, bounds, cache), RecurrentState(last, cache)

    def _read(self, states: Tensor, bounds: reach.Reach | None, cache: CacheState | None = None) -> Tensor:
        """What the output layer reads of the states (B, T, W); new columns of the cache are then used up."""
        if self.attention is not None and bounds is not None:
            states = states + self.attention(states, bounds, None if cache is None else cache.layers[0])
        if cache is not None:
            cache.length += states.shape[1]
        states = self.dropout(states)
        return states if self.projection is None else self.projection(states)

    def _cache(self, inputs: Tensor, real: Tensor | None, capacity: int) -> CacheState:
        rows, length = inputs.shape
        spec = attention_spec(self.spec)
        layers = allocate(1, rows, spec.key_heads, capacity, spec.head_width, like=self.embedding.weight)
        columns = None
        if real is not None:
            columns = torch.ones(rows, capacity, dtype=torch.bool, device=real.device)
            columns[:, :length] = real[:, :capacity]
        cache = CacheState(layers, 0, columns)
        cache.room(length)
        return cache


def _to_the_right(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Tokens and mask with each row's padding moved to its left, so that all rows end together."""
    inputs, real = batch.inputs, batch.mask
    if real is None or bool(real.all()):
        return inputs, None
    order = real.long().argsort(dim=1, stable=True)
    return inputs.gather(1, order), real.gather(1, order)
