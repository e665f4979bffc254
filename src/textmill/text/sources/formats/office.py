"""Word and PowerPoint (Office Open XML, ECMA-376), read straight from their parts.

python-docx and python-pptx build an object for every run through lxml and pass over footnotes, text boxes and
what stands in nested tables; for text alone the events of expat are quicker, bounded in memory, and need no
library. Paragraphs are set apart by an empty line, list items begin with a bullet, the cells of a table are
separated by tabs and its rows by lines. Hidden and deleted text, comments, headers and footers are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from textmill.text.document import Document, collected
from textmill.text.sources.formats.package import Package, package
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside
from textmill.text.sources.formats.xml_events import attribute, events, related

# What is no text of the document: properties, the older twin of a drawing, text moved elsewhere.
_PASSED = frozenset(("tabs", "Fallback", "moveFrom", "sectPr"))
_MARKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_CLOCKS = ("slidenum", "datetime")  # fields a slide fills in by itself
_GAPS = re.compile(r"\n{3,}")


def word(item: Input, fields: Fields) -> Iterator[Document]:
    """The one document of a .docx file: its body, then its footnotes and endnotes."""
    with package(item) as parts:
        main = parts.start("word/document.xml")
        notes = sorted(
            (kind, part)
            for kind, part in parts.related(main).values()
            if kind in ("footnotes", "endnotes") and part in parts
        )
        pieces = [_part(parts, part, "\n\n") for part in (main, *(part for _, part in reversed(notes)))]
        yield _document(item, "\n\n".join(filter(None, pieces)), parts.facts())


def slides(item: Input, fields: Fields) -> Iterator[Document]:
    """The one document of a .pptx file, slide by slide, each with its notes; where slides begin is metadata."""
    with package(item) as parts:
        main = parts.start("ppt/presentation.xml")
        targets = parts.related(main)
        order = [related(element.attributes) for element in parts.elements(main) if element.name == "sldId"]
        pieces = []
        for name in order:
            kind, part = targets.get(name, ("", ""))
            if kind == "slide":
                notes = [
                    note
                    for kind, note in parts.related(part).values()
                    if kind == "notesSlide" and note in parts
                ]
                pieces.append("\n".join(filter(None, (_part(parts, each, "\n") for each in (part, *notes)))))
        text, starts = joined(pieces)
        yield _document(item, text, {**parts.facts(), "slides": starts})


def joined(pieces: list[str]) -> tuple[str, str]:
    """Pages as one text, an empty line between them, and the character each begins at, as `0 1820 4011`."""
    starts, at = [], 0
    for piece in pieces:
        starts.append(at)
        at += len(piece) + 2 if piece else 0
    return "\n\n".join(filter(None, pieces)), " ".join(map(str, starts))


def _document(item: Input, text: str, metadata: dict[str, str]) -> Document:
    if not text.strip():
        raise SetAside("holds no text")
    return collected(text, item.place, metadata)


def _part(parts: Package, name: str, gap: str) -> str:
    with parts.open(name) as stream:
        return _GAPS.sub("\n\n", _text(stream, parts.deadline, gap)).strip("\n")


class _Sink:
    """Text on its way out: into paragraphs, or, inside tables, into cells."""

    def __init__(self, gap: str) -> None:
        self._gap = gap
        self._out: list[str] = []
        self._paragraph: list[str] = []
        self._cells: list[str] = []
        self._tables = 0
        self.item = False  # whether the paragraph is an item of a list

    def add(self, text: str) -> None:
        self._paragraph.append(text)

    def end_paragraph(self) -> None:
        if self._tables:
            self._paragraph.append(" ")
            return
        text = "".join(self._paragraph).rstrip()
        self._paragraph.clear()
        if text:
            self._out.append(f"• {text.lstrip()}\n" if self.item else f"{text}{self._gap}")
        self.item = False

    def begin_table(self) -> None:
        if not self._tables:
            self.end_paragraph()  # of what stands around it: tables in text boxes
        self._tables += 1

    def end_table(self) -> None:
        self._tables = max(0, self._tables - 1)
        if not self._tables:
            self.item = False
            self._out.append("\n")

    def end_cell(self) -> None:
        if self._tables == 1:
            self._cells.append(" ".join("".join(self._paragraph).split()))
            self._paragraph.clear()

    def end_row(self) -> None:
        if self._tables == 1:
            line = "\t".join(self._cells)
            self._cells.clear()
            if line.strip():
                self._out.append(f"{line}\n")

    def text(self) -> str:
        self._tables = 0
        self.end_paragraph()
        return "".join(self._out)


def _text(stream: BinaryIO, deadline: Deadline, gap: str) -> str:
    """The text of a part in WordprocessingML or DrawingML, which share the names that matter.

    gap: what ends a paragraph.
    """
    sink = _Sink(gap)
    ends = {
        "p": sink.end_paragraph,
        "tbl": sink.end_table,
        "tc": sink.end_cell,
        "tr": sink.end_row,
    }
    passed = ""  # the element that is passed over, with all in it
    nested = 0  # elements of that name within it
    within_text = hidden = paragraph_mark = False
    for event, name, attributes in events(stream, deadline):
        if passed:
            nested += (event == "start" and name == passed) - (event == "end" and name == passed)
            if not nested:
                passed = ""
        elif event == "text":
            if within_text and not hidden:
                sink.add(name)
        elif event == "start":
            if name == "t":
                within_text = True
            elif name in _MARKS:
                sink.add(_MARKS[name])
            elif name in _PASSED or (name == "fld" and attributes.get("type", "").startswith(_CLOCKS)):
                passed, nested = name, 1
            elif name == "numPr":
                sink.item = True
            elif name == "tbl":
                sink.begin_table()
            elif name == "pPr":
                paragraph_mark = True  # may be hidden without its paragraph
            elif name == "vanish" and not paragraph_mark:
                hidden = attribute(attributes, "val") not in ("0", "false", "off")
        elif name == "t":
            within_text = False
        elif name == "r":
            hidden = False
        elif name == "pPr":
            paragraph_mark = False
        elif name in ends:
            ends[name]()
    return sink.text()
