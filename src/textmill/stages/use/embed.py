"""A text as one vector, such that texts which mean alike lie near each other.

Shapes: B texts, T tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from textmill.base.errors import RecipeError

if TYPE_CHECKING:
    from textmill.models.pretrained import Pretrained
    from textmill.models.sentences import Pooling, Sentences

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
    from textmill.models.sentences import Sentences

    own = (sentences.settings(path) if path.is_dir() else None) or Sentences()
    if pooling is not None:
        if pooling not in POOLINGS:
            raise RecipeError(f"{pooling!r} is none of {', '.join(POOLINGS)}", where="pooling")
        own = replace(own, pooling=POOLINGS[pooling])
    return own if normalise is None else replace(own, normalised=normalise)


def embed(model: Pretrained, texts: Sequence[str], how: Sentences) -> Embeddings:
    """The vectors of texts, each that of the text alone. Raises RecipeError for no texts, TextmillError when the model
    has no states."""
    from textmill.tasks import embed as task

    if not texts:
        raise RecipeError("no text to embed", where="TEXT", advice="give at least one")
    reads = task.rows(model, texts, how)
    vectors = task.vectors(model, reads, how)
    name = next(name for name, pooling in POOLINGS.items() if pooling == how.pooling)
    read, left_out = [len(each.ids) for each in reads], [each.cut for each in reads]
    return Embeddings(vectors, read, left_out, task.longest(model, how), name, how.normalised)
