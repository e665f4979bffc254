"""How likely a language model finds a text, token by token.

Shapes: n tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textmill.base.errors import TextmillError
from textmill.tokenization.tokenizer import without_surrogates

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
    from textmill.data.special import opening
    from textmill.objectives.loss import token_nats
    from textmill.tokenization.load import PretrainedTokenizer, Tokenizer

    tokenizer = model.tokenizer
    if not model.writes or model.reads_source or not isinstance(tokenizer, (PretrainedTokenizer, Tokenizer)):
        raise TextmillError(
            f"a model of kind {model.spec.kind!r} does not continue text, so it gives tokens no probability"
        )
    text = without_surrogates(text)
    ids = tokenizer.encode(text).astype("int64")
    offsets = tokenizer.offsets(text)
    lead = list(opening(tokenizer))
    if (length := len(lead) - 1 + len(ids)) > model.spec.context:
        raise TextmillError(
            f"the text takes {length} tokens and the model reads {model.spec.context}",
            where="text",
            advice="split it into shorter texts",
        )
    network: Any = model.model
    rows = torch.tensor([[*lead, *ids.tolist()]])
    values = torch.zeros(len(ids))
    if len(ids):
        with torch.inference_mode():
            inputs, targets = rows[:, :-1], rows[0, len(lead) :]
            hidden = network.hidden(Batch(inputs, rows[:, 1:]))[0, len(lead) - 1 :]
            most = max(1, _MOST_LOGITS // network.vocabulary)
            for start in range(0, len(ids), most):
                part = slice(start, start + most)
                values[part] = -token_nats(network, hidden[part], targets[part]).float()
    tokens = [text[start:end] for start, end in offsets.tolist()]
    return Logprobs(text, ids, tokens, offsets, values.numpy())
