"""The forms of records, in one table: what a record of JSON, of a table or of columns becomes.

A form is a function of a record, its place and Fields that gives the record's documents, and in its place what is wrong
with it. Without one, a record is one document of the texts that Fields names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from textmill.text.document import Document, Rejected
from textmill.text.sources.formats import chat, preference, records, spans, squad
from textmill.text.sources.formats.stream import Fields

Form = Callable[[Any, str, Fields], Iterator[Document | Rejected]]

FORMS: dict[str, Form] = {
    "spans": spans.documents,
    "squad": squad.documents,
    "chat": chat.documents,
    "preference": preference.documents,
}


def documents(record: Any, location: str, fields: Fields) -> Iterator[Document | Rejected]:
    """What a record at a place holds."""
    form = FORMS.get(fields.format or "")
    if form is None:
        yield records.document(record, location, fields)
    else:
        yield from form(record, location, fields)
