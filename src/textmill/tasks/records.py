"""From rows of a table to the records that a task reads: which column is which text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textmill.tasks.prediction import Refused
from textmill.tasks.task import Field, Record
from textmill.text.sources.formats.records import held, said, utf8, value_of
from textmill.text.sources.rows import LINE

_NAMED = 12  # columns in a message


def record_of(
    row: Mapping[str, Any], fields: Sequence[Field], columns: Mapping[str, str], place: str = ""
) -> Record | Refused:
    """The record of a row: its texts under their roles, everything else under its own name. columns: role or name ->
    the column that holds it, by name or by number (from 1, or from -1 at the end); a role that is not named there is
    looked for under its own name, and a line without columns is the first text.

    A list under a role is several texts of it (references), but for a list of words, which is one text.
    """
    columns = {role: _named(row, column) for role, column in columns.items()}
    found: dict[str, str] = {}
    for name, value in row.items():
        if (text := said(value)) is not None and name not in columns.values():
            found[name] = utf8(text)
    named = {one.role: columns.get(one.role, one.role) for one in fields}
    if list(row) == [LINE] and LINE not in columns.values():
        named[fields[0].role] = LINE
    needed = {one.role for one in fields if one.needed}
    for role, column in (named | dict(columns)).items():
        value = value_of(row, column)
        if value is None:
            found.pop(role, None)
            if role in needed or (role in columns and role in named):
                there = ", ".join([str(name)[:40] for name in row][:_NAMED]) or "nothing"
                empty = held(row, column) is not None
                why = f"column {column!r} is empty" if empty else f"no column {column!r} among {there}"
                return Refused(f"has no {role}", why, place=place)
            continue
        if isinstance(value, list) and role not in named:
            texts = [text for text in map(said, value) if text]
            found |= {f"{role} {at + 1}" if at else role: utf8(text) for at, text in enumerate(texts)}
            continue
        text = " ".join(map(str, value)) if isinstance(value, list) else said(value)
        if text is None:
            return Refused(f"the {role} is no text", type(value).__name__, place=place)
        found[role] = utf8(text)
    return found


def _named(row: Mapping[str, Any], column: str) -> str:
    """The name of a column that is given by its number."""
    if column in row or not column.removeprefix("-").isdecimal() or int(column) == 0:
        return column
    number, names = int(column), list(row)
    at = number - 1 if number > 0 else len(names) + number
    return names[at] if 0 <= at < len(names) else column
