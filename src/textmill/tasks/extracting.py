"""Summaries of a text's own sentences: those that a model with a head for them is surest of, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from textmill.data.codec import Row
from textmill.models.pretrained import Pretrained
from textmill.objectives.extract import EXTRACT, chosen, joined, odds_of
from textmill.tasks import rows
from textmill.tasks.prediction import Prediction, Refused, Text
from textmill.tasks.task import Options, Record, text_of
from textmill.text.document import several
from textmill.text.sentences import sentences

_LOOKED_AT = 2000  # training summaries, for how many sentences they have


def prepare(pretrained: Pretrained, records: Sequence[Record], options: Options) -> list[Row | Refused]:
    """Texts cut sentence by sentence; a text longer than the model reads is read in windows of whole sentences."""
    codec, reads = rows.codec_of(pretrained), []
    for record in records:
        text = text_of(record, "source")
        row = text if isinstance(text, Refused) else codec.words(text, sentences(text))
        reads.append(row if isinstance(row, Refused) or len(row.texts[0]) else Refused("no token is left"))
    return reads


def predict(pretrained: Pretrained, reads: Sequence[Row], options: Options) -> list[Prediction]:
    """The sentences of each text that are kept; the score of a summary is the mean of their log odds."""
    codec, most = rows.codec_of(pretrained), int(pretrained.info.get("sentences", 1))
    found = rows.over_windows(pretrained, codec, reads, lambda batch: odds_of(pretrained.model(batch)))
    return [_summary(read, windows, most) for read, windows in zip(reads, found, strict=True)]


def _summary(read: Row, windows: Sequence[np.ndarray], most: int) -> Text:
    text = read.texts[0]
    assert text.words is not None
    places = sentences(text.text)
    odds = np.full(len(places), -np.inf)  # of a sentence without a token
    for row, values in zip(read.windows, windows, strict=True):
        there = np.flatnonzero(row.candidates)
        odds[text.words[row.at[there]]] = values[there]
    kept = chosen(odds, most)
    return Text(joined(text.text[slice(*places[number])] for number in kept), float(odds[kept].mean()))


def how(pretrained: Pretrained, options: Options) -> str:
    """How many sentences are kept, for a signature."""
    return f"{pretrained.info.get('sentences', 1)} of its sentences"


def tells(records: Iterable[Record]) -> dict[str, Any]:
    """As many sentences are kept as summaries usually have: the median of those trained on."""
    counts = [
        len(sentences(target))
        for record, _ in zip(records, range(_LOOKED_AT), strict=False)
        for target in several(record, "target")
    ]
    return {"sentences": max(1, int(np.median(counts)))} if counts else {}


OBJECTIVES = dict.fromkeys(EXTRACT.spec.families, EXTRACT.kind)
