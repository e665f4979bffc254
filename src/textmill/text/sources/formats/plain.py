"""Text, Markdown, code and anything else that turns out to be text: one file, one document."""

from __future__ import annotations

from collections.abc import Iterator

from textmill.text.document import Document, collected
from textmill.text.sources.formats.advice import markup, unread
from textmill.text.sources.formats.encoding import decode, refuse_binary
from textmill.text.sources.formats.stream import BLOCK, Fields, Input, SetAside, read_whole


def documents(item: Input, fields: Fields) -> Iterator[Document]:
    """The one document of a text file. Raises SetAside when it is not text, or too large."""
    head = item.stream.read(BLOCK)
    refusal = unread(item.name)
    try:
        refuse_binary(head)  # a large film is refused before it is read to its end
    except SetAside as error:
        raise refusal or error from error
    if refusal and markup(head):
        raise refusal
    data = read_whole(item, head)
    try:
        text, encoding = decode(data, item.name, item.charset)
    except SetAside as error:
        raise refusal or error from error
    metadata = {} if encoding in ("utf-8", "utf-8-sig") else {"encoding": encoding}
    yield collected(text, item.place, metadata)
