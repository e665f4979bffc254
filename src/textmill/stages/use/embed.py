"""A text as one vector, such that texts which mean alike lie near each other.

Shapes: B texts, T tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.base.errors import RecipeError, TextmillError
from textmill.specs.model import TRAINED

if TYPE_CHECKING:
    from torch import Tensor

    from textmill.data.codec import Codec
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
    codec = _codec(model, how)
    rows, left_out = _rows(codec, texts, how)
    skipped = 0 if how.pools_before or not how.before else _length_before(codec, how)
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
    return Embeddings(vectors.numpy(), read, left_out, codec.context or model.longest, name, how.normalised)


def _codec(model: Pretrained, how: Sentences) -> Codec:
    """From texts to rows no longer than either says."""
    return replace(model.codec, context=min(how.tokens or model.longest, model.longest))


def _rows(codec: Codec, texts: Sequence[str], how: Sentences) -> tuple[list[np.ndarray], list[int]]:
    """The ids of each text, in the frame its tokenizer puts around it, and how many of each had to be left out."""
    rows, left_out = [], []
    for text in codec.encode([how.read(text) for text in texts]):
        whole = codec.source(text)
        read = whole.windows[0].ids
        rows.append(read if len(read) else np.array([codec.tokenizer.end]))
        left_out.append(len(whole) - len(read))
    return rows, left_out


def _length_before(codec: Codec, how: Sentences) -> int:
    """Tokens that what is put before a text takes by itself, with what the tokenizer puts before that; as
    sentence-transformers counts them: where the two run together in one token, it is the text's."""
    return len(codec.source(how.read(""))) - min(1, len(codec.special.tail))


def _vectors(model: Pretrained, rows: Sequence[np.ndarray], how: Sentences, skipped: int) -> Tensor:
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
    vectors = POOLED[how.pooling](states, mask)
    return functional.normalize(vectors, dim=-1) if how.normalised else vectors
