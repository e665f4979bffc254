"""From one input to its documents, through whatever it is wrapped in.

`READERS` is the one table of file formats. A new format is one module and one line here: a function of an
Input and Fields that gives documents, what it skips, and further Inputs for what is inside.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from textmill.specs.corpus import LimitSpec
from textmill.text.document import TEXT, Document, Rejected, collected
from textmill.text.sources.formats import (
    archive,
    columnar,
    conll,
    delimited,
    epub,
    html,
    json_values,
    mail,
    notebook,
    pdf,
    plain,
    sniff,
    spreadsheet,
    subtitles,
    warc,
    xml_books,
)
from textmill.text.sources.formats.advice import REASON, unread
from textmill.text.sources.formats.office import compound, opendocument, outlook, rtf, slides, word
from textmill.text.sources.formats.stream import Budget, Exhausted, Fields, Input, SetAside, guarded

Reader = Callable[[Input, Fields], Iterator[Document | Rejected | Input]]

READERS: dict[str, Reader] = {
    # files within files
    ".zip": archive.zip_members,
    ".htmlz": archive.zip_members,
    ".maff": archive.zip_members,
    ".fbz": archive.zip_members,
    ".tar": archive.tar_members,
    ".tgz": archive.unpacked,
    ".tbz": archive.unpacked,
    ".tbz2": archive.unpacked,
    ".txz": archive.unpacked,
    ".gz": archive.unpacked,
    ".bz2": archive.unpacked,
    ".xz": archive.unpacked,
    ".lzma": archive.unpacked,
    ".zst": archive.unpacked,
    # records
    ".json": json_values.json_records,
    ".jsonl": json_values.json_lines,
    ".ndjson": json_values.json_lines,
    ".csv": delimited.table_rows,
    ".tsv": delimited.table_rows,
    ".parquet": columnar.parquet_rows,
    ".arrow": columnar.arrow_rows,
    ".feather": columnar.arrow_rows,
    # pages and books
    ".html": html.documents,
    ".htm": html.documents,
    ".xhtml": html.documents,
    ".xht": html.documents,
    ".mhtml": mail.saved_page,
    ".mht": mail.saved_page,
    ".warc": warc.records,
    ".wet": warc.records,
    ".pdf": pdf.documents,
    ".epub": epub.documents,
    ".fb2": xml_books.fiction_book,
    ".dtbook": xml_books.daisy,
    ".tei": xml_books.tei,
    ".docbook": xml_books.docbook,
    ".dbk": xml_books.docbook,
    ".jats": xml_books.jats,
    ".nxml": xml_books.jats,
    ".rss": xml_books.feed,
    ".atom": xml_books.feed,
    # office
    ".docx": word.documents,
    ".docm": word.documents,
    ".dotx": word.documents,
    ".dotm": word.documents,
    ".pptx": slides.documents,
    ".pptm": slides.documents,
    ".ppsx": slides.documents,
    ".ppsm": slides.documents,
    ".potx": slides.documents,
    ".potm": slides.documents,
    **dict.fromkeys(opendocument.EXTENSIONS, opendocument.documents),
    ".rtf": rtf.documents,
    **dict.fromkeys(compound.EXTENSIONS, compound.documents),
    ".tnef": outlook.wrapped,
    ".xlsx": spreadsheet.sheets,
    ".xlsm": spreadsheet.sheets,
    ".xltx": spreadsheet.sheets,
    ".xltm": spreadsheet.sheets,
    # mail
    ".eml": mail.message,
    ".emlx": mail.apple_message,
    ".mbox": mail.mailbox,
    # others
    ".ipynb": notebook.documents,
    ".srt": subtitles.timed_blocks,
    ".vtt": subtitles.timed_blocks,
    ".ass": subtitles.scripts,
    ".ssa": subtitles.scripts,
    ".sbv": subtitles.timed_blocks,
    ".sub": subtitles.lines,
    ".lrc": subtitles.lines,
    ".ttml": xml_books.timed_text,
    ".dfxp": xml_books.timed_text,
}


def reader(name: str) -> Reader:
    """What reads a file of this name: what its ending says, and otherwise it may be text."""
    _, dot, last = name.rpartition(".")
    return READERS.get(f".{last.lower()}" if dot else "", plain.documents)


def reader_of(name: str, head: bytes) -> Reader:
    """What reads a file of this name that begins so: its content decides where its name says something else.

    Raises SetAside for what nothing reads.
    """
    form = sniff.extension(name, head)
    if not form:
        return reader(name)
    if f".{form}" not in READERS:
        raise unread(f"a.{form}") or SetAside(REASON, f"a .{form} file")
    return READERS[f".{form}"]


# What reads a file that holds a form of records, whatever its name says; other forms are records of JSON or of tables.
FORMATS: dict[str, Reader] = {
    "table": delimited.table_rows,
    "json": json_values.json_records,
    "conll": conll.sentences,
}
RECORDS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
_PACKED = (archive.zip_members, archive.tar_members, archive.unpacked)


def _formatted(name: str, head: bytes, format: str) -> Reader:
    """What reads a file in a source whose files hold a form of records."""
    found = reader_of(name, head)
    if found in _PACKED:
        return found
    if format in FORMATS:
        return FORMATS[format]
    return found if found in map(READERS.__getitem__, RECORDS) else json_values.json_records


# Readers of what holds neither pages, PDF nor files of any form within.
_NO_PAGES = {
    *(
        plain.documents,
        json_values.json_records,
        json_values.json_lines,
        delimited.table_rows,
        columnar.parquet_rows,
    ),
    *(columnar.arrow_rows, spreadsheet.sheets, notebook.documents),
    *(subtitles.timed_blocks, subtitles.scripts, subtitles.lines),
}


def may_hold_pages(path: Path) -> bool:
    """Whether a file may hold, or be, a page in HTML or a PDF: by its name, and by how it begins."""
    try:
        with open(path, "rb") as stream:
            return reader_of(path.name, stream.read(sniff.HEAD)) not in _NO_PAGES
    except (OSError, SetAside):
        return False


def open_file(
    path: Path, location: str, fields: Fields | None, limits: LimitSpec
) -> Iterator[Document | Rejected]:
    """The documents of one file on disk; what cannot be read comes as Rejected, and nothing is raised.

    fields: how its records become documents; None: by their `text`. What is no record has one text, of the first role.
    """
    fields = fields or Fields()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise SetAside("is not a regular file")
        stream = open(path, "rb")  # noqa: SIM115 (closed below)
    except SetAside as error:
        yield Rejected(None, location, "read", error.reason)
        return
    except OSError as error:
        yield Rejected(None, location, "read", "cannot be opened", error.strerror or str(error))
        return
    with stream:
        item = Input(location, path.name, stream, Budget(status.st_size, limits), status.st_size)
        try:
            yield from _documents(item, fields)
        except Exhausted as error:
            yield Rejected(None, location, "read", error.reason, error.detail)


def _entries(item: Input, fields: Fields) -> Iterator[Document | Rejected | Input]:
    """What the reader of an input gives; choosing it may raise what reading does."""
    head = sniff.beginning(item)
    read = _formatted(item.name, head, fields.format) if fields.format else reader_of(item.name, head)
    yield from read(item, fields)


def _documents(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The documents of an input. Raises Exhausted only; the outermost file is then given up."""
    role = fields.role
    for entry in guarded(_entries(item, fields), item.place):
        if isinstance(entry, Input):
            yield from _documents(entry, fields)
        elif isinstance(entry, Document) and role != TEXT and list(entry.texts) == [TEXT]:  # no record
            yield collected({role: entry.text}, entry.source, {**item.metadata, **entry.metadata})
        elif isinstance(entry, Document) and item.metadata:
            yield replace(entry, metadata={**item.metadata, **entry.metadata})
        else:
            yield entry
