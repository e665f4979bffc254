"""What supervised objectives take from a document, as ids and labels, or why it cannot be used.

A reader takes documents and gives, for each, a Record or the reason it was skipped: one of few fixed phrases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from textmill.data.buckets import BucketLoader
from textmill.data.codec import Codec, Text
from textmill.data.examples import ExampleStore, Record
from textmill.data.loader import Batching
from textmill.data.record_view import PAIR
from textmill.text.document import Document
from textmill.tokenization.characters import without_surrogates
from textmill.tokenization.protocol import AnyTokenizer


class Numbering:
    """Labels numbered in the order they come; where those of the training split are known, after them.

    A label that no training record has gets a number too: no model predicts it, so such a record counts as wrong.
    """

    def __init__(self, known: tuple[str, ...] | None) -> None:
        self._known = known
        self._number = {label: number for number, label in enumerate(known or ())}

    def take(self, labels: Sequence[str]) -> np.ndarray:
        """Their numbers."""
        return np.array(
            [self._number.setdefault(label, len(self._number)) for label in labels], dtype=np.int64
        )

    def settled(self) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray | None]:
        """The labels of the training split in the order of their final numbers, those it lacks, numbered after them,
        and (old number) -> final number where numbers change."""
        labels = tuple(self._number)
        if self._known is not None:
            return self._known, labels[len(self._known) :], None
        order = sorted(labels)
        final = {label: number for number, label in enumerate(order)}
        return tuple(order), (), np.array([final[label] for label in labels], dtype=np.int64)


class Reader:
    """What an objective takes from documents.

    schema   dtype of each field, that of the text first; "ids" are as wide as the vocabulary asks
    numbered fields that hold numbers of labels, as `numbering` gives them out
    written  which of the texts of a record are to be written, by their place in `wanted`
    decided  fields of the objective's spec that decide what records hold: others change no store
    """

    schema: ClassVar[Mapping[str, str]] = {}
    numbered: tuple[str, ...] = ()
    written: ClassVar[tuple[int, ...]] = ()
    decided: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        spec: Any,
        tokenizer: AnyTokenizer,
        labels: tuple[str, ...] | None = None,
        codec: Codec | None = None,
    ) -> None:
        """labels: those of the training split, for the other parts: a record with any other is skipped there. Left
        out: the labels that occur, sorted. codec: with a chat template and the longest row, where conversations are
        read."""
        self.spec, self.tokenizer, self.codec = spec, tokenizer, codec or Codec(tokenizer)
        self.numbering = Numbering(labels)
        ids = "uint16" if tokenizer.vocabulary <= 1 << 16 else "uint32"
        self.fields = {name: ids if dtype == "ids" else dtype for name, dtype in self.schema.items()}

    def labels(self) -> tuple[tuple[str, ...] | None, tuple[str, ...], np.ndarray | None]:
        """What `Numbering.settled` says of labels; None where records have none."""
        return self.numbering.settled() if self.numbered else (None, (), None)

    def read(self, documents: list[Document]) -> Iterator[Record | str]:
        """A record for each document, in order, or the reason why not."""
        made = [self.wanted(document) for document in documents]
        encoded = self._encoded(
            [pair for item in made if not isinstance(item, str) for pair in enumerate(item[0])]
        )
        for item in made:
            if isinstance(item, str):
                yield item
            else:
                texts, finish = item
                yield finish([next(encoded) for _ in texts])

    def _encoded(self, texts: list[tuple[int, str]]) -> Iterator[Text]:
        """Texts cut, each with its place in a record."""
        read, written = (
            iter(
                self.codec.encode(
                    [text for place, text in texts if (place in self.written) == asked], target=asked
                )
            )
            for asked in (False, True)
        )
        for place, _ in texts:
            yield next(written if place in self.written else read)

    def wanted(self, document: Document) -> tuple[list[str], Callable[[list[Text]], Record | str]] | str:
        """The texts to encode, and what makes a record of them."""
        raise NotImplementedError

    def text(self, document: Document, role: str) -> str | None:
        """A text as the tokenizer reads it, so that characters, bytes and tokens can be held against each other."""
        return _clean(document.texts.get(role))

    def fact(self, document: Document, name: str) -> str | None:
        """What is known of a document and is no text of it: a label, a number."""
        return _clean(document.metadata.get(name))


class TextReader(Reader):
    """text: its ids; pair: those of a second text, where what is said is of two; value: what is to be said."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        if self.spec.pair is not None:  # after the text, and before what is said
            text, *others = self.fields.items()
            self.fields = dict((text, (PAIR, text[1]), *others))

    def value(self, document: Document) -> np.ndarray | str:
        """The label or number, or why it cannot be used."""
        raise NotImplementedError

    def wanted(self, document: Document) -> Any:
        """The text, or both."""
        texts = {role: self.text(document, role) for role in self.spec.roles}
        for role, text in texts.items():
            if not text or not text.strip():
                return lacks(role, text)

        def finish(read: list[Text]) -> Record | str:
            if not all(map(len, read)):
                return "no token is left"
            value = self.value(document)
            if isinstance(value, str):
                return value
            names = [name for name in self.fields if name != "value"]
            written = sum(size(text) for text in texts.values() if text)
            ids = {name: text.ids for name, text in zip(names, read, strict=True)}
            return Record({**ids, "value": value}, written)

        return list(texts.values()), finish


def lacks(role: str, text: str | None) -> str:
    """Why a text cannot be used that is not there, or blank."""
    return f"no {role}" if text is None else f"the {role} is empty"


def _clean(text: str | None) -> str | None:
    return text if text is None or text.isascii() else without_surrogates(text)


def size(text: str) -> int:
    """UTF-8 bytes."""
    return len(text.encode("utf-8"))


def loader_of(view: Any) -> Callable[..., BucketLoader]:
    """A loader of the rows a view makes of records, those of nearly equal length together; packing plays no part."""

    def loader(spec: Any, store: ExampleStore, how: Batching) -> BucketLoader:
        most = spec.batch_tokens
        rows = view(spec, store, how.sequence, how.tokens)
        return BucketLoader(rows, batch=None if most else how.batch, batch_tokens=most, seed=how.seed)

    return loader
