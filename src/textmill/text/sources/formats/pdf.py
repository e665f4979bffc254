"""PDF: one document a file, its pages one after another; where each begins is metadata.

Read by pypdfium2 (extra `documents`): PDFium is the reader of Chrome, fuzzed for years, a dozen times as fast as
pypdf, and right about fonts, columns and Chinese where pypdf often is not; its licence is BSD and Apache, where
PyMuPDF's is AGPL. A PDF holds no paragraphs: lines are those of the page. Words broken at a line's end are joined where
that is what they were (`hyphens`); what was filled in or typed onto a page stands in its text (`pdf_notes`); files
within the file are read as files of their own; pages that are pictures are said, each.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from textmill.base.console import counted
from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.hyphens import BROKEN, unbroken
from textmill.text.sources.formats.pages import joined
from textmill.text.sources.formats.pdf_notes import attached, notes, placed
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside, deeper, read_whole

MISSING = SetAside("needs the extra `documents`", "pip install 'textmill[documents]'")
_NO_TEXT, _RECOGNISE = "holds no text", "run text recognition (OCR) on it"
_FEW = 100  # letters on a page that may be a picture with a stamp or a page number
_COVERED = 0.6  # share of such a page that pictures cover
_MOST_OBJECTS = 2_000  # of a page that are looked at for pictures
_MANY_LINES = 20  # a blank page has a frame or a rule at most
_BAD_PAGES = 100  # unreadable pages named before the rest of a file is given up
_WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD, fpdfview.h
_LAYOUT = str.maketrans({"\ufffe": BROKEN, "\0": None, "\f": None})
_ONE_AT_A_TIME = threading.Lock()  # PDFium is not safe to call from two threads


@dataclass
class _Read:
    """What comes of a file: its pages, what of them is not read, and the files within it."""

    pages: list[str] = field(default_factory=list)
    refused: list[tuple[int, str, str]] = field(default_factory=list)  # (page, reason, detail)
    files: list[tuple[str, bytes]] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected | Input]:
    """The one document of a .pdf file, every page of it that cannot be read, and the files within it."""
    content = read_whole(item)
    if b"%PDF-" not in content[:1024]:  # ISO 32000-1 annex H, note 13
        raise SetAside("is damaged, or not what its file extension says", "it does not begin like a PDF file")
    found = _read(item, content)
    try:
        text, starts = joined(unbroken(found.pages))
    except ImportError as error:
        raise MISSING from error
    if text.strip():
        known = found.properties
        metadata = facts(known.get("Title", ""), known.get("Author", ""), known.get("CreationDate", ""))
        yield collected(text, item.place, {**metadata, "pages": starts})
        for number, reason, detail in found.refused:
            yield Rejected(None, f"{item.place}:page {number}", "read", reason, detail)
    else:
        for number, reason, detail in found.refused:
            if reason != _NO_TEXT:
                yield Rejected(None, f"{item.place}:page {number}", "read", reason, detail)
        yield Rejected(None, item.place, "read", _NO_TEXT, f"its pages are pictures; {_RECOGNISE} first")
    taken: Counter[str] = Counter()
    for name, data in found.files:
        yield _attached(item, name, data, taken)


def _attached(item: Input, name: str, data: bytes, taken: Counter[str]) -> Input | Rejected:
    """A file within a PDF, at its own place."""
    item.budget.member()
    item.budget.charge(len(data))
    name = printable(name.replace("\\", "/").rpartition("/")[2][:200]).replace("!", "_") or "part"
    taken[name] += 1
    location = f"{item.place}!{name}" if taken[name] == 1 else f"{item.place}!{taken[name]}-{name}"
    try:
        return item.part(location, name, data, deeper(item))
    except SetAside as error:
        return Rejected(None, location, "read", error.reason, error.detail)


def _read(item: Input, data: bytes) -> _Read:
    try:
        import pypdfium2 as pdfium
        from pypdfium2 import raw
    except ImportError as error:
        raise MISSING from error
    with _ONE_AT_A_TIME:
        try:
            file = pdfium.PdfDocument(data)
        except pdfium.PdfiumError as error:
            if getattr(error, "err_code", 0) == _WRONG_PASSWORD:
                raise SetAside("is encrypted", "it has a password") from error
            raise SetAside("is damaged, or not what its file extension says", str(error)) from error
        try:
            if file.get_formtype() == raw.FORMTYPE_XFA_FULL:
                raise SetAside("is a form in XFA, which is not read", "print it to a new .pdf file")
            file.init_forms()
            found = _Read(properties=file.get_metadata_dict())
            _pages(file, item, found)
            found.files += [attached(file.get_attachment(at)) for at in range(file.count_attachments())]
            return found
        finally:
            file.close()


def _pages(file: Any, item: Input, found: _Read) -> None:
    """Adds the text of every page, and the numbers of those that cannot be read, with what is wrong."""
    deadline = Deadline(item.limits)
    size = bad = 0
    for number in range(1, len(file) + 1):
        deadline.check()
        try:
            text = _text(file, number, found)
        except (RuntimeError, ValueError, OSError) as error:
            found.refused.append((number, "is a page that cannot be read", str(error)[:300]))
            text = ""
            bad += 1
            if bad >= _BAD_PAGES:
                rest = f"nor is any after it read, {len(file)} in all"
                found.refused.append((number + 1, "is a page that cannot be read", rest))
                break
        found.pages.append(text)
        size += len(text)
        if size > item.limits.file_bytes:
            raise SetAside("is larger than limits.file_bytes", f"{size} characters on {number} pages")


def _text(file: Any, number: int, found: _Read) -> str:
    """The text of a page; what of it is not read is added to `found`."""
    page = file[number - 1]
    try:
        words = page.get_textpage()
        try:
            text = words.get_text_bounded(errors="replace").replace("\r", "")
            beside = notes(file, page)
            if beside.values:
                text = placed(
                    text,
                    beside.values,
                    lambda left, bottom, right, top: words.get_text_bounded(
                        left, bottom, right, top, errors="replace"
                    ),
                    page.get_width(),
                )
        finally:
            words.close()
        found.files += beside.files
        if beside.comments:
            count = beside.comments
            found.refused.append((number, "has comments, which are not read", counted(count, "comment")))
        if (letters := len("".join(text.split()))) < _FEW and (picture := _picture(page, letters)):
            found.refused.append((number, _NO_TEXT, picture))
    finally:
        page.close()
    return "\n".join(line.rstrip() for line in text.translate(_LAYOUT).split("\n")).strip("\n")


def _picture(page: Any, letters: int) -> str:
    """What is to be said of a page with hardly any text: that it is a picture, or drawn; empty for a blank one."""
    from pypdfium2 import raw

    area = page.get_width() * page.get_height() or 1
    covered, drawn = 0.0, 0
    for thing in itertools.islice(page.get_objects(max_depth=4), _MOST_OBJECTS):
        if thing.type == raw.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = thing.get_bounds()
            covered += abs((right - left) * (top - bottom)) / area
        drawn += thing.type in (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_SHADING)
    if letters:
        said = f"a picture with {letters} characters on it, which are read; {_RECOGNISE}"
        return said if covered > _COVERED else ""
    if covered:
        return f"a picture; {_RECOGNISE}"
    return f"drawings, or letters as outlines; {_RECOGNISE}" if drawn >= _MANY_LINES else ""
