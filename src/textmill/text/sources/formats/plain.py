"""Text, Markdown, code and anything else that turns out to be text: one file, one document."""

from __future__ import annotations

import re
from collections.abc import Iterator

from textmill.base.console import counted
from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats.advice import markup, unread
from textmill.text.sources.formats.encoding import decode, refuse_binary
from textmill.text.sources.formats.stream import BLOCK, Fields, Input, SetAside, read_whole

# A file written into a text (RFC 2397), as Markdown's editors do with pictures; short ones may be examples.
_EMBEDDED = re.compile(r"(data:[\w.+-]+/[\w.+-]+(?:;[\w=-]+)*;base64,)[A-Za-z0-9+/]{400,}={0,2}")


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The one document of a text file, without files embedded in it. Raises SetAside for no text, and for too much."""
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
    text, embedded = _EMBEDDED.subn(r"\1", text) if ";base64," in text else (text, 0)
    metadata = {} if encoding in ("utf-8", "utf-8-sig") else {"encoding": encoding}
    yield collected(text, item.place, metadata)
    if embedded:
        files = f"{counted(embedded, 'file')} in base64, such as pictures"
        yield Rejected(None, item.place, "read", "has embedded files, which are skipped", files)
