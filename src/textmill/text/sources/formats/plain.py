"""Text, Markdown, code and anything else that turns out to be text: one file, one document."""

from __future__ import annotations

from collections.abc import Iterator

from textmill.text.document import Document, collected
from textmill.text.sources.formats.encoding import decode, refuse_binary
from textmill.text.sources.formats.stream import BLOCK, Fields, Input, SetAside, read_whole

# Files of words in formats that are not read, and what to do about them.
_ADVICE = {
    "doc": "save it as .docx",
    "rtf": "save it as .docx",
    "odt": "save it as .docx",
    "pages": "save it as .docx",
    "wps": "save it as .docx",
    "xls": "save it as .xlsx",
    "xlsb": "save it as .xlsx",
    "ods": "save it as .xlsx",
    "numbers": "save it as .xlsx",
    "ppt": "save it as .pptx",
    "odp": "save it as .pptx",
    "key": "save it as .pptx",
    "msg": "save it as .eml",
    "pst": "export its messages as .eml or .mbox",
    "mobi": "convert it to .epub",
    "azw3": "convert it to .epub",
    "djvu": "convert it to .pdf",
    "chm": "convert it to .html",
    "rar": "pack it as .zip or .tar",
    "7z": "pack it as .zip or .tar",
}
_RICH_TEXT = b"{\\rtf"  # markup that looks like text


def documents(item: Input, fields: Fields) -> Iterator[Document]:
    """The one document of a text file. Raises SetAside when it is not text, or too large."""
    head = item.stream.read(BLOCK)
    advice = _ADVICE.get(item.name.lower().rpartition(".")[2], "")
    try:
        refuse_binary(head)  # a large film is refused before it is read to its end
    except SetAside as error:
        if not advice:
            raise
        raise SetAside("is not in a format that is read", advice) from error
    if head.startswith(_RICH_TEXT):
        raise SetAside("is not in a format that is read", advice or _ADVICE["rtf"])
    text, encoding = decode(read_whole(item, head), item.name, item.charset)
    metadata = {} if encoding in ("utf-8", "utf-8-sig") else {"encoding": encoding}
    yield collected(text, item.place, metadata)
