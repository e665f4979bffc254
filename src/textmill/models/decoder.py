"""The decoder: a GPT-type language model.

Shapes: B sequences, T tokens, D features, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from textmill.data.batch import Batch
from textmill.models.model import Generator
from textmill.models.output import OutputLayer
from textmill.models.stack import Stack
from textmill.nn.cache import CacheState
from textmill.specs.model import DecoderSpec


class Decoder(Stack, OutputLayer, Generator[CacheState]):
    """Embedding, blocks, a last norm (none in post-norm models), output layer."""

    def __init__(self, spec: DecoderSpec, vocabulary: int) -> None:
        super().__init__(spec, spec.layers)
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary, spec.d_model)
        self.add_output(
            tied=spec.tied, bias=spec.output_bias, scale=spec.logit_scale, softcap=spec.logit_softcap
        )

    def hidden_of(self, vectors: Tensor, batch: Batch) -> Tensor:
        """(B, T, D) -> (B, T, D). Raises TextmillError when there are more tokens than positions were learned."""
        return self.read(vectors, batch)

    @torch.no_grad()
    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, CacheState]:
        """As `Generator.hidden_begin`; see `Stack.start`."""
        return self.start(self.embedding, batch, capacity)

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: CacheState) -> tuple[Tensor, CacheState]:
        """As `Generator.hidden_step`."""
        return self.go_on(self.embedding(tokens), state), state

    @torch.no_grad()
    def step_apart(self, tokens: Tensor, states: Sequence[CacheState]) -> tuple[Tensor, list[CacheState]]:
        """As `Generator.step_apart`, all rows in each product."""
        hidden = self.go_on_apart(self.embedding(tokens[:, None]), states)
        return self.logits(hidden[:, 0]), list(states)
