"""PDF: one document a file, its pages one after another; where each begins is metadata.

Read by pypdfium2 (extra `documents`): PDFium is the reader of Chrome, fuzzed for years, a dozen times as fast as
pypdf, and right about fonts, columns and Chinese where pypdf often is not; its licence is BSD and Apache, where
PyMuPDF's is AGPL. A PDF holds no paragraphs: lines are those of the page. Words broken at a line's end are joined.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.pages import joined
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside, read_whole

MISSING = SetAside("needs the documents extra", "pip install 'textmill[documents]'")
_BAD_PAGES = 100  # unreadable pages named before the rest of a file is given up
_WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD, fpdfview.h
_LAYOUT = str.maketrans({"\r": None, "\x02": None, "\ufffe": None, "\xad": None, "\0": None, "\f": None})
_ONE_AT_A_TIME = threading.Lock()  # PDFium is not safe to call from two threads


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The one document of a .pdf file, and every page of it that cannot be read."""
    try:
        import pypdfium2 as pdfium
    except ImportError as error:
        raise MISSING from error
    data = read_whole(item)
    if b"%PDF-" not in data[:1024]:  # ISO 32000-1 annex H, note 13
        raise SetAside("is damaged or not what its name says", "it does not begin as a PDF file does")
    with _ONE_AT_A_TIME:
        try:
            file = pdfium.PdfDocument(data)
        except pdfium.PdfiumError as error:
            if getattr(error, "err_code", 0) == _WRONG_PASSWORD:
                raise SetAside("is encrypted", "it has a password") from error
            raise SetAside("is damaged or not what its name says", str(error)) from error
        try:
            properties = file.get_metadata_dict()
            pages, bad = _pages(file, item)
        finally:
            file.close()
    for number, detail in bad:
        yield Rejected(None, f"{item.place}:page {number}", "read", "is a page that cannot be read", detail)
    text, starts = joined(pages)
    if not text.strip():
        raise SetAside("holds no text", "its pages are pictures; have their text recognised (OCR) first")
    metadata = facts(
        properties.get("Title", ""), properties.get("Author", ""), properties.get("CreationDate", "")
    )
    yield collected(text, item.place, {**metadata, "pages": starts})


def _pages(file: Any, item: Input) -> tuple[list[str], list[tuple[int, str]]]:
    """The text of every page, and the numbers of those that cannot be read, with what is wrong."""
    deadline = Deadline(item.limits)
    pages: list[str] = []
    bad: list[tuple[int, str]] = []
    size = 0
    for number in range(len(file)):
        deadline.check()
        try:
            text = _text(file[number])
        except (RuntimeError, ValueError, OSError) as error:
            bad.append((number + 1, str(error)[:300]))
            text = ""
            if len(bad) >= _BAD_PAGES:
                bad.append((number + 2, f"nor is any after it read, {len(file)} in all"))
                break
        pages.append(text)
        size += len(text)
        if size > item.limits.file_bytes:
            raise SetAside("is larger than limits.file_bytes", f"{size} characters on {number + 1} pages")
    return pages, bad


def _text(page: Any) -> str:
    try:
        words = page.get_textpage()
        try:
            text = words.get_text_bounded(errors="replace")
        finally:
            words.close()
    finally:
        page.close()
    return "\n".join(line.rstrip() for line in text.translate(_LAYOUT).split("\n")).strip("\n")
