"""Sentences that are chosen, not written, as baselines of summaries and answers: the first ones, and BM25's best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textmill.tasks.prediction import Answer, Prediction, Text
from textmill.tasks.task import Baseline, Record
from textmill.text.bm25 import BM25
from textmill.text.sentences import sentences


def lead(count: int) -> Callable[[Sequence[Record]], Baseline]:
    """The first sentences of the source, so many."""

    def fit(records: Sequence[Record]) -> Baseline:
        return Baseline(f"the first {count} sentences" if count > 1 else "the first sentence", predict)

    def predict(records: Sequence[Record]) -> list[Prediction]:
        return [Text(" ".join(_split(record["source"])[:count])) for record in records]

    return fit


def central(records: Sequence[Record]) -> Baseline:
    """The sentence of the source that BM25 finds nearest to all others together."""

    def predict(records: Sequence[Record]) -> list[Prediction]:
        made: list[Prediction] = []
        for record in records:
            parts = _split(record["source"])
            index = BM25(parts)
            scores = [
                index.scores(" ".join(parts[:at] + parts[at + 1 :]))[at] / max(len(part), 1) ** 0.5
                for at, part in enumerate(parts)
            ]
            made.append(Text(parts[max(range(len(parts)), key=scores.__getitem__)] if parts else ""))
        return made

    return Baseline("BM25's best sentence", predict)


def answering(records: Sequence[Record]) -> Baseline:
    """The sentence of the passage that BM25 finds nearest to the question; always one."""

    def predict(records: Sequence[Record]) -> list[Prediction]:
        made: list[Prediction] = []
        for record in records:
            passage = record["passage"]
            places = sentences(passage) or [(0, len(passage))]
            scores = BM25([passage[start:end] for start, end in places]).scores(record["question"])
            start, end = places[int(scores.argmax())]
            made.append(Answer(passage[start:end], start, end))
        return made

    return Baseline("BM25's best sentence", predict)


def _split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]
