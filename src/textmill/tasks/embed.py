"""Texts as vectors: the closer their meaning, the closer they lie.

A text longer than the model reads is read up to there, and its vector says how much was not.

Shapes: B texts, T tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import Codec, at_once, by_length, padded
from textmill.decoding.prompt import device_of
from textmill.metrics.score import Bootstrap, Figures, Score, share
from textmill.models.heads import POOLED, Headed
from textmill.models.pretrained import Pretrained
from textmill.models.sentences import Sentences
from textmill.models.vectors import scaled
from textmill.objectives.embed import EMBED as OBJECTIVE
from textmill.specs.model import TRAINED
from textmill.tasks.prediction import Prediction, Refused, Vector
from textmill.tasks.task import Field, Options, Record, Task, text_of


@dataclass(frozen=True, eq=False)
class Read:
    """The ids of a text that are read, in the frame its tokenizer puts around it, and how many were left out."""

    ids: np.ndarray
    cut: int


def rows(model: Pretrained, texts: Sequence[str], how: Sentences) -> list[Read]:
    """What is read of each text. Raises TextmillError when the model has no states, or what is put before a text leaves
    no room for it."""
    if model.spec.kind not in TRAINED:
        raise TextmillError(f"a {model.spec.kind} model has no states to embed a text with")
    codec = _codec(model, how)
    reads = []
    for text in codec.encode([how.read(text) for text in texts]):
        whole = codec.source(text)
        read = whole.windows[0].ids
        reads.append(Read(read if len(read) else np.array([codec.tokenizer.end]), len(whole) - len(read)))
    skipped = _skipped(codec, how)
    if skipped and min(len(read.ids) for read in reads) <= skipped:
        raise TextmillError(
            f"the prompt before a text takes {skipped} tokens, which leaves no room for the text",
            where="embed",
        )
    return reads


@torch.inference_mode()
def vectors(model: Pretrained, reads: Sequence[Read], how: Sentences) -> np.ndarray:
    """(B, D) float32, each the vector of its text alone."""
    skipped, found = _skipped(_codec(model, how), how), torch.zeros(0, 0)
    for batch in by_length([len(read.ids) for read in reads], at_once(device_of(model.model))):
        part = _vectors(model, [reads[number].ids for number in batch], how, skipped)
        if not found.numel():
            found = torch.zeros(len(reads), part.shape[1])
        found[batch] = part
    return found.numpy()


def longest(model: Pretrained, how: Sentences) -> int:
    """Most tokens of a text that are read."""
    return min(how.tokens or model.longest, model.longest)


def _codec(model: Pretrained, how: Sentences) -> Codec:
    """From texts to rows no longer than either says."""
    return replace(model.codec, context=longest(model, how))


def _skipped(codec: Codec, how: Sentences) -> int:
    """States at the beginning of each row that are not pooled: of what is put before a text, with what the tokenizer
    puts before that, as sentence-transformers counts them; where both run together in one token, it is the text's."""
    if how.pools_before or not how.before:
        return 0
    return len(codec.source(how.read(""))) - min(1, len(codec.special.tail))


def _vectors(model: Pretrained, rows: Sequence[np.ndarray], how: Sentences, skipped: int) -> Tensor:
    """(B, D) float32. skipped: states at the beginning of each row that are not pooled."""
    ids, real = padded(rows, model.tokenizer.pad or 0)
    device = device_of(model.model)
    inputs, mask = (
        torch.from_numpy(ids).to(device),
        None if real is None else torch.from_numpy(real).to(device),
    )
    body: Any = model.model.body if isinstance(model.model, Headed) else model.model
    if model.reads_source:
        states = body.encode(inputs, mask)
    else:
        states = body.hidden(Batch(inputs, torch.full_like(inputs, IGNORE), mask))
    states = states.float()[:, skipped:]
    mask = None if mask is None else mask[:, skipped:]
    return scaled(POOLED[how.pooling](states, mask), how).cpu()


def prepare(pretrained: Pretrained, records: Sequence[Record], options: Options) -> list[Read | Refused]:
    """What is read of texts."""
    texts = [text_of(record, "text") for record in records]
    known = [text for text in texts if isinstance(text, str)]
    reads = iter(rows(pretrained, known, options.sentences or Sentences()) if known else [])
    return [text if isinstance(text, Refused) else next(reads) for text in texts]


def predict(pretrained: Pretrained, reads: Sequence[Read], options: Options) -> list[Prediction]:
    """The vectors."""
    if not reads:
        return []
    made = vectors(pretrained, reads, options.sentences or Sentences()).tolist()
    return [Vector(tuple(vector), read.cut) for vector, read in zip(made, reads, strict=True)]


def gold(record: Record) -> None:
    """No vector is right by itself."""


def metrics(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> dict[str, Score]:
    """Nothing is measured of vectors alone."""
    return {}


def figures(predictions: Sequence[Any], records: Sequence[Record]) -> Figures:
    """Nothing is measured of vectors alone."""
    return Figures("nothing", np.zeros((len(records), 1)), share(0, 0))


EMBED = Task(
    name="embed",
    summary="texts as vectors, near where they mean alike",
    fields=(Field("text", "the text to turn into a vector"),),
    objectives=dict.fromkeys(OBJECTIVE.spec.families, OBJECTIVE.kind),
    prepare=prepare,
    predict=predict,
    gold=gold,
    metrics=metrics,
    figures=figures,
    purpose="Finding texts that mean alike.",
)
