"""The encoder: a BERT-type model, in which every token sees every token.

Shapes: B sequences, T tokens, D features, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.models.output import OutputLayer
from textmill.models.stack import Stack
from textmill.nn import norm
from textmill.nn.dropout import Dropout
from textmill.nn.feedforward import ACTIVATIONS
from textmill.nn.linear import Linear
from textmill.nn.ngram_embedding import NGramEmbedding
from textmill.specs.model import EncoderSpec


class Encoder(Stack, OutputLayer):
    """Embeddings of tokens, positions, segments and n-grams, blocks, and what the two objectives of BERT read
    (Devlin et al. 2019, section 3.1 and appendix A).

    A masked token is guessed from norm(act(transform(state))), whose product with the embedding gives the logits.
    The whole text is stood for by tanh(pooler(state of the first token)), which `next_sentence` reads.
    """

    gathered = ("hidden", "hidden_at", "logits", "next_sentence")

    def __init__(self, spec: EncoderSpec, vocabulary: int) -> None:
        super().__init__(spec, spec.layers, causal=False)
        self.vocabulary = vocabulary
        width, biased = spec.d_model, spec.bias == "all"
        self.embedding = nn.Embedding(vocabulary, width)
        self.segment_embedding = nn.Embedding(spec.segments, width) if spec.segments else None
        self.ngram_embedding = (
            NGramEmbedding(spec.ngrams, spec.ngram_rows, width, around=spec.ngram_places == "any")
            if spec.ngrams
            else None
        )
        self.token_dropout = Dropout(spec.token_dropout) if spec.token_dropout else None
        self.transform = Linear(width, width, bias=biased)
        self.transform_norm = norm.build(spec.norm, width, spec.norm_eps, biased)
        self.pooler = Linear(width, width, bias=biased) if spec.pooler else None
        self.sentences = Linear(width, 2, bias=biased) if spec.pooler else None
        self.act = ACTIVATIONS[spec.activation]
        self.add_output(
            tied=spec.tied, bias=spec.output_bias, scale=spec.logit_scale, softcap=spec.logit_softcap
        )

    @property
    def bare(self) -> bool:
        """As `Model.bare`: no layer guesses masked tokens."""
        return self.transform is None

    def factors(self, batch: Batch) -> None:
        """None: logits are made of transformed states."""

    def hidden_at(self, batch: Batch, at: Tensor) -> Tensor:
        """`hidden` of one token of each row, at (B,) int64: (B, D). The last block makes no more than these."""
        return self.hidden_of(self.embedding(self.looked_up(batch)), batch, at)[:, 0]

    def hidden_of(self, vectors: Tensor, batch: Batch, at: Tensor | None = None) -> Tensor:
        """The states of the last block, (B, T, D); of one token of each row, at (B,), (B, 1, D).

        Raises TextmillError when there are more tokens than positions.
        """
        extra = None
        if self.segment_embedding is not None:
            segments = torch.zeros_like(batch.inputs) if batch.segments is None else batch.segments
            extra = self.segment_embedding(segments)
        if self.ngram_embedding is not None:
            vectors = vectors + self.ngram_embedding(batch.inputs, batch.mask, batch.documents)
        if self.token_dropout is not None:
            vectors = vectors * self.token_dropout(torch.ones_like(vectors[..., :1]))
        return self.read(vectors, batch, extra=extra, at=at)

    def logits(self, hidden: Tensor) -> Tensor:
        """States (…, D) -> (…, V). Raises TextmillError where the model was published without that layer."""
        if self.transform is None:
            raise TextmillError(
                "has no layer that predicts masked tokens",
                advice="embed texts with it, or train a head on it",
            )
        return super().logits(self.transform_norm(self.act(self.transform(hidden))))

    def pooled(self, hidden: Tensor) -> Tensor:
        """States (B, T, D) -> (B, D), what stands for each whole text. Raises TextmillError without a pooler."""
        if self.pooler is None:
            raise TextmillError(
                "has no pooler", advice="set model.pooler = true, or take the mean of the states"
            )
        return torch.tanh(self.pooler(hidden[:, 0]))

    def next_sentence(self, hidden: Tensor) -> Tensor:
        """States (B, T, D) -> logits (B, 2): the second segment follows the first, or does not."""
        pooled = self.pooled(hidden)
        assert self.sentences is not None
        return self.sentences(pooled)
