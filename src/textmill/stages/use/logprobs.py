"""How likely a language model finds a text, token by token.

Shapes: n tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textmill.base.errors import TextmillError
from textmill.tokenization.characters import without_surrogates

if TYPE_CHECKING:
    import numpy as np

    from textmill.models.pretrained import Pretrained

_MOST_LOGITS = 1 << 26  # computed at once: 256 MiB in float32


@dataclass(frozen=True, eq=False)
class Logprobs:
    """A text's tokens, and how likely each was after those before it.

    ids       (n,) int64
    tokens    what each id stands for in the text; of one that holds part of a character, the whole character
    offsets   (n, 2) int64: tokens[i] is text[offsets[i, 0] : offsets[i, 1]]
    values    (n,) float32, natural log probabilities. The first is that of beginning a text so
    """

    text: str
    ids: np.ndarray
    tokens: list[str]
    offsets: np.ndarray
    values: np.ndarray

    @property
    def total(self) -> float:
        """The natural log probability of the text, its end left open."""
        return float(self.values.sum(dtype="float64"))


def logprobs(model: Pretrained, text: str) -> Logprobs:
    """Every token of a text under a model that goes on with text.

    What stands before the text is what the tokenizer puts there, or the end-of-text token, as in training. Raises
    TextmillError for models of another kind, and for a text longer than the model reads.
    """
    import torch

    from textmill.data.batch import Batch
    from textmill.models.model import Generator
    from textmill.objectives.loss import token_nats

    network = model.model
    if not isinstance(network, Generator) or not model.writes or model.reads_source:
        raise TextmillError(
            f"a model of kind {model.spec.kind!r} does not continue text, so it gives tokens no probability"
        )
    row = model.codec.scored(without_surrogates(text))
    length, inside = len(row) - 1, row.loss[1:]  # the last id is never read
    if length > model.spec.context:
        raise TextmillError(
            f"the text takes {length} tokens and the model reads {model.spec.context}",
            where="text",
            advice="split it into shorter texts",
        )
    (read,), ids = row.texts, torch.from_numpy(row.ids)
    values = torch.zeros(len(read))
    if len(read):
        with torch.inference_mode():
            targets = ids[1:][inside]
            hidden = network.hidden(Batch(ids[None, :-1], ids[None, 1:]))[0, inside]
            most = max(1, _MOST_LOGITS // network.vocabulary)
            for start in range(0, len(read), most):
                part = slice(start, start + most)
                values[part] = -token_nats(network, hidden[part], targets[part]).float()
    tokens = [read.text[start:end] for start, end in read.offsets.tolist()]
    return Logprobs(read.text, row.ids[row.loss], tokens, read.offsets, values.numpy())
