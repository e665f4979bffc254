"""JSON: a list of objects, or objects one after another. One object, one document.

Lines of JSON are the usual case and the quick one. Objects over several lines, several on one line, and sequences with
record separators (RFC 7464) are read as well; what is not JSON is one fault, however many lines it takes.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from textmill.text.document import TEXT, Document, Rejected
from textmill.text.sources.formats.encoding import decode, marked, wide
from textmill.text.sources.formats.forms import documents
from textmill.text.sources.formats.lines import MARK, Lines, refuse_binary_records, sound, span, text_stream
from textmill.text.sources.formats.records import Items, unread
from textmill.text.sources.formats.stream import BLOCK, Fields, Input, SetAside, read_whole

_BETWEEN = re.compile(
    f"[\\s\x1e\0\x1a,{MARK}]*"
)  # white space, commas, record separators, marks of joined files, padding and the end of a file in DOS
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*("?)|[\[\]{}]', re.DOTALL)
_STRING_END = re.compile(r'(?:[^"\\]|\\.)*("?)', re.DOTALL)
_GOES_ON = re.compile(r'[ \t\r\n"}\],:]')  # what a line within a value may begin with, not indented
_BEGINS = re.compile(r"\s*[\[{\x1e]")  # what no line within a string begins with
_LONGEST_INTEGER = 4000  # digits; Python makes no integer of more than 4300


def json_lines(item: Input, fields: Fields) -> Items:
    """One JSON object a line (RFC 8259 within each; empty lines pass), or a list of them by the wrong name."""
    head = item.stream.read(BLOCK)
    refuse_binary_records(head)
    if _is_list(head):
        yield from _whole(item, head, fields)
    else:
        yield from _streamed(item, head, fields)


def json_records(item: Input, fields: Fields) -> Items:
    """A JSON list of objects, one object, or, as many data sets name them, JSON lines."""
    head = item.stream.read(BLOCK)
    refuse_binary_records(head)
    if _looks_like_lines(head):
        yield from _streamed(item, head, fields)
    else:
        yield from _whole(item, head, fields)


def _held(record: Any, location: str, fields: Fields) -> Items:
    """What a record holds. In JSON, whose columns have no type, a list for the only text is a mistake, as a number is,
    unless somebody has named that column."""
    if fields.unnamed and isinstance(record, dict) and isinstance(record.get(TEXT), list):
        yield unread(
            location, f"field {TEXT!r} is not text", 'a list; columns = { text = "text" } joins its parts'
        )
    else:
        yield from documents(record, location, fields)


def _looks_like_lines(head: bytes) -> bool:
    first, _, rest = head.lstrip(b"\x1e").partition(b"\n")
    try:
        return rest.lstrip()[:1] in (b"{", b"\x1e") and isinstance(
            json.loads(first.decode("utf-8-sig")), dict
        )
    except (ValueError, RecursionError):
        return False


def _is_list(head: bytes) -> bool:
    """Whether a file is one list, by its head: a list whose first element can be read, and no line among others."""
    text = head.decode(marked(head) or wide(head) or "utf-8", "replace").lstrip(MARK + " \t\r\n")
    first, _, rest = text.partition("\n")
    if not text.startswith("["):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        try:
            _value(text, _between(text, 1))
        except (ValueError, RecursionError):
            return first.strip() in ("[", "[{")
        return True
    return not rest.strip()


# --- the whole file -----------------------------------------------------------------------------------------------
def _whole(item: Input, head: bytes, fields: Fields) -> Items:
    data = read_whole(item, head)
    text = decode(
        data.translate(None, b"\0\x1e") if not wide(head) and not marked(head) else data, item.name
    )[0]
    start = _between(text, 0)
    if text[start : start + 1] == "[":
        for number, record in enumerate(_elements(text, start), 1):
            location = f"{item.place}:item {number}"
            if isinstance(record, SetAside):
                yield unread(location, record.reason, record.detail)
            else:
                yield from _held(record, location, fields)
        return
    try:
        value, end = _value(text, start)
    except (ValueError, RecursionError):
        value, end = None, 0
    if end and _between(text, end) == len(text):
        yield from _held(value, item.place, fields)
    else:
        yield from _sequence(Lines(io.StringIO(text, newline=""), item.limits.file_bytes), item.place, fields)


def _elements(text: str, at: int) -> Iterator[Any]:
    """The elements of the list that begins at a place; what is wrong with one, and all after it, comes last."""
    try:
        value, end = _value(text, at)
        if _between(text, end) == len(text):
            yield from value
            return
    except (ValueError, RecursionError):
        pass  # it is read element by element then, as far as it goes
    while text[at : at + 1] == "[":  # lists of files that were joined follow one another
        at = _between(text, at + 1)
        while text[at : at + 1] != "]":
            try:
                value, at = _value(text, at)
            except (ValueError, RecursionError) as error:
                rest = f"the {len(text) - at:,} characters from here on are not read"
                yield SetAside("is not valid JSON", f"{error}; {rest}")
                return
            yield value
            at = _between(text, at)
        at = _between(text, at + 1)
    if at < len(text):
        rest = f"the {len(text) - at:,} characters after the list are not read"
        yield SetAside("is not valid JSON", rest)


# --- one after another --------------------------------------------------------------------------------------------
def _streamed(item: Input, head: bytes, fields: Fields) -> Items:
    text = text_stream(item, head, marked(head) or wide(head) or "utf-8")
    yield from _sequence(Lines(text, item.limits.file_bytes), item.place, fields)


def _sequence(lines: Lines, place: str, fields: Fields) -> Items:
    while (line := lines.next()) is not None:
        location = f"{place}:line {lines.number}"
        if isinstance(line, SetAside):
            yield unread(location, line.reason, line.detail)
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            yield from _odd(line, lines, place, fields)
            continue
        if sound(line):
            yield from _held(record, location, fields)
        else:
            yield _not_utf8(location)


def _odd(text: str, lines: Lines, place: str, fields: Fields) -> Iterator[Document | Rejected]:
    """What a line holds that is not one value, with the lines after it that belong to it."""
    at = values = 0
    while (at := _between(text, at)) < len(text):
        first = lines.number
        location = f"{place}:line {first}{f' item {values + 1}' if values else ''}"
        if not sound(text):
            yield _not_utf8(location)
            return
        try:
            value, at = _record(text, at)
            values += 1
        except (ValueError, RecursionError) as error:
            further = _further(text[at:], lines)
            text = text[at:] + "".join(further)
            try:
                value, at = _record(text, 0)
                values = 0
            except (ValueError, RecursionError):
                detail = f"{error}; {span(first, lines.number)}" if further else str(error)
                yield unread(location, "is not valid JSON", detail)
                return
        yield from _held(value, location, fields)


def _further(text: str, lines: Lines) -> list[str]:
    """The lines after one that belong to the value it begins: until that is closed, or another begins. Its strings may
    hold line ends, which JSON wants escaped."""
    (depth, quoted), size, further = _left_open(text, 0, quoted=False), len(text), []
    while depth and size <= lines.limit and (line := lines.next()) is not None:
        if not isinstance(line, str) or (_BEGINS.match(line) if quoted else not _GOES_ON.match(line)):
            lines.give_back([line])
            break
        further.append(line)
        size += len(line)
        depth, quoted = _left_open(line, depth, quoted=quoted)
    return further


def _left_open(text: str, depth: int, *, quoted: bool) -> tuple[int, bool]:
    """(how many brackets are open behind a text that begins within `depth`, and within a string where it is `quoted`;
    0 where all were closed in it, whether a string is open behind it)."""
    at = 0
    if quoted:
        rest = _STRING_END.match(text)
        if rest is None or not rest[1]:
            return depth, True
        at = rest.end()
    for token in _TOKENS.finditer(text, at):
        bracket = token[0]
        if bracket[0] == '"':
            if not token[1]:
                return depth, True
        else:
            depth += 1 if bracket in "[{" else -1
            if depth <= 0:
                return 0, False
    return depth, False


def _not_utf8(location: str) -> Rejected:
    return unread(location, "is not valid UTF-8")


# --- values -------------------------------------------------------------------------------------------------------
def _integer(digits: str) -> int | str:
    """A number as text where it is too long for Python to make an integer of."""
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


_DECODER = json.JSONDecoder(strict=False)  # which lets control characters stand in strings
_PATIENT = json.JSONDecoder(strict=False, parse_int=_integer)


def _value(text: str, at: int) -> tuple[Any, int]:
    """The value at a place, and where it ends. Raises ValueError or RecursionError when there is none."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of thousands of digits
        return _PATIENT.raw_decode(text, at)


def _record(text: str, at: int) -> tuple[Any, int]:
    """As `_value`, of what can be a record or a list of them: bare words after one another are none."""
    value, end = _value(text, at)
    if not isinstance(value, (dict, list)) and _between(text, end) < len(text):
        raise ValueError("more follows a value that is not a record")
    return value, end


def _between(text: str, at: int) -> int:
    """Where the next value begins."""
    match = _BETWEEN.match(text, at)
    return match.end() if match else at
