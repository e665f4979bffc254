"""One record, one document: what files of JSON, of separated values and of columns have in common.

A record that lacks one of its texts is skipped at its place; the other scalar columns become the document's metadata.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.marks import ALIGNED
from textmill.text.sources.formats.stream import Fields, SetAside

_LONGEST_METADATA = 1000  # characters of a column that may still be metadata
_LONGEST_INTEGER = 1 << 10  # binary digits: a longer one is slow to write out, and no one's metadata
# What people call the column of their texts.
USUAL = frozenset(
    [
        "text",
        "content",
        "contents",
        "body",
        "story",
        "article",
        "document",
        "sentence",
        "message",
        "review",
        "comment",
        "description",
        "abstract",
        "passage",
        "paragraph",
        "poem",
        "lyrics",
        "post",
        "tweet",
        "plot",
        "正文",
        "内容",
        "文本",
        "文章",
        "句子",
        "原文",
        "诗",
    ]
)
_COLUMNS_NAMED = 12  # in a message
Items = Iterator[Document | Rejected]


def document(record: Any, location: str, fields: Fields) -> Document | Rejected:
    """The document of a record at a place, or why there is none."""
    if isinstance(record, list) and all(column.startswith("#") for column in fields.columns):
        record = {f"column {number}": value for number, value in enumerate(record, 1)}
    if not isinstance(record, dict):
        return unread(location, "is not a record", f"a JSON object was expected, not {_kind(record)}")
    texts: dict[str, str] = {}
    for role, column in fields.texts:
        value = value_of(record, column)
        if value is None and held(record, column) is None:
            lack = lacking("field", role, column, record)
            return unread(location, lack.reason, lack.detail)
        if isinstance(value, list) and role in fields.several:
            listed = [text for text in (utf8(said(part) or "") for part in value) if text.strip()]
            texts[role] = listed[0] if listed else ""
            texts |= {f"{role} {number}": text for number, text in enumerate(listed[1:], 2)}
            continue
        text = value if isinstance(value, str) else _joined(value)
        # An answer or a target may be a number; a text that stands alone is a mistake then.
        if text is None and len(fields.texts) > 1:
            text = said(value)
        if text is None:
            return unread(location, f"field {column!r} is not text", _kind(value))
        texts[role] = utf8(text)
    if not any(map(str.strip, texts.values())):
        return unread(location, "holds no text")
    metadata = metadata_of(record, fields)
    tags = fields.tags
    if tags in metadata and len(metadata[tags].split()) == len(texts[fields.role].split()):
        metadata[ALIGNED] = tags
    return collected(texts, location, metadata)


def _joined(value: Any) -> str | None:
    """A list of words or sentences as one text."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return " ".join(value)
    return None


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
    likely = next((name for name in there if name.lower() in USUAL), there[0])
    advice = f'name the {role} in text_fields, such as "{role}={likely}"'
    return SetAside(reason, f"it has {', '.join(there[:_COLUMNS_NAMED])}{more}; {advice}")


def metadata_of(record: Mapping[str, Any], fields: Fields, texts: Container[str] = ()) -> dict[str, str]:
    """The columns that were asked for, or else those small and plain enough to be metadata, as text. texts: columns
    that are none of them, beside those that `fields` names."""
    metadata: dict[str, str] = {}
    if fields.metadata:
        for name, column in fields.metadata:
            if (text := _fact(name, value_of(record, column), fields)) is not None:
                metadata[name_of(name)] = _utf8(text)
    else:
        taken = {held(record, column) for _, column in (*fields.texts, *fields.facts)}
        for key, value in record.items():
            if key not in taken and key not in texts and (key == fields.tags or not isinstance(value, list)):
                text = value if isinstance(value, str) else _fact(key, value, fields)
                if text is not None and (len(text) <= _LONGEST_METADATA or key == fields.tags):
                    metadata[name_of(key)] = _utf8(text)
    for name, column in fields.facts:
        if (text := _fact(name, value_of(record, column), fields)) is not None:
            metadata[name_of(name)] = _utf8(text)
    return metadata


def _fact(name: str, value: Any, fields: Fields) -> str | None:
    """A value as metadata has it: a list with commas, tags with spaces."""
    if name == fields.tags and isinstance(value, list):
        parts = [said(part) for part in value]
        return " ".join(part.replace(" ", "_") for part in parts if part)
    return said(value)


def name_of(key: str) -> str:
    """The name of a column as metadata: those that begin with `@` are the house's own."""
    return _utf8(key.lstrip("@") or "column")


def held(names: Iterable[str], column: str) -> str | None:
    """Which of these names a column of a recipe means: its own, or that at its number (`#1`, `#-1`)."""
    names = names if isinstance(names, (list, tuple, dict)) else list(names)
    if column in names:
        return column
    digits = column[1:]
    if column.startswith("#") and digits.removeprefix("-").isdecimal():
        number, listed = int(digits), list(names)
        if 0 < abs(number) <= len(listed):
            return listed[number - 1 if number > 0 else number]
    return None


def value_of(record: Mapping[str, Any], column: str) -> Any:
    """What a record holds in a column, or under a path of keys such as `meta.url`; None where it holds nothing."""
    if (name := held(record, column)) is not None:
        return record[name]
    if "." not in column:
        return None
    key, _, rest = column.partition(".")
    below = record.get(key)
    return value_of(below, rest) if isinstance(below, dict) else None


def said(value: Any) -> str | None:
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
        return ", ".join(filter(None, (None if isinstance(part, list) else said(part) for part in value)))
    return None


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def utf8(text: str) -> str:
    """The text without zero bytes, and with U+FFFD for every half of a character, which JSON can write and UTF-8
    cannot."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
