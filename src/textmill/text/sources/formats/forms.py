"""The forms of records, in one table: what a record of JSON, of a table or of columns becomes.

A form is a function of a record, its place and Fields that gives the record's documents, and in its place what is wrong
with it. Without one, a record is one document of the texts that Fields names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats import chat, preference, records, spans, squad
from textmill.text.sources.formats.stream import Fields

Form = Callable[[Any, str, Fields], Iterator[Document | Rejected]]
ROW = "row"  # no recipe names it: the whole record, as JSON, for who hands records on


def row(record: Any, location: str, fields: Fields) -> Iterator[Document | Rejected]:
    """All that a record holds, as it was read, under one role."""
    if isinstance(record, dict):
        yield Document("", {ROW: json.dumps(record, ensure_ascii=False, default=str)}, location)
    else:
        yield records.unread(location, "is not a record", "a JSON object was expected")


AS_WRITTEN = (
    "as-written"  # no format of a recipe: for who is to find out what records hold (sources/sample.py)
)


def _as_written(record: Any, location: str, fields: Fields) -> Iterator[Document | Rejected]:
    """All of a record, as JSON."""
    yield collected({fields.role: json.dumps(record, ensure_ascii=False)}, location)


FORMS: dict[str, Form] = {
    AS_WRITTEN: _as_written,
    "spans": spans.documents,
    "squad": squad.documents,
    "chat": chat.documents,
    "preference": preference.documents,
    ROW: row,
}


def documents(record: Any, location: str, fields: Fields) -> Iterator[Document | Rejected]:
    """What a record at a place holds."""
    form = FORMS.get(fields.format or "")
    if form is not None:
        yield from form(record, location, fields)
        return
    made = records.document(record, location, fields)
    if isinstance(made, Rejected) and fields.format is None and (likely := looks_like(record)):
        made = records.unread(location, made.reason, f'{made.detail}; it looks like format = "{likely}"')
    yield made


def looks_like(record: Any) -> str:
    """The form that a record is probably in, to be named in a message; empty where it is in none."""
    if not isinstance(record, dict):
        return ""
    if {"chosen", "rejected"} <= record.keys() or {"prompt", "completion", "label"} <= record.keys():
        return "preference"
    if any(isinstance(record.get(name), list) for name in ("messages", "conversations")) or (
        "instruction" in record and "output" in record
    ):
        return "chat"
    articles = record.get("data")
    if "paragraphs" in record or isinstance(articles, list) or isinstance(record.get("answers"), dict):
        return "squad"
    return "spans" if isinstance(articles, dict) and "annotations" in record else ""
