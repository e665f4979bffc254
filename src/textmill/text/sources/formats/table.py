"""From one input to its documents, through whatever it is wrapped in.

`READERS` is the one table of file formats. A new format is one module and one line here: a function of an
Input and Fields that gives documents, what it sets aside, and further Inputs for what is inside.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from textmill.specs.corpus import LimitSpec, named
from textmill.text.document import TEXT, Document, Rejected, collected, printable
from textmill.text.sources.formats import (
    archive,
    columnar,
    delimited,
    epub,
    html,
    json_values,
    mail,
    notebook,
    office,
    pdf,
    plain,
    spreadsheet,
    subtitles,
    warc,
)
from textmill.text.sources.formats.stream import Budget, Exhausted, Fields, Input, SetAside

Reader = Callable[[Input, Fields], Iterator[Document | Rejected | Input]]

READERS: dict[str, Reader] = {
    # files within files
    ".zip": archive.zip_members,
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
    ".mhtml": mail.saved_page,
    ".mht": mail.saved_page,
    ".warc": warc.records,
    ".wet": warc.records,
    ".pdf": pdf.documents,
    ".epub": epub.documents,
    # office
    ".docx": office.word,
    ".docm": office.word,
    ".dotx": office.word,
    ".pptx": office.slides,
    ".pptm": office.slides,
    ".ppsx": office.slides,
    ".xlsx": spreadsheet.sheets,
    ".xlsm": spreadsheet.sheets,
    # mail
    ".eml": mail.message,
    ".mbox": mail.mailbox,
    # others
    ".ipynb": notebook.documents,
    ".srt": subtitles.timed_blocks,
    ".vtt": subtitles.timed_blocks,
    ".ass": subtitles.scripts,
    ".ssa": subtitles.scripts,
}


def reader(name: str) -> Reader:
    """What reads a file of this name: what its ending says, and otherwise it may be text."""
    _, dot, last = name.rpartition(".")
    return READERS.get(f".{last.lower()}" if dot else "", plain.documents)


# Readers of what holds neither pages nor PDF.
_NO_PAGES = {
    *(
        plain.documents,
        json_values.json_records,
        json_values.json_lines,
        delimited.table_rows,
        columnar.parquet_rows,
    ),
    *(columnar.arrow_rows, office.word, office.slides, spreadsheet.sheets, notebook.documents),
    *(subtitles.timed_blocks, subtitles.scripts),
}


def pages_in(name: str) -> bool:
    """Whether a file of this name may hold, or be, a page in HTML or a PDF."""
    return reader(name) not in _NO_PAGES


def open_file(
    path: Path,
    location: str,
    text_fields: tuple[str, ...] | None,
    limits: LimitSpec,
    metadata_fields: tuple[str, ...] = (),
) -> Iterator[Document | Rejected]:
    """The documents of one file on disk; what cannot be read comes as Rejected, and nothing is raised.

    text_fields: the columns of records that are their texts, each as `column` or `role=column`; None: `text`. What is
    no record has one text, of the first role. metadata_fields: the columns kept beside them; none named: all that are
    short.
    """
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
        fields = Fields(tuple(map(named, text_fields or (TEXT,))), tuple(map(named, metadata_fields)))
        try:
            yield from _documents(item, fields)
        except Exhausted as error:
            yield Rejected(None, location, "read", error.reason, error.detail)


def _documents(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The documents of an input. Raises Exhausted only; the outermost file is then given up."""
    role = fields.texts[0][0]
    try:
        for entry in reader(item.name)(item, fields):
            if isinstance(entry, Input):
                yield from _documents(entry, fields)
            elif isinstance(entry, Document) and role not in entry.texts:  # no record
                yield collected({role: entry.text}, entry.source, {**item.metadata, **entry.metadata})
            elif isinstance(entry, Document) and item.metadata:
                yield replace(entry, metadata={**item.metadata, **entry.metadata})
            else:
                yield entry
    except Exhausted:
        raise
    except SetAside as error:
        yield Rejected(None, item.place, "read", error.reason, error.detail)
    except Exception as error:  # the parsers of two dozen formats raise anything over hostile bytes
        detail = printable(f"{type(error).__name__}: {error}")[:300]
        yield Rejected(None, item.place, "read", "is damaged or not what its name says", detail)
