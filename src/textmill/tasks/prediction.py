"""What a model says of a record: one kind of value for each kind of answer, of plain data.

    Text      what it writes              Label, Labels   of the whole text, one or any number
    Spans     stretches of the text       Answer          the stretch that answers a question, or that none does
    Number    numbers                     Vector          where the text lies among others
    Refused   a record of which nothing could be said, and why

`row()` is what is written beside the record. Probabilities are rounded there to four digits: what stands beside a
record in its batch moves them by about 1e-7, and is nobody's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_DIGITS = 4  # of a probability
_PLACES = 6  # of a vector's numbers
Why = tuple[
    tuple[str, float], ...
]  # n-grams of a text, and what each adds to the answer (to the logit of a label)
REFUSED = "(refused)"  # what stands for a label of a record that was refused: it is none


def _rounded(p: float) -> float:
    return round(p, _DIGITS)


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was written. score: what answers are ranked by (natural log), where they are; others: the next best,
    (text, score) each. cut: tokens of the source that were not read, where it was allowed to cut it."""

    text: str
    score: float | None = None
    others: tuple[tuple[str, float | None], ...] = ()
    cut: int = 0

    def row(self) -> dict[str, Any]:
        """The text; its score and the others where others were asked for."""
        plain: dict[str, Any] = {"text": self.text}
        if self.others:
            plain |= {"score": _score(self.score)}
            plain |= {"others": [{"text": text, "score": _score(score)} for text, score in self.others]}
        return plain | ({"cut": self.cut} if self.cut else {})


def _because(why: Why) -> dict[str, Any]:
    each = [{"ngram": ngram, "weight": round(weight, _DIGITS)} for ngram, weight in why]
    return {"why": each} if each else {}


@dataclass(frozen=True, slots=True)
class Label:
    """The likeliest label, its probability, and the next ones, (label, probability) each."""

    label: str
    p: float
    others: tuple[tuple[str, float], ...] = ()
    why: Why = ()

    def row(self) -> dict[str, Any]:
        """Label and probability."""
        plain: dict[str, Any] = {"label": self.label, "p": _rounded(self.p), **_because(self.why)}
        return plain | (
            {"others": [{"label": label, "p": _rounded(p)} for label, p in self.others]}
            if self.others
            else {}
        )


@dataclass(frozen=True, slots=True)
class Labels:
    """Any number of labels, each with its probability; others: the likeliest of those that are not said. why: of the
    likeliest of all."""

    labels: tuple[tuple[str, float], ...]
    others: tuple[tuple[str, float], ...] = ()
    why: Why = ()

    def row(self) -> dict[str, Any]:
        """The labels that hold, and how likely each is."""
        plain: dict[str, Any] = {"labels": [label for label, _ in self.labels]}
        plain |= {"p": [_rounded(p) for _, p in self.labels], **_because(self.why)}
        return plain | (
            {"others": [{"label": label, "p": _rounded(p)} for label, p in self.others]}
            if self.others
            else {}
        )


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch [start, end) of characters of a text, what it is, and how likely it is so, if that is known."""

    start: int
    end: int
    label: str
    text: str
    p: float | None = None

    def row(self) -> dict[str, Any]:
        """As plain data."""
        plain: dict[str, Any] = {"start": self.start, "end": self.end, "label": self.label, "text": self.text}
        return plain | ({} if self.p is None else {"p": _rounded(self.p)})


@dataclass(frozen=True, slots=True)
class Spans:
    """Stretches of a text. words: its words, each with its tag; `spans` are the entities that the tags mark, or the
    same words where they mark none."""

    spans: tuple[Span, ...]
    words: tuple[Span, ...] = ()

    def row(self) -> dict[str, Any]:
        """The stretches."""
        return {"spans": [span.row() for span in self.spans]}


@dataclass(frozen=True, slots=True)
class Answer:
    """The stretch [start, end) of characters of `field` that answers a question; text None: it does not say.

    p: how likely it is; others: the next best, themselves without others.
    """

    text: str | None
    start: int | None = None
    end: int | None = None
    p: float | None = None
    field: str = "passage"
    others: tuple[Answer, ...] = ()

    def row(self) -> dict[str, Any]:
        """The answer, where it stands, and how likely it is."""
        plain: dict[str, Any] = {"answer": self.text, "start": self.start, "end": self.end}
        if self.p is not None:
            plain["p"] = _rounded(self.p)
        return plain | ({"others": [other.row() for other in self.others]} if self.others else {})


@dataclass(frozen=True, slots=True)
class Number:
    """What is measured of a text. why: of the first number."""

    values: tuple[float, ...]
    why: Why = ()

    def row(self) -> dict[str, Any]:
        """The number, or the list of them."""
        values = [round(value, _PLACES) for value in self.values]
        return {"number": values[0] if len(values) == 1 else values, **_because(self.why)}


@dataclass(frozen=True, slots=True)
class Vector:
    """A text as a vector. cut: tokens of the text that were not read, since the model reads no more."""

    values: tuple[float, ...]
    cut: int = 0

    def row(self) -> dict[str, Any]:
        """The vector."""
        plain: dict[str, Any] = {"vector": [round(value, _PLACES) for value in self.values]}
        return plain | ({"cut": self.cut} if self.cut else {})


@dataclass(frozen=True, slots=True)
class Refused:
    """A record of which nothing was said. index: its number among those given, from 0; place: where it stands in its
    file; reason: one of few fixed phrases, and `detail` what is particular here."""

    reason: str
    detail: str = ""
    index: int = 0
    place: str = ""

    def row(self) -> dict[str, Any]:
        """Why."""
        return {"refused": str(self)}

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Prediction = Text | Label | Labels | Spans | Answer | Number | Vector


def _score(score: float | None) -> float | None:
    return None if score is None else round(score, _DIGITS)
