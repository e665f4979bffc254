"""The encoder-decoder: a Transformer that reads a source and writes a target (Vaswani et al. 2017; BART, T5).

Shapes: B sequences, S tokens of the source, T tokens of the target, D features, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import at_once, by_length
from textmill.models.model import SourceReader, source_of
from textmill.models.output import OutputLayer, source_and_target, split_vectors
from textmill.models.stack import Stack
from textmill.nn import attention_mask
from textmill.nn.cache import CacheState
from textmill.specs.model import EncoderDecoderSpec


class EncoderDecoder(OutputLayer, SourceReader[CacheState]):
    """Two stacks over one embedding; the second also attends to what the first made of the source."""

    spec: EncoderDecoderSpec

    def __init__(self, spec: EncoderDecoderSpec, vocabulary: int) -> None:
        super().__init__()
        self.spec, self.vocabulary = spec, vocabulary
        self.embedding = nn.Embedding(vocabulary, spec.d_model)
        self.encoder = Stack(spec, spec.layers, causal=False)
        self.decoder = Stack(spec, spec.decoder_depth, crossed=True, blocks_before=spec.layers)
        self.add_output(
            tied=spec.tied, bias=spec.output_bias, scale=spec.logit_scale, softcap=spec.logit_softcap
        )

    def all_blocks(self) -> list[nn.Module]:
        """As `Model.all_blocks`, the encoder's first."""
        return [*self.encoder.blocks, *self.decoder.blocks]

    def encode(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """(B, S) ids -> the states (B, S, D) of the encoder's last block."""
        return self._encode(self.embedding(source), source, source_mask)

    def looked_up(self, batch: Batch) -> Tensor:
        """(N,): the ids of the source, then those of the target."""
        return source_and_target(batch)

    def hidden_of(self, vectors: Tensor, batch: Batch) -> Tensor:
        """(N, D) -> (B, T, D)."""
        read, written = split_vectors(vectors, batch)
        memory = self._encode(read, source_of(batch), batch.source_mask)
        seen = attention_mask.across(batch.source_mask)
        return self.decoder.read(written, batch, memory=memory, memory_mask=seen)

    @torch.no_grad()
    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, CacheState]:
        """As `Generator.hidden_begin`, of what of the target there is (at least its start), having read the source;
        see `Stack.start`. capacity: tokens of the target."""
        memory = self._encode_apart(source_of(batch), batch.source_mask)
        seen = attention_mask.across(batch.source_mask)
        return self.decoder.start(self.embedding, batch, capacity, memory=memory, memory_mask=seen)

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: CacheState) -> tuple[Tensor, CacheState]:
        """As `Generator.hidden_step`."""
        return self.decoder.go_on(self.embedding(tokens), state), state

    @torch.no_grad()
    def step_apart(self, tokens: Tensor, states: Sequence[CacheState]) -> tuple[Tensor, list[CacheState]]:
        """As `Generator.step_apart`, all rows in each product."""
        hidden = self.decoder.go_on_apart(self.embedding(tokens[:, None]), states)
        return self.logits(hidden[:, 0]), list(states)

    def _encode_apart(self, source: Tensor, mask: Tensor | None) -> Tensor:
        """`encode`, of sources of like length together where padding follows them: that is hardly read then, and a
        processor does best with few tokens at once."""
        plainly = mask is None or torch.compiler.is_compiling() or source.device.type != "cpu"
        if plainly or bool((mask[:, 1:] > mask[:, :-1]).any()):
            return self.encode(source, mask)
        lengths = mask.sum(1).clamp(min=1)
        memory: Tensor | None = None
        for numbers in by_length(lengths.numpy(), at_once(source.device)):
            rows = torch.from_numpy(numbers)
            width = int(lengths[rows[0]])
            real = mask[rows, :width]
            made = self.encode(source[rows, :width], None if bool(real.all()) else real)
            if memory is None:
                memory = made.new_zeros(*source.shape, made.shape[-1])
            memory[rows, :width] = made
        assert memory is not None
        return memory

    def _encode(self, vectors: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        whole = Batch(source, torch.full_like(source[:, :1], IGNORE), mask)
        return self.encoder.read(vectors, whole)
