"""The encoder-decoder: a Transformer that reads a source and writes a target (Vaswani et al. 2017; BART, T5).

Shapes: B sequences, S tokens of the source, T tokens of the target, D features, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.models.decoder import OutputLayer
from textmill.models.generator import Writer
from textmill.models.stack import Stack
from textmill.nn import fused, reach
from textmill.nn.cache import CacheState
from textmill.specs.model import EncoderDecoderSpec


class EncoderDecoder(Writer, OutputLayer):
    """Two stacks over one embedding; the second also attends to what the first made of the source."""

    def __init__(self, spec: EncoderDecoderSpec, vocabulary: int) -> None:
        super().__init__()
        self.spec, self.vocabulary = spec, vocabulary
        self.embedding = nn.Embedding(vocabulary, spec.d_model)
        self.encoder = Stack(spec, spec.layers, causal=False)
        self.decoder = Stack(spec, spec.decoder_depth, crossed=True)
        self.add_output(spec, vocabulary)

    @property
    def recomputed_blocks(self) -> int:
        """How many blocks, from the encoder's first, are computed again in the backward pass."""
        return self.encoder.recomputed_blocks + self.decoder.recomputed_blocks

    @recomputed_blocks.setter
    def recomputed_blocks(self, number: int) -> None:
        self.encoder.recomputed_blocks = min(number, self.spec.layers)
        self.decoder.recomputed_blocks = max(0, number - self.spec.layers)

    @property
    def blocks(self) -> list[nn.Module]:
        """All blocks, the encoder's first."""
        return [*self.encoder.blocks, *self.decoder.blocks]

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, T, V) of the token after each of `batch.inputs`, given the whole of `batch.source`."""
        return self.logits(self.hidden(batch))

    def hidden(self, batch: Batch) -> Tensor:
        """What the output layer reads, (B, T, D)."""
        source = _source(batch)
        return self._hidden(batch, self.embedding(source), self.embedding(batch.inputs))

    def encode(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """(B, S) ids -> the states (B, S, D) of the encoder's last block."""
        return self._encode(source, source_mask, self.embedding(source))

    def factors(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """hidden (B, T, D) and a matrix (V, D), if logits are nothing but hidden · matrixᵀ; see `Decoder.factors`."""
        if not self.only_a_product():
            return None
        if self.output is not None:
            return self.hidden(batch), self.output.weight
        source = _source(batch)
        both = torch.cat((source.flatten(), batch.inputs.flatten()))
        vectors, matrix = fused.tied_embedding(both, self.embedding.weight)
        read, written = vectors.split((source.numel(), batch.inputs.numel()))
        return self._hidden(
            batch, read.view(*source.shape, -1), written.view(*batch.inputs.shape, -1)
        ), matrix

    @torch.no_grad()
    def begin(self, batch: Batch, capacity: int) -> tuple[Tensor, CacheState]:
        """Read the source and what of the target there is (at least its start), `batch.inputs` (B, T): logits (B, V)
        after the last token of each, and the state. capacity: tokens of the target a row may hold; see `Stack.start`.
        """
        memory = self.encode(_source(batch), batch.source_mask)
        seen = reach.across(batch.source_mask)
        hidden, state = self.decoder.start(self.embedding, batch, capacity, memory=memory, seen=seen)
        return self.logits(hidden), state

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: CacheState) -> tuple[Tensor, CacheState]:
        """Read `tokens` (B, n) after what `state` holds: what the output layer reads, (B, n, D), and the state."""
        return self.decoder.go_on(self.embedding(tokens), state), state

    def _encode(self, source: Tensor, mask: Tensor | None, vectors: Tensor) -> Tensor:
        whole = Batch(source, torch.full_like(source[:, :1], IGNORE), mask)
        return self.encoder.read(vectors, whole)

    def _hidden(self, batch: Batch, read: Tensor, written: Tensor) -> Tensor:
        memory = self._encode(_source(batch), batch.source_mask, read)
        return self.decoder.read(written, batch, memory=memory, seen=reach.across(batch.source_mask))


def _source(batch: Batch) -> Tensor:
    if batch.source is None:
        raise TextmillError("the batch has no source", advice="this model reads a source and writes a target")
    return batch.source
