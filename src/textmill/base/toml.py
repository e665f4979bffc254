"""Plain data as TOML, with the meaning of every key beside it (the standard library only reads TOML)."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from textmill.base import schema
from textmill.base.language import bracketed, say

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_COMMENT_COLUMN = 36


def dumps(spec: Any, *, comments: bool = True) -> str:
    """A spec (a frozen dataclass) as TOML. Optional values that are left out appear as commented lines."""
    return "\n".join(_table(spec, "", comments)).lstrip("\n") + "\n"


def value(item: Any) -> str:
    """One plain value as inline TOML."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str):
        return _string(item)
    if isinstance(item, (int, float)):
        return repr(item)  # nan, inf and 1e-06 are what TOML calls them too
    if isinstance(item, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {value(v)}" for k, v in item.items()) + " }" if item else "{}"
    if isinstance(item, (list, tuple)):
        inline = "[" + ", ".join(value(part) for part in item) + "]"
        if len(inline) <= 80 or not item:
            return inline
        return "[\n" + "".join(f"  {value(part)},\n" for part in item) + "]"
    raise TypeError(f"{type(item).__name__} has no TOML form")


def _table(spec: Any, path: str, comments: bool) -> Iterator[str]:
    tables = []
    for name, field in schema.fields(type(spec)).items():
        item = getattr(spec, name)
        if dataclasses.is_dataclass(item):
            tables.append((name, item))
            continue
        about = f"{say(field.about.text)}{bracketed(say(field.about.unit))}"
        note = f"# {about}" if comments and about else ""
        if item is None:
            if note:
                yield f"# {name} =".ljust(_COMMENT_COLUMN - 2) + f"  {note}"
            continue
        text = f"{_key(name)} = {value(schema.write(item))}"
        if note and "\n" in text:
            yield note
            yield text
        else:
            yield (text.ljust(_COMMENT_COLUMN - 2) + f"  {note}").rstrip() if note else text
    for name, item in tables:
        inner = f"{path}.{_key(name)}" if path else _key(name)
        yield ""
        yield f"[{inner}]"
        yield from _table(item, inner, comments)


def _key(name: str) -> str:
    return name if _BARE.match(name) else _string(name)


def _string(text: str) -> str:
    """A basic string: one of JSON, but that TOML forbids the control character DEL too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
