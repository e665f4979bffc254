"""The decoder: a GPT-type language model.

Shapes: B sequences, T tokens, D features, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textmill.data.batch import Batch
from textmill.models.generator import Writer
from textmill.models.stack import Stack
from textmill.nn import fused
from textmill.nn.cache import CacheState
from textmill.nn.linear import Linear, product
from textmill.specs.model import DecoderSpec, TransformerSpec


class OutputLayer(nn.Module):
    """What makes logits of states, for models whose embedding may be the output layer too."""

    spec: TransformerSpec
    embedding: nn.Embedding
    output: Linear | None
    output_bias: nn.Parameter | None

    def add_output(self, spec: TransformerSpec, vocabulary: int) -> None:
        """Make what of it is trained."""
        # Registered where it is None too, so that whoever changes a model's layers finds that it has one to change.
        self.register_module("output", None if spec.tied else Linear(spec.d_model, vocabulary, bias=False))
        self.output_bias = nn.Parameter(torch.zeros(vocabulary)) if spec.output_bias else None

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, V)."""
        spec = self.spec
        if spec.logit_scale is not None:
            hidden = hidden * spec.logit_scale
        if self.output is None:
            logits = product(hidden, self.embedding.weight, self.output_bias)
        else:
            logits = self.output(hidden)
            logits = logits if self.output_bias is None else logits + self.output_bias
        cap = spec.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def only_a_product(self) -> bool:
        """Whether logits are nothing but hidden · matrixᵀ."""
        spec = self.spec
        return spec.logit_softcap is None and spec.logit_scale is None and self.output_bias is None


class Decoder(Writer, Stack, OutputLayer):
    """Embedding, blocks, a last norm (none in post-norm models), output layer."""

    def __init__(self, spec: DecoderSpec, vocabulary: int) -> None:
        super().__init__(spec, spec.layers)
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary, spec.d_model)
        self.add_output(spec, vocabulary)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, T, V) of the token after each of `batch.inputs`."""
        return self.logits(self.hidden(batch))

    def hidden(self, batch: Batch, vectors: Tensor | None = None) -> Tensor:
        """What the output layer reads, (B, T, D): so that a loss can compute logits a piece at a time.

        vectors: (B, T, D), the embedding's rows of the batch's tokens, where they were already looked up.
        Raises TextmillError when positions are learned and there are more tokens than were learned.
        """
        return self.read(self.embedding(batch.inputs) if vectors is None else vectors, batch)

    def factors(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """hidden (B, T, D) and a matrix (V, D), if logits are nothing but hidden · matrixᵀ.

        A loss may then make that product itself. Where the matrix is also the embedding, both of its gradients
        are made in one buffer.
        """
        if not self.only_a_product():
            return None
        if self.output is not None:
            return self.hidden(batch), self.output.weight
        vectors, matrix = fused.tied_embedding(batch.inputs, self.embedding.weight)
        return self.hidden(batch, vectors), matrix

    @torch.no_grad()
    def begin(self, batch: Batch, capacity: int) -> tuple[Tensor, CacheState]:
        """Read the prompts `batch.inputs` (B, T): logits (B, V) after each one's last token, and the state.

        capacity: tokens a row may hold in all, padding included; see `Stack.start`.
        """
        hidden, state = self.start(self.embedding, batch, capacity)
        return self.logits(hidden), state

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: CacheState) -> tuple[Tensor, CacheState]:
        """Read `tokens` (B, n) after what `state` holds: what the output layer reads, (B, n, D), and the state."""
        return self.go_on(self.embedding(tokens), state), state
