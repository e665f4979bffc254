"""A text as one vector, such that texts which mean alike lie near each other.

Shapes: B texts, T tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.base.errors import RecipeError, TextmillError
from textmill.specs.model import TRAINED

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from textmill.interop.huggingface.sentences import Pooling, Sentences
    from textmill.models.pretrained import Pretrained

_BATCH_TOKENS = 8192  # read at once, padding included
POOLINGS: dict[str, Pooling] = {"cls": "first", "mean": "mean", "last": "last", "max": "max"}


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Texts as vectors.

    vectors     (B, D) float32, in the order of the texts
    tokens      read of each text, what its tokenizer puts around it included
    left_out    tokens of each text that were not read, since the text is longer than the model reads: of its end
    longest     tokens of a text that the model reads
    pooling     which states stand for a text: cls, mean, last or max; normalised: whether the vectors have length 1
    """

    vectors: np.ndarray
    tokens: list[int]
    left_out: list[int]
    longest: int
    pooling: str
    normalised: bool

    @property
    def cut(self) -> int:
        """How many texts lost their ends."""
        return sum(map(bool, self.left_out))


def settings(path: Path, pooling: str | None = None, normalise: bool | None = None) -> Sentences:
    """How the model at `path` embeds texts: what its directory says, or the mean of the states, scaled to length 1;
    unless `pooling` and `normalise` say it otherwise.

    Raises RecipeError for an unknown pooling, TextmillError where the directory asks for what is not supported.
    """
    from textmill.interop.huggingface import sentences

    own = (sentences.settings(path) if path.is_dir() else None) or sentences.Sentences()
    if pooling is not None:
        if pooling not in POOLINGS:
            raise RecipeError(f"{pooling!r} is none of {', '.join(POOLINGS)}", where="pooling")
        own = replace(own, pooling=POOLINGS[pooling])
    return own if normalise is None else replace(own, normalised=normalise)


def embed(model: Pretrained, texts: Sequence[str], how: Sentences) -> Embeddings:
    """The vectors of texts, each that of the text alone. Raises RecipeError for no texts, TextmillError when the model
    has no states."""
    import torch

    from textmill.data.codec import by_length

    if model.spec.kind not in TRAINED:
        raise TextmillError(f"a {model.spec.kind} model has no states to embed a text with")
    if not texts:
        raise RecipeError("no text to embed", where="TEXT", advice="give at least one")
    rows, left_out, longest = _rows(model, texts, how)
    skipped = 0 if how.pools_before or not how.before else _length_before(model, how)
    if min(map(len, rows)) <= skipped:
        raise TextmillError(
            f"the prompt before a text takes {skipped} tokens, which leaves no room for the text",
            where="embed",
        )
    vectors = torch.zeros(0, 0)
    with torch.inference_mode():
        for batch in by_length([len(row) for row in rows], _BATCH_TOKENS):
            part = _vectors(model, [rows[number] for number in batch], how, skipped)
            if not vectors.numel():
                vectors = torch.zeros(len(rows), part.shape[1])
            vectors[batch] = part
    name = next(name for name, pooling in POOLINGS.items() if pooling == how.pooling)
    read = [len(row) for row in rows]
    return Embeddings(vectors.numpy(), read, left_out, longest, name, how.normalised)


def _rows(model: Pretrained, texts: Sequence[str], how: Sentences) -> tuple[list[list[int]], list[int], int]:
    """The ids of each text, in the frame its tokenizer puts around it, how many of each had to be left out, and how
    many fit."""
    from textmill.decoding.prompt import longest_source
    from textmill.interop.huggingface.texts import reading_of

    tokenizer = model.tokenizer
    context = longest_source(model.spec) if model.reads_source else model.spec.context
    reading = reading_of(model.model, tokenizer)
    prefix, suffix = list(reading.before), list(reading.after)
    longest = min(how.tokens or context, context)
    room = longest - len(prefix) - len(suffix)
    if room < 1:
        raise TextmillError(f"reads {context} tokens only, which leaves no room for a text")
    ids = [row.tolist() for row in tokenizer.encode_many([how.read(text) for text in texts])]
    rows = [prefix + row[:room] + suffix for row in ids]
    return [row or [tokenizer.end] for row in rows], [max(0, len(row) - room) for row in ids], longest


def _length_before(model: Pretrained, how: Sentences) -> int:
    """Tokens that what is put before a text takes by itself, with what the tokenizer puts before that; as
    sentence-transformers counts them: where the two run together in one token, it is the text's."""
    from textmill.interop.huggingface.texts import reading_of

    reading = reading_of(model.model, model.tokenizer)
    return len(reading.before) + len(model.tokenizer.encode(how.read(""))) + max(0, len(reading.after) - 1)


def _vectors(model: Pretrained, rows: Sequence[Sequence[int]], how: Sentences, skipped: int) -> Tensor:
    """(B, D) float32. skipped: states at the beginning of each row that are not pooled."""
    import torch
    from torch.nn import functional

    from textmill.data.batch import IGNORE, Batch
    from textmill.data.codec import padded
    from textmill.models.heads import POOLED, Headed

    ids, real = padded(rows, model.tokenizer.pad or 0)
    inputs, mask = torch.from_numpy(ids), None if real is None else torch.from_numpy(real)
    body: Any = model.model.body if isinstance(model.model, Headed) else model.model
    if model.reads_source:
        states = body.encode(inputs, mask)
    else:
        states = body.hidden(Batch(inputs, torch.full_like(inputs, IGNORE), mask))
    states = states.float()[:, skipped:]
    mask = None if mask is None else mask[:, skipped:]
    if how.pooling == "max":
        hidden = states if mask is None else states.masked_fill(~mask[..., None], -torch.inf)
        vectors = hidden.amax(1)
    else:
        vectors = POOLED[how.pooling](states, mask)
    return functional.normalize(vectors, dim=-1) if how.normalised else vectors
