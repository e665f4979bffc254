"""Leaving out documents a person asked to forget: by id, by place, and by content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from textmill.base.files import content_id
from textmill.text.document import Document, Item, reject
from textmill.text.words import hashes

STEP, REASON = "forget", "forgotten on request"
INSIDE = re.compile("[!:]")  # what may follow a file's place in a document's: a member, a line, a page


@dataclass(frozen=True)
class Forgotten:
    """What no corpus is to hold again.

    ids: of documents. places: files, whatever stands in them by now. contents: `content_key` of documents, which are
    the same to a reader wherever they stand and however they are spaced.
    """

    ids: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    contents: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.ids or self.places or self.contents)

    def plain(self) -> dict[str, list[str]]:
        """As JSON."""
        return {name: sorted(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Forgotten:
        """From JSON."""
        return cls(**{name: frozenset(plain[name]) for name in cls.__dataclass_fields__})

    def holds(self, document: Document) -> bool:
        """Whether a document is to be left out."""
        return (
            document.id in self.ids
            or any(place in self.places for place in _around(document.source))
            or (bool(self.contents) and content_key(document) in self.contents)
        )


def content_key(document: Document) -> str:
    """What a document says, as 32 hex digits: its words, without case, signs and spaces between them. Empty where it
    has no words."""
    words = hashes(list(document.texts.values()))
    return content_id(words.hash.tobytes()) if len(words.hash) else ""


def _around(place: str) -> Iterator[str]:
    """A document's place, and those of the files it stands in: `mail.zip!a/b.txt`, `mail.zip`."""
    yield place
    for mark in INSIDE.finditer(place):
        yield place[: mark.start()]


@dataclass(frozen=True)
class Forget:
    """A document step that skips what is to be forgotten, and keeps no word of it.

    It comes first, since an id is the hash of the text as collected: whatever cleaning would make of it, it is gone;
    and once more at the end, since of a file that is gone only the cleaned text is known. What is skipped says its id
    and its place only.
    """

    forgotten: Forgotten

    def __call__(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Document) and self.forgotten.holds(item):
                yield reject(replace(item, texts={}, metadata={}), STEP, REASON)
            else:
                yield item
