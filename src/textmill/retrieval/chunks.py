"""A document cut into chunks: whole sentences, as many as make up some size, each with its place in the document.

Places are characters of the text as it was collected, so that what is cited can be held against the file. Nothing but
white space lies between chunks.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from textmill.text.sentences import sentences
from textmill.text.words import ALONE_CHARACTERS

SIZE = 800  # of a chunk: its characters, where a hanzi or kana counts as three
_ALONE = re.compile(f"[{ALONE_CHARACTERS}]")
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a document, [start, end) characters."""

    start: int
    end: int


def chunks(text: str, size: int = SIZE) -> list[Chunk]:
    """The chunks of a text, in order.

    A chunk ends with the sentence that fills it, or with a paragraph once it is half full; a sentence that is longer
    by itself is cut between words.

    >>> [(chunk.start, chunk.end) for chunk in chunks("One is here. Two is there. Three.", size=20)]
    [(0, 12), (13, 33)]
    """
    found: list[Chunk] = []
    start = end = weight = 0

    def close() -> None:
        nonlocal weight
        if weight:
            found.append(Chunk(start, end))
        weight = 0

    for first, last in _pieces(text, size):
        more = weigh(text[end if weight else first : last])
        half_full = 2 * weight >= size and _PARAGRAPH.search(text, end, first) is not None
        if weight and (weight + more > size or half_full):
            close()
        if not weight:
            start, more = first, weigh(text[first:last])
        end, weight = last, weight + more
    close()
    return found


def _pieces(text: str, size: int) -> Iterator[tuple[int, int]]:
    """Sentences, and the pieces of those that are longer than a chunk."""
    for start, end in sentences(text):
        at = start
        while weigh(text[at:end]) > size:
            cut = at + size
            while cut > at + 1 and weigh(text[at:cut]) > size:
                cut = at + (cut - at) // 2
            blank = max(text.rfind(" ", at + 1, cut), text.rfind("\n", at + 1, cut))
            piece = text[at : blank if blank > at else cut]
            yield at, at + len(piece.rstrip())
            rest = text[at + len(piece) : end]
            at = end - len(rest.lstrip())
        if at < end:
            yield at, end


def weigh(text: str) -> int:
    """The size of a text: its characters, where a hanzi or kana counts as three."""
    return len(text) if text.isascii() else len(text) + 2 * len(_ALONE.findall(text))


def page_of(place: int, pages: tuple[int, ...]) -> int | None:
    """The page a character stands on, from 1; pages: the character each begins at. None where there are no pages."""
    return bisect_right(pages, place) or None
