"""Reading chunks for the stretch of each that answers a question best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from textmill.inference.predictor import Predictor
from textmill.retrieval import grams
from textmill.tasks.prediction import Answer
from textmill.text.sentences import sentences


@dataclass(frozen=True)
class Stretch:
    """[start, end) characters of a chunk, and how likely it is that they answer, as far as the reader knows."""

    start: int
    end: int
    p: float


class Reader(Protocol):
    """What finds the best stretch of each of some texts; None where there is none."""

    id: str  # what a threshold that was fitted to it is kept under

    def read(self, question: str, texts: Sequence[str]) -> list[Stretch | None]:
        """(n,), one of each text."""
        ...


class Spans:
    """A model of the task `answer`, that gives an answer for every passage."""

    def __init__(self, predictor: Predictor, name: str) -> None:
        self._predictor, self.id = predictor, name

    def read(self, question: str, texts: Sequence[str]) -> list[Stretch | None]:
        """A text the model refuses has none."""
        said = self._predictor.predict({"question": question, "passage": text} for text in texts)
        return [
            Stretch(answer.start, answer.end, answer.p)
            if isinstance(answer, Answer)
            and answer.text
            and answer.start is not None
            and answer.end is not None
            and answer.p is not None
            else None
            for answer in said
        ]


class Sentences:
    """No model: of each text the sentence that fits the question best; p is the share of the question it holds."""

    id = "sentences"

    def read(self, question: str, texts: Sequence[str]) -> list[Stretch | None]:
        """A text without a sentence that shares anything with the question has none."""
        found = [(number, start, end) for number, text in enumerate(texts) for start, end in sentences(text)]
        fits = grams.fit(question, [texts[number][start:end] for number, start, end in found])
        best: list[Stretch | None] = [None] * len(texts)
        top = np.zeros(len(texts))
        for (number, start, end), score, held in zip(found, fits.whole, fits.held, strict=True):
            if score > top[number]:
                top[number], best[number] = score, Stretch(start, end, float(held))
        return best
