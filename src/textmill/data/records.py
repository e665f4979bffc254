"""What supervised objectives take from a document: its text and its metadata, as ids and labels, or why not.

A reader takes documents and gives, for each, a Record or the reason it cannot be used: one of few fixed phrases.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from textmill.data.batch import IGNORE
from textmill.specs.objective import (
    ClassifyObjective,
    PairsObjective,
    RegressObjective,
    SpanObjective,
    TagObjective,
)
from textmill.text.document import Document
from textmill.tokenization.tokenizer import without_surrogates

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_BLANKS_OR_COMMAS = re.compile(r"[\s,，、]+")


@dataclass(frozen=True, eq=False)
class Record:
    """fields: values by name; bytes: UTF-8 bytes of what is to be said, or of the text where that is a label."""

    fields: Mapping[str, np.ndarray]
    bytes: int


class _Labels:
    """Labels numbered in the order they come, or, where they are known beforehand, as they are known."""

    def __init__(self, known: tuple[str, ...] | None) -> None:
        self._open = known is None
        self._number = {label: number for number, label in enumerate(known or ())}

    def take(self, labels: Sequence[str]) -> np.ndarray | None:
        """Their numbers, or None when one of them is unknown."""
        if self._open:
            for label in labels:
                self._number.setdefault(label, len(self._number))
        elif any(label not in self._number for label in labels):
            return None
        return np.array([self._number[label] for label in labels], dtype=np.int64)

    def settled(self) -> tuple[tuple[str, ...], np.ndarray | None]:
        """The labels in the order of their final numbers, and (old number) -> final number."""
        labels = tuple(self._number)
        if not self._open:
            return labels, None
        order = sorted(labels)
        final = {label: number for number, label in enumerate(order)}
        return tuple(order), np.array([final[label] for label in labels], dtype=np.int64)


class Reader:
    """schema: dtype of each field; numbered: fields that hold numbers of labels."""

    schema: ClassVar[Mapping[str, str]] = {}
    numbered: tuple[str, ...] = ()

    def __init__(self, spec: Any, tokenizer: Any, labels: tuple[str, ...] | None) -> None:
        self.spec, self.tokenizer = spec, tokenizer
        self._labels = _Labels(labels)
        ids = "uint16" if tokenizer.vocabulary <= 1 << 16 else "uint32"
        self.fields = {name: ids if dtype == "ids" else dtype for name, dtype in self.schema.items()}

    def labels(self) -> tuple[tuple[str, ...] | None, np.ndarray | None]:
        """The labels by their numbers, and where each went that was numbered as it came."""
        return self._labels.settled() if self.numbered else (None, None)

    def read(self, documents: list[Document]) -> Iterator[Record | str]:
        """A record for each document, in order, or the reason why not."""
        made = [self.wanted(document) for document in documents]
        texts = [text for item in made if not isinstance(item, str) for text in item[0]]
        encoded = iter(self.tokenizer.encode_many(texts))
        for item in made:
            if isinstance(item, str):
                yield item
            else:
                texts, finish = item
                yield finish([next(encoded) for _ in texts])

    def wanted(
        self, document: Document
    ) -> tuple[list[str], Callable[[list[np.ndarray]], Record | str]] | str:
        """The texts to encode, and what makes a record of their ids."""
        raise NotImplementedError

    def _metadata(self, document: Document, name: str) -> str | None:
        value = document.metadata.get(name)
        return None if value is None else _clean(value)


def text_of(document: Document, role: str) -> str | None:
    """A document's text in a role, as the tokenizer reads it; None where it has none."""
    text = document.texts.get(role)
    return None if text is None else _clean(text)


def _lacks(role: str, text: str | None) -> str:
    """Why a text cannot be used that is not there, or blank."""
    return f"no {role}" if text is None else f"the {role} is empty"


class PairsReader(Reader):
    """source, target: ids of both."""

    schema: ClassVar = {"source": "ids", "target": "ids"}

    def wanted(self, document: Document) -> Any:
        """Source and target."""
        spec = self.spec
        source, target = text_of(document, spec.source), text_of(document, spec.target)
        if not target or not target.strip():
            return _lacks(spec.target, target)
        if not source or not source.strip():
            return _lacks(spec.source, source)

        def finish(ids: list[np.ndarray]) -> Record | str:
            if not all(len(part) for part in ids):
                return "no token is left"
            return Record({"source": ids[0], "target": ids[1]}, _bytes(target))

        return [source, target], finish


class _TextReader(Reader):
    """text: its ids; value: what is to be said of it."""

    def value(self, document: Document) -> np.ndarray | str:
        """The label or number, or why it cannot be used."""
        raise NotImplementedError

    def wanted(self, document: Document) -> Any:
        """The text."""
        text = text_of(document, self.spec.text)
        if not text or not text.strip():
            return _lacks(self.spec.text, text)

        def finish(ids: list[np.ndarray]) -> Record | str:
            if not len(ids[0]):
                return "no token is left"
            value = self.value(document)
            return value if isinstance(value, str) else Record({"text": ids[0], "value": value}, _bytes(text))

        return [text], finish


class ClassifyReader(_TextReader):
    """value: numbers of its labels, one, or with `multiple` any number, each once."""

    schema: ClassVar = {"text": "ids", "value": "int32"}
    numbered = ("value",)

    def value(self, document: Document) -> np.ndarray | str:
        """The labels' numbers."""
        name = self.spec.label
        label = self._metadata(document, name)
        if label is None:
            return f"no {name}"
        if self.spec.multiple:
            labels = list(dict.fromkeys(part for part in _BLANKS_OR_COMMAS.split(label) if part))
        elif label.strip():
            labels = [label.strip()]
        else:
            return f"the {name} is empty"
        numbers = self._labels.take(labels)
        return f"the {name} is none of the training part" if numbers is None else numbers


class RegressReader(_TextReader):
    """value: the number."""

    schema: ClassVar = {"text": "ids", "value": "float64"}

    def value(self, document: Document) -> np.ndarray | str:
        """The number, written as numbers are in programs: `-1.5e3`; no grouping, no comma, no unit."""
        name = self.spec.label
        text = self._metadata(document, name)
        if text is None:
            return f"no {name}"
        if not _NUMBER.fullmatch(text.strip()) or not math.isfinite(number := float(text)):
            return f"the {name} is no number"
        return np.array([number])


class TagReader(Reader):
    """text: ids; value: the tag of each, IGNORE for all but the first token of a word."""

    schema: ClassVar = {"text": "ids", "value": "int32"}
    numbered = ("value",)

    def wanted(self, document: Document) -> Any:
        """Every word by itself, with the blank before it, so that tokens never cross words."""
        name = self.spec.tags
        tags = self._metadata(document, name)
        text = text_of(document, self.spec.text)
        if tags is None:
            return f"no {name}"
        if not text or not text.strip():
            return _lacks(self.spec.text, text)
        words = text.split()
        if len(words) != len(tags.split()):
            return f"there are not as many {name} as words"

        def finish(ids: list[np.ndarray]) -> Record | str:
            if not all(len(part) for part in ids):
                return "a word has no token"
            numbers = self._labels.take(tags.split())
            if numbers is None:
                return f"one of the {name} is none of the training part"
            sizes = np.array([len(part) for part in ids])
            value = np.full(int(sizes.sum()), IGNORE, dtype=np.int64)
            value[np.cumsum(sizes) - sizes] = numbers
            return Record({"text": np.concatenate(ids), "value": value}, _bytes(" ".join(words)))

        return words_as_read(words, self.tokenizer), finish


class AnswerReader(Reader):
    """text, question: ids of passage and question; value: first and last token of the answer in the passage."""

    schema: ClassVar = {"text": "ids", "question": "ids", "value": "int32"}

    def wanted(self, document: Document) -> Any:
        """The passage, what stands before the answer, and the answer; where it occurs several times, the first."""
        spec = self.spec
        text, question, answer = (text_of(document, role) for role in spec.roles)
        if text is None:
            return f"no {spec.passage}"
        if question is None or not question.strip():
            return f"no {spec.question}"
        if answer is None or not answer.strip():
            return f"no {spec.answer}"
        answer = answer.strip()
        place = text.find(answer)
        if place < 0:
            return f"the {spec.answer} does not stand in the {spec.passage}"
        parts = [] if lossless(self.tokenizer) else [text[:place], answer, text[place + len(answer) :]]

        def finish(ids: list[np.ndarray]) -> Record | str:
            span = self._by_bytes(ids[0], text, place, answer) if not parts else _by_parts(ids[0], ids[2:])
            if span is None or not len(ids[1]):
                return f"the {self.spec.answer} is not made of whole tokens"
            return Record({"text": ids[0], "question": ids[1], "value": np.array(span)}, _bytes(answer))

        return [text, question, *parts], finish

    def _by_bytes(self, ids: np.ndarray, text: str, place: int, answer: str) -> tuple[int, int]:
        """The tokens that hold any byte of the answer."""
        start = _bytes(text[:place])
        ends = np.cumsum([len(self.tokenizer.token_bytes(int(token))) for token in ids])
        return (
            int(np.searchsorted(ends, start, side="right")),
            int(np.searchsorted(ends, start + _bytes(answer), side="left")),
        )


def _by_parts(whole: np.ndarray, parts: list[np.ndarray]) -> tuple[int, int] | None:
    """The answer's tokens, if the text's are those of what stands before it, of itself and of what follows."""
    before, answer, _ = parts
    if not len(answer) or not np.array_equal(np.concatenate(parts), whole):
        return None
    return len(before), len(before) + len(answer) - 1


def lossless(tokenizer: Any) -> bool:
    """Whether a tokenizer's tokens stand for the text's bytes, every one of them; Textmill's own do."""
    return bool(getattr(tokenizer, "lossless", True))


def words_as_read(words: list[str], tokenizer: Any) -> list[str]:
    """Words as they are encoded one by one, to tag them: with the blank before each where blanks are bytes like any
    other. Who tags text must encode it in the same way."""
    if not lossless(tokenizer):
        return words
    return [word if place == 0 else f" {word}" for place, word in enumerate(words)]


def _clean(text: str) -> str:
    """Text as the tokenizer reads it, so that characters, bytes and tokens can be held against each other."""
    return text if text.isascii() else without_surrogates(text)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8"))


# What reads the documents of each supervised objective.
READERS: dict[str, type[Reader]] = {
    PairsObjective.kind: PairsReader,
    ClassifyObjective.kind: ClassifyReader,
    RegressObjective.kind: RegressReader,
    TagObjective.kind: TagReader,
    SpanObjective.kind: AnswerReader,
}
