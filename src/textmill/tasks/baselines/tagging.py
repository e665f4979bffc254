"""The CRF over features as a baseline of taggers."""

from __future__ import annotations

from collections.abc import Sequence

from textmill.metrics import tags
from textmill.tasks import words
from textmill.tasks.baselines import feature_crf
from textmill.tasks.prediction import Prediction, Span, Spans
from textmill.tasks.task import Baseline, Record


def crf(records: Sequence[Record]) -> Baseline:
    """A CRF over features of words, trained on these records."""
    texts = [_words(record) for record in records]
    model = feature_crf.train(texts, [record["tags"].split() for record in records])
    marked = tags.marks_entities(model.tags)

    def predict(records: Sequence[Record]) -> list[Prediction]:
        found = model.predict([_words(record) for record in records])
        return [_spans(record, some, marked) for record, some in zip(records, found, strict=True)]

    return Baseline("a CRF over features", predict)


def _words(record: Record) -> list[str]:
    return [record["text"][start:end] for start, end in words.places(record["text"], record, "spaces")]


def _spans(record: Record, found: Sequence[str], marked: bool) -> Spans:
    text, places = record["text"], words.places(record["text"], record, "spaces")
    every = tuple(
        Span(start, end, tag, text[start:end]) for tag, (start, end) in zip(found, places, strict=True)
    )
    if not marked:
        return Spans(every, every)
    spans = [
        Span(every[first].start, every[last].end, kind, text[every[first].start : every[last].end])
        for first, last, kind in tags.entities(found)
    ]
    return Spans(tuple(spans), every)
