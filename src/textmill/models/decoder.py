"""The decoder: a GPT-type language model.

Shapes: B sequences, T tokens, D features, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from textmill.base.errors import TextmillError
from textmill.base.model_spec import DecoderSpec, LearnedPositions, SinusoidalPositions, T5Positions
from textmill.data.batch import Batch
from textmill.nn import fused, norm, position, reach
from textmill.nn.block import Block
from textmill.nn.cache import CacheState, LayerCache, allocate
from textmill.nn.linear import Linear, product
from textmill.nn.reach import Reach


class Decoder(nn.Module):
    """Embedding, blocks, a last norm (none in post-norm models), output layer.

    `recomputed_blocks` may be set at any time: so many blocks, from the first, are computed again in the
    backward pass instead of keeping what it needs of them (gradient checkpointing).
    """

    output: Linear | None

    def __init__(self, spec: DecoderSpec, vocabulary: int) -> None:
        super().__init__()
        self.spec, self.vocabulary = spec, vocabulary
        self.recomputed_blocks = 0
        learned = isinstance(spec.position, LearnedPositions)
        self.embedding = nn.Embedding(vocabulary, spec.d_model)
        self.position_embedding = nn.Embedding(spec.context, spec.d_model) if learned else None
        self.position_bias = (
            nn.Embedding(spec.position.buckets, spec.heads)
            if isinstance(spec.position, T5Positions)
            else None
        )
        self.dropout = nn.Dropout(spec.dropout)
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.layers))
        bare = spec.placement == "post"
        self.norm = None if bare else norm.build(spec.norm, spec.d_model, spec.norm_eps, spec.bias == "all")
        # Registered where it is None too, so that whoever changes a model's layers finds that it has one to change.
        self.register_module("output", None if spec.tied else Linear(spec.d_model, vocabulary, bias=False))

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, T, V) of the token after each of `batch.inputs`."""
        return self.logits(self.hidden(batch))

    def hidden(self, batch: Batch, vectors: Tensor | None = None) -> Tensor:
        """What the output layer reads, (B, T, D): so that a loss can compute logits a piece at a time.

        vectors: (B, T, D), the embedding's rows of the batch's tokens, where they were already looked up.
        Raises TextmillError when positions are learned and there are more tokens than were learned.
        """
        if batch.documents is None:  # packed rows may be longer: each document has its own positions
            self._fits(batch.inputs.shape[1])
        bounds = reach.whole(
            self.spec, batch.inputs, real=batch.mask, documents=batch.documents, table=self._bias_table()
        )
        return self._run(batch.inputs, bounds, vectors=vectors)

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, V)."""
        logits = product(hidden, self.embedding.weight) if self.output is None else self.output(hidden)
        cap = self.spec.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def factors(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """hidden (B, T, D) and a matrix (V, D), if logits are nothing but hidden · matrixᵀ.

        A loss may then make that product itself. Where the matrix is also the embedding, both of its gradients
        are made in one buffer.
        """
        if self.spec.logit_softcap is not None:
            return None
        if self.output is not None:
            return self.hidden(batch), self.output.weight
        vectors, matrix = fused.tied_embedding(batch.inputs, self.embedding.weight)
        return self.hidden(batch, vectors), matrix

    @torch.no_grad()
    def begin(self, batch: Batch, capacity: int) -> tuple[Tensor, CacheState]:
        """Read the prompts `batch.inputs` (B, T): logits (B, V) after each one's last token, and the state.

        capacity: tokens a row may hold in all, padding included. Where `batch.mask` marks padding, on
        whichever side, it is moved to the left, so that all rows end together. Raises TextmillError when
        capacity is under T, or, where no row is padded, over the context of a model with learned positions.
        """
        inputs, real = batch.inputs, batch.mask
        if real is not None and bool(real.all()):
            real = None
        if real is not None:
            order = real.long().argsort(dim=1, stable=True)
            inputs, real = inputs.gather(1, order), real.gather(1, order)
        rows, length = inputs.shape
        # A row that begins with padding may outlast the longest one, in columns past the last position.
        self._fits(capacity if real is None else length)
        spec = self.spec
        like = self.embedding.weight
        layers = allocate(spec.layers, rows, spec.key_heads, capacity, spec.head_width, like=like)
        columns = None
        if real is not None:
            columns = torch.ones(rows, capacity, dtype=torch.bool, device=real.device)
            columns[:, :length] = real[:, :capacity]
        state = CacheState(layers, 0, columns)
        state.room(length)
        hidden = self._run(inputs, reach.whole(spec, inputs, real=real, table=self._bias_table()), layers)
        state.length = length
        return self.logits(hidden[:, -1]), state

    @torch.no_grad()
    def step(self, tokens: Tensor, state: CacheState) -> tuple[Tensor, CacheState]:
        """Read `tokens` (B, n) after what `state` holds: logits (B, n, V), and the state, written in place.

        Raises TextmillError when the capacity is used up.
        """
        count = tokens.shape[1]
        state.room(count)
        bounds = reach.next_tokens(
            self.spec, count, state.length, device=tokens.device, real=state.real, table=self._bias_table()
        )
        hidden = self._run(tokens, bounds, state.layers)
        state.length += count
        return self.logits(hidden), state

    def _run(
        self,
        tokens: Tensor,
        bounds: Reach,
        cache: list[LayerCache] | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        x = self._place(self.embedding(tokens) if vectors is None else vectors, bounds)
        recomputed = self.recomputed_blocks if torch.is_grad_enabled() else 0
        for index, block in enumerate(self.blocks):
            if index < recomputed:
                x = checkpoint(block, x, bounds, use_reentrant=False)
            else:
                x = block(x, bounds, None if cache is None else cache[index])
        return x if self.norm is None else self.norm(x, bounds.real)

    def _place(self, x: Tensor, bounds: Reach) -> Tensor:
        """Token vectors (B, T, D), and position vectors where the model adds them.

        With sinusoids token vectors are multiplied by sqrt(D) first (Vaswani et al. 2017, section 3.4).
        """
        places = bounds.positions
        if places is None:
            places = torch.arange(x.shape[1], device=x.device)
        if isinstance(self.spec.position, SinusoidalPositions):
            width = self.spec.d_model
            x = x * math.sqrt(width) + position.sinusoidal(places, width).to(x.dtype)
        learned = self.position_embedding
        if learned is not None:
            x = x + learned(places)
        return self.dropout(x)

    def _bias_table(self) -> Tensor | None:
        return None if self.position_bias is None else self.position_bias.weight

    def _fits(self, tokens: int) -> None:
        if self.spec.position.kind == "learned" and tokens > self.spec.context:
            raise TextmillError(
                f"{tokens} tokens are more than the {self.spec.context} positions this model learned",
                advice="shorten the text, or train with a larger model.context",
            )
