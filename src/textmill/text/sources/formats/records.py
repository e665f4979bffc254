"""One record, one document: what files of JSON, of separated values and of columns have in common.

A record that lacks one of its texts is skipped at its place; the other scalar columns become the document's metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats.stream import Fields, SetAside

_LONGEST_METADATA = 1000  # characters of a column that may still be metadata
_LONGEST_INTEGER = 1 << 10  # binary digits: a longer one is slow to write out, and no one's metadata
_COLUMNS_NAMED = 12  # in a message
Items = Iterator[Document | Rejected]


def document(record: Any, location: str, fields: Fields) -> Document | Rejected:
    """The document of a record at a place, or why there is none."""
    if not isinstance(record, dict):
        return unread(location, "is not a record", f"a JSON object was expected, not {_kind(record)}")
    texts = {}
    for role, column in fields.texts:
        value = _value(record, column)
        if value is None and column not in record:
            lack = lacking("field", role, column, record)
            return unread(location, lack.reason, lack.detail)
        # An answer or a target may be a number; a text that stands alone is a mistake then.
        text = value if isinstance(value, str) else _said(value) if len(fields.texts) > 1 else None
        if text is None:
            return unread(location, f"field {column!r} is not text", _kind(value))
        texts[role] = text if text.isascii() and "\0" not in text else _sound(text)
    if not any(map(str.strip, texts.values())):
        return unread(location, "holds no text")
    return collected(texts, location, _metadata(record, fields))


def unread(location: str, reason: str, detail: str = "") -> Rejected:
    """A record that could not be read."""
    return Rejected(None, location, "read", reason, detail)


def lacking(kind: str, role: str, column: str, names: Iterable[Any]) -> SetAside:
    """What to say of a record or table with these names, none of which is the one that a text was to be under."""
    reason = f"has no {kind} {column!r}"
    there = [printable(str(name))[:40] for name in names]
    more = f" and {len(there) - _COLUMNS_NAMED} more" if len(there) > _COLUMNS_NAMED else ""
    if not there:
        return SetAside(reason, "it has none")
    advice = f'name the {role} in text_fields, such as "{role}={there[0]}"'
    return SetAside(reason, f"it has {', '.join(there[:_COLUMNS_NAMED])}{more}; {advice}")


def _metadata(record: Mapping[str, Any], fields: Fields) -> dict[str, str]:
    """The columns that were asked for, or else those small and plain enough to be metadata, as text."""
    if fields.metadata:
        named = ((name, _said(_value(record, column))) for name, column in fields.metadata)
        return {_utf8(name): _utf8(text) for name, text in named if text is not None}
    metadata, columns = {}, fields.columns
    for key, value in record.items():
        if key not in columns and not isinstance(value, list):
            text = value if isinstance(value, str) else _said(value)
            if text is not None and len(text) <= _LONGEST_METADATA:
                metadata[_utf8(key)] = _utf8(text)
    return metadata


def _value(record: Mapping[str, Any], column: str) -> Any:
    """What a record holds under a key, or under a path of keys such as `meta.url`; None where it holds nothing."""
    if column in record or "." not in column:
        return record.get(column)
    key, _, rest = column.partition(".")
    below = record.get(key)
    return _value(below, rest) if isinstance(below, dict) else None


def _said(value: Any) -> str | None:
    """A plain value, or a list of them, as text; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _LONGEST_INTEGER else None
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list):
        return ", ".join(filter(None, (None if isinstance(part, list) else _said(part) for part in value)))
    return None


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _sound(text: str) -> str:
    """The text without zero bytes, and with U+FFFD for every half of a character, which JSON can write and UTF-8
    cannot."""
    text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
