"""Texts with labelled spans of characters, as tools for annotation export them: each text is tagged word by word.

    {"text": …, "spans": [{"start": 0, "end": 5, "label": "PER"}]}                               Prodigy
    {"text": …, "entities": [{"start_offset": 0, "end_offset": 5, "label": "PER"}]}              doccano, with relations
    {"text": …, "label": [[0, 5, "PER"]]}                                                        doccano
    {"data": {"text": …}, "annotations": [{"result": [{"type": "labels", "value": {"start": 0, "end": 5, "text": …,
        "labels": ["PER"]}}]}]}                                                                  Label Studio, JSON
    {"text": …, "label": [{"start": 0, "end": 5, "text": …, "labels": ["PER"]}]}                 Label Studio, JSON-MIN
    {"text": …, "ents": [{"start": 0, "end": 5, "label": "PER"}]}, ["…", {"entities": [[0, 5, "PER"]]}]          spaCy

Words are runs of letters and digits, hanzi and kana one by one, and any other sign; they keep their places in the text
(`text.marks`), and their tags are B, I and O with the label. A span that begins or ends within a word, or overlaps
another, costs its record. A record that no one annotated is not one without spans: it is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from textmill.text.document import Document, Rejected, collected
from textmill.text.marks import ALIGNED, SPANS, TAGS, WORDS, Place, written
from textmill.text.sources.formats.records import metadata_of, unread, utf8, value_of
from textmill.text.sources.formats.stream import Fields, SetAside
from textmill.text.words import ALONE_CHARACTERS

_WORD = re.compile(rf"[{ALONE_CHARACTERS}]|(?:(?![{ALONE_CHARACTERS}])\w)+|[^\w\s]")
_NAMES = ("spans", "entities", "ents", "labels", "label")
_STARTS, _ENDS, _LABELS = ("start", "start_offset"), ("end", "end_offset"), ("label", "labels", "type", "tag")
_SHOWN = 40  # characters of a span in a message
Span = tuple[int, int, str]


def documents(record: Any, location: str, fields: Fields) -> Iterator[Document | Rejected]:
    """The text of a record, with a tag for each word."""
    try:
        text, listed, columns = _parts(record, fields)
        spans = sorted({_span(one, text) for one in listed})
        words = [match.span() for match in _WORD.finditer(text)]
        tags = _tags(text, words, spans)
    except SetAside as error:
        yield unread(location, error.reason, error.detail)
        return
    facts = metadata_of(record, fields, columns) if isinstance(record, dict) else {}
    marked = {
        WORDS: written(words),
        SPANS: written(spans),
        fields.tags or TAGS: " ".join(tags),
        ALIGNED: fields.tags or TAGS,
    }
    yield collected({fields.role: text}, location, facts | marked)


def _parts(record: Any, fields: Fields) -> tuple[str, list[Any], set[str]]:
    """The text of a record, its spans as they are written, and the columns of both."""
    if isinstance(record, list) and len(record) == 2 and isinstance(record[1], dict):  # spaCy's training data
        record = {"text": record[0], **record[1]}
    if not isinstance(record, dict):
        raise SetAside("is not a record", "a JSON object was expected")
    if isinstance(record.get("data"), dict) and ("annotations" in record or "completions" in record):
        return _label_studio(record, fields)
    column = fields.column(fields.role, "text")
    text = value_of(record, column)
    if not isinstance(text, str) or not text.strip():
        raise SetAside(f"has no {fields.role}")
    names = [name for name in (fields.column("spans", ""), *_NAMES) if name]
    for name in names:
        listed = value_of(record, name)
        if isinstance(listed, list):
            return utf8(text), listed, {column, *names, "tokens"}
    if record.get("answer") in ("reject", "ignore"):
        raise SetAside("was not accepted", f"answer: {record['answer']}")
    there = ", ".join(map(str, list(record)[:12]))
    raise SetAside("has no spans", f'it has {there}; name them, such as columns = {{ spans = "marks" }}')


def _label_studio(record: Mapping[str, Any], fields: Fields) -> tuple[str, list[Any], set[str]]:
    """Of the last annotation that was not cancelled, the spans of text among its results."""
    data = record["data"]
    column = fields.column(fields.role, "text")
    text = data.get(column if column in data else "text")
    if not isinstance(text, str) or not text.strip():
        raise SetAside(f"has no {fields.role}", f"its data have {', '.join(map(str, data)) or 'nothing'}")
    annotations = record.get("annotations", record.get("completions"))
    done = [
        one
        for one in (annotations if isinstance(annotations, list) else [])
        if isinstance(one, dict) and isinstance(one.get("result"), list) and not one.get("was_cancelled")
    ]
    if not done:
        raise SetAside("was not annotated")
    listed = [
        one["value"] for one in done[-1]["result"] if isinstance(one, dict) and _marks_text(one.get("value"))
    ]
    return utf8(text), listed, {"data", "annotations", "completions", "predictions", "meta"}


def _marks_text(value: Any) -> bool:
    return isinstance(value, dict) and "start" in value and "end" in value


def _span(value: Any, text: str) -> Span:
    """A span of an object or a list. Raises SetAside where it is none, or lies outside the text."""
    if isinstance(value, (list, tuple)) and len(value) == 3:
        start, end, label = value
    elif isinstance(value, dict):
        start, end, label = (
            next((value[name] for name in names if name in value), None)
            for names in (_STARTS, _ENDS, _LABELS)
        )
        if isinstance(label, list) and len(label) == 1:
            [label] = label
    else:
        raise SetAside("has a malformed span", repr(value)[:_SHOWN])
    if not isinstance(label, str) or not label.strip():
        raise SetAside("has a span without exactly one label", repr(value)[:_SHOWN])
    if (
        not isinstance(start, int)
        or not isinstance(end, int)
        or isinstance(start, bool)
        or isinstance(end, bool)
    ):
        raise SetAside("has a span without start and end", repr(value)[:_SHOWN])
    if not 0 <= start < end <= len(text):
        raise SetAside("has a span outside its text", f"characters {start} to {end} of {len(text)}")
    said = value.get("text") if isinstance(value, dict) else None
    if isinstance(said, str) and said.strip() and said.strip() != text[start:end].strip():
        raise SetAside(
            "has a span whose text differs",
            f"characters {start} to {end} are {text[start:end][:_SHOWN]!r}, not {said[:_SHOWN]!r}",
        )
    inside = text[start:end]
    start, end = start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip())
    return start, end, "_".join(label.split())


def _tags(text: str, words: list[Place], spans: list[Span]) -> list[str]:
    """A tag for each word. Raises SetAside for a span that cuts one, holds none, or overlaps another."""
    tags = ["O"] * len(words)
    begins, ends = ({place[side]: at for at, place in enumerate(words)} for side in (0, 1))
    free = 0
    for start, end, label in spans:
        place = f"characters {start} to {end}, {text[start:end][:_SHOWN]!r}, {label}"
        if start not in begins or end not in ends:
            raise SetAside("has a span that cuts a word", place)
        first, last = begins[start], ends[end]
        if first < free:
            raise SetAside("has spans that overlap", place)
        tags[first : last + 1] = [f"B-{label}", *[f"I-{label}"] * (last - first)]
        free = last + 1
    return tags
