"""Jupyter notebooks (nbformat 3 and 4): one document, its prose as it stands and its code in fences.

They are JSON, so nbformat is not needed to read them. What cells printed is left out: it is no one's writing, and
most of it are pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from textmill.text.document import Document, collected
from textmill.text.sources.formats.encoding import decode
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.stream import Fields, Input, SetAside, read_whole


def documents(item: Input, fields: Fields) -> Iterator[Document]:
    """The one document of an .ipynb file."""
    try:
        book = json.loads(decode(read_whole(item), item.name)[0])
    except (ValueError, RecursionError) as error:
        raise SetAside("is not valid JSON", str(error)) from error
    metadata = _part(book, "metadata")
    code_language = _text(
        _part(metadata, "language_info").get("name") or _part(metadata, "kernelspec").get("language")
    )
    pieces = [_cell(cell, code_language) for cell in _cells(book)]
    text = "\n\n".join(filter(None, pieces))
    if not text:
        raise SetAside("holds no text", "it has no cells with text")
    authors = metadata.get("authors")
    names = [_text(_part({"a": a}, "a").get("name")) for a in authors] if isinstance(authors, list) else []
    known = facts(_text(metadata.get("title")), ", ".join(filter(None, names)), _text(metadata.get("date")))
    yield collected(text, item.place, {**known, "code": code_language} if code_language else known)


def _cells(book: Any) -> Iterator[dict[str, Any]]:
    sheets = book.get("worksheets") if isinstance(book, dict) else None  # of nbformat 3
    for sheet in [book, *sheets] if isinstance(sheets, list) else [book]:
        cells = sheet.get("cells") if isinstance(sheet, dict) else None
        yield from (cell for cell in cells or () if isinstance(cell, dict)) if isinstance(cells, list) else ()


def _cell(cell: dict[str, Any], code_language: str) -> str:
    kind = cell.get("cell_type")
    source = _text(cell.get("source", cell.get("input"))).strip("\n")
    if not source.strip():
        return ""
    if kind == "code":
        fence = "```" if "```" not in source else "````"
        return f"{fence}{code_language}\n{source}\n{fence}"
    if kind == "heading":
        level = cell.get("level")
        return f"{'#' * level if isinstance(level, int) and 0 < level < 7 else '#'} {source}"
    return source


def _part(value: Any, key: str) -> dict[str, Any]:
    part = value.get(key) if isinstance(value, dict) else None
    return part if isinstance(part, dict) else {}


def _text(value: Any) -> str:
    """Text, which notebooks may hold as a list of lines."""
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""
