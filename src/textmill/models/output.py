"""The output layer of neural models: a matrix of its own, or the embedding once more (tied).

Shapes: B sequences, T tokens, N ids in one row, D features, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.models.model import Model, source_of
from textmill.nn import fused
from textmill.nn.linear import Linear, product


class NoOutput(nn.Module):
    """In place of the matrix of a model that was saved as its body alone."""

    @property
    def weight(self) -> Tensor:
        """There is none. Raises TextmillError."""
        raise TextmillError(
            "was saved without its output layer", advice="embed texts with it, or train a head on it"
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """As `weight`."""
        return self.weight


class OutputLayer(Model):
    """A model with an `embedding`, and logits that are, but for a scale, a bias and a cap, hidden · matrixᵀ."""

    embedding: nn.Embedding
    output: Linear | NoOutput | None
    output_bias: nn.Parameter | None

    def add_output(
        self,
        *,
        tied: bool,
        bias: bool = False,
        scale: float | None = None,
        softcap: float | None = None,
    ) -> None:
        """Make what of it is trained, for the embedding that is there. scale: of hidden states, softcap: of logits."""
        vocabulary, width = self.embedding.weight.shape
        self.logit_scale, self.logit_softcap = scale, softcap
        # Registered where it is None too, so that whoever changes a model's layers finds that it has one to change.
        self.register_module("output", None if tied else Linear(width, vocabulary, bias=False))
        self.output_bias = nn.Parameter(torch.zeros(vocabulary)) if bias else None

    @property
    def bare(self) -> bool:
        """As `Model.bare`."""
        return isinstance(self.output, NoOutput)

    @property
    def hidden_width(self) -> int:
        """Features of a hidden state, D."""
        return self.embedding.embedding_dim

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, V)."""
        if self.logit_scale is not None:
            hidden = hidden * self.logit_scale
        if self.output is None:
            logits = product(hidden, self.embedding.weight, self.output_bias)
        else:
            logits = self.output(hidden)
            logits = logits if self.output_bias is None else logits + self.output_bias
        cap = self.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def hidden(self, batch: Batch) -> Tensor:
        """What the output layer reads, (B, T, D): so that a loss can make logits a piece at a time."""
        return self.hidden_of(self.embedding(self.looked_up(batch)), batch)

    def looked_up(self, batch: Batch) -> Tensor:
        """The ids (…) whose rows of the embedding the model reads."""
        return batch.inputs

    def hidden_of(self, vectors: Tensor, batch: Batch) -> Tensor:
        """`hidden`, where those rows (…, D) were already looked up."""
        raise NotImplementedError

    def factors(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """As `Model.factors`. Where the matrix is also the embedding, both of its gradients are made in one buffer."""
        if self.logit_scale is not None or self.logit_softcap is not None or self.output_bias is not None:
            return None
        if (
            self.output is not None
        ):  # another layer than a matrix says itself what it computes (adapters, 8 bits)
            return (self.hidden(batch), self.output.weight) if isinstance(self.output, Linear) else None
        if not isinstance(self.embedding, nn.Embedding):
            return None
        vectors, matrix = fused.tied_embedding(self.looked_up(batch), self.embedding.weight)
        return self.hidden_of(vectors, batch), matrix


def source_and_target(batch: Batch) -> Tensor:
    """(N,): the ids of the source, then those of the target, for `OutputLayer.looked_up`."""
    return torch.cat((source_of(batch).flatten(), batch.inputs.flatten()))


def split_vectors(vectors: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Their vectors (N, D), apart again: (B, S, D) and (B, T, D)."""
    source, target = source_of(batch), batch.inputs
    read, written = vectors.split((source.numel(), target.numel()))
    return read.view(*source.shape, -1), written.view(*target.shape, -1)
