"""Columns as CoNLL has them: a word and its tags a line, an empty line between sentences, each one document.

    EU      NNP  B-ORG
    rejects VBZ  O

Columns are parted by tabs where a line has one, else by spaces. The word is the first column and the tag the last, or
what `columns = { text = 2, tags = 4, pos = 3 }` says; other columns that are named are tags beside it. A line
`-DOCSTART-` begins a document (the metadata `document` counts them); comments begin with `#` and have other columns
than words. A sentence whose lines are wrong is skipped at its first line, with the line that is.

Words have a space between them, but for hanzi and kana, and keep their places (`text.marks`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from textmill.text.document import Document, Rejected, collected
from textmill.text.marks import ALIGNED, TAGS, WORDS, Place, written
from textmill.text.sources.formats.lines import (
    Lines,
    refuse_binary_records,
    sound,
    text_encoding,
    text_stream,
)
from textmill.text.sources.formats.records import held, name_of, unread, utf8
from textmill.text.sources.formats.stream import BLOCK, Fields, Input, SetAside
from textmill.text.words import ALONE_CHARACTERS

_DOCUMENT = "-DOCSTART-"
_SPACES = re.compile(r"[ \t]+")
_CLOSED_UP = re.compile(rf"[{ALONE_CHARACTERS}]")
_UNIVERSAL = 10  # columns of CoNLL-U, whose ids of words are numbers; 1-2 and 1.1 stand for none


def sentences(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The sentences of a file of columns."""
    head = item.stream.read(BLOCK)
    refuse_binary_records(head)
    lines = Lines(text_stream(item, head, text_encoding(head)), item.limits.file_bytes)
    sentence = _Sentence(fields)
    documents = 0
    while True:
        line = lines.next()
        text = line.lstrip("\ufeff") if isinstance(line, str) and lines.number == 1 else line
        if isinstance(text, str) and text.strip():
            if text.split()[0] == _DOCUMENT:
                documents += 1
                text = ""
            else:
                sentence.add(lines.number, text)
                continue
        elif isinstance(text, SetAside):
            sentence.add(lines.number, text)
            continue
        if sentence:
            yield sentence.made(item.place, {"document": str(documents)} if documents else {})
            sentence = _Sentence(fields, sentence.width)
        if text is None:
            return


class _Sentence:
    """The lines of a sentence as they come. width: columns a line must have, as the first of the file has; 0: any."""

    def __init__(self, fields: Fields, width: int = 0) -> None:
        self._fields, self.width = fields, width
        self._tags = fields.tags or TAGS
        self._rows: list[list[str]] = []
        self._first = 0
        self._wrong: SetAside | None = None

    def __bool__(self) -> bool:
        return bool(self._rows) or self._wrong is not None

    def add(self, number: int, line: str | SetAside) -> None:
        """The next line, which is not empty."""
        if isinstance(line, SetAside):
            return self._note(number, line)
        line = line.rstrip("\r\n")
        parts = line.split("\t") if "\t" in line else _SPACES.split(line.strip(" "))
        row = [part.strip() for part in parts]
        if line.startswith("#") and (len(row) != self.width if self.width else not _is_word(line, row)):
            return None
        if not sound(line):
            return self._note(number, SetAside("is not valid in the encoding of its file"))
        self.width = self.width or len(row)
        if len(row) == _UNIVERSAL and "\t" in line and not row[0].isdecimal():
            return None  # CoNLL-U: several words that are written as one, or one that is not written
        self._first = self._first or number
        if len(row) != self.width:
            return self._note(
                number,
                SetAside(
                    "has another number of columns than the file",
                    f"line {number}: {len(row)}, not {self.width}",
                ),
            )
        self._rows.append(row)
        return None

    def _note(self, number: int, wrong: SetAside) -> None:
        self._first = self._first or number
        self._wrong = self._wrong or wrong

    def made(self, place: str, facts: dict[str, str]) -> Document | Rejected:
        """The document of the sentence, or what is wrong with it."""
        location = f"{place}:line {self._first}"
        if self._wrong is not None:
            return unread(location, self._wrong.reason, self._wrong.detail)
        fields = self._fields
        try:
            words = self._column(fields.column(fields.role, "#1"), "#1")
            tags = self._column(fields.column(self._tags, "#-1"), "#-1")
            others = {name: self._column(column, "") for name, column in fields.facts if name != self._tags}
        except SetAside as error:
            return unread(location, error.reason, error.detail)
        for number, (word, *marks) in enumerate(zip(words, tags, *others.values(), strict=True)):
            if not word or len(word.split()) > 1 or word.isspace():
                return unread(
                    location, "has a word that is empty or has spaces", f"word {number + 1}: {word!r}"
                )
            if any(not mark or len(mark.split()) > 1 for mark in marks):
                return unread(location, "has a word without a tag", f"word {number + 1}: {word!r}")
        text, places = joined([utf8(word) for word in words])
        marked = {self._tags: tags, **{name_of(name): marks for name, marks in others.items()}}
        metadata = {name: " ".join(map(utf8, marks)) for name, marks in marked.items()}
        return collected(
            {fields.role: text},
            location,
            facts | metadata | {WORDS: written(places), ALIGNED: " ".join(marked)},
        )

    def _column(self, column: str, otherwise: str) -> list[str]:
        """A column of the sentence. Raises SetAside where it has none such."""
        names = [f"#{number}" for number in range(1, self.width + 1)]
        name = held(names, column) or held(names, otherwise)
        if name is None:
            raise SetAside(f"has no column {column.lstrip('#')}", f"it has {self.width}, by number")
        at = names.index(name)
        return [row[at] for row in self._rows]


def _is_word(line: str, row: list[str]) -> bool:
    """Whether the first line of a file that begins with `#` is a word, and no comment."""
    return "\t" in line or (len(row) == 2 and (row[1] == "O" or row[1][1:2] == "-"))


def joined(words: list[str]) -> tuple[str, list[Place]]:
    """Words as a text, and where each stands in it: with a space between them, but for hanzi and kana.

    >>> joined(["去", "北", "京", "by", "train"])
    ('去北京by train', [(0, 1), (1, 2), (2, 3), (3, 5), (6, 11)])
    """
    pieces: list[str] = []
    places: list[Place] = []
    at = 0
    for word in words:
        if pieces and not (_CLOSED_UP.match(word) or _CLOSED_UP.match(pieces[-1][-1])):
            pieces.append(" ")
            at += 1
        pieces.append(word)
        places.append((at, at + len(word)))
        at += len(word)
    return "".join(pieces), places
