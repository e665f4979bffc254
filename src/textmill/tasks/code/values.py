"""Values that pass between the process of a candidate and that of its judge, as plain data.

What arrives is built anew of Python's own types (which are themselves, as the modules of its library are), so that
nothing a candidate made is ever compared, only what it says. What has no such form (an object of a class of its own, a
function) arrives as a Reference: it can be given back, and equals nothing but itself. Both processes load this file by
its path: it imports nothing of Textmill.
"""

from __future__ import annotations

import base64
import builtins
import importlib
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from types import ModuleType
from typing import Any

_LONGEST = 100_000  # items of an iterator
_DEEPEST = 200
_KINDS: tuple[Any, ...] = (list, tuple, set, frozenset)
_SMALL = 1 << 53  # whole numbers below it are written as numbers of JSON


class Reference:
    """Something the other process keeps, by its number."""

    def __init__(self, number: int, kind: str) -> None:
        self.number, self.kind = number, kind

    def __repr__(self) -> str:
        return f"<{self.kind} of the candidate>"


def write(value: Any, keep: Callable[[Any], int], depth: int = 0) -> Any:
    """A value as plain data; `keep` gives a number to what has no form of its own. Raises ValueError where it is nested
    too deeply."""
    if depth > _DEEPEST:
        raise ValueError("the value is nested too deeply")
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return value if abs(value) < _SMALL else {"int": hex(value)}
    if type(value) is float:
        return {"float": value.hex()}
    if type(value) is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if type(value) in (bytes, bytearray):
        return {type(value).__name__: base64.b64encode(value).decode()}
    if type(value) is range:
        return {"range": [hex(part) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, dict):
        return {"dict": [[write(part, keep, depth + 1) for part in pair] for pair in dict.items(value)]}
    for kind in _KINDS:
        if isinstance(value, kind):  # whose own way to give its items is not asked
            return {kind.__name__: [write(item, keep, depth + 1) for item in kind.__iter__(value)]}
    if isinstance(value, Iterator):
        return {"iterator": [write(item, keep, depth + 1) for item in islice(value, _LONGEST)]}
    if isinstance(value, type) and getattr(builtins, value.__name__, None) is value:
        return {"type": value.__name__}
    if isinstance(value, ModuleType) and value.__name__ in sys.stdlib_module_names:
        return {"module": value.__name__}
    if isinstance(value, Reference):  # the other process' own
        return {"kept": [value.number, value.kind]}
    return {"kept": [keep(value), type(value).__name__]}


def read(data: Any, kept: Callable[[int, str], Any]) -> Any:
    """The value of plain data; `kept` says what a number stands for. Raises TypeError, ValueError, LookupError or
    AttributeError for what `write` never writes."""
    if not isinstance(data, dict):
        return data
    [(kind, content)] = data.items()
    if kind == "int":
        return int(content, 16)
    if kind == "float":
        return float.fromhex(content)
    if kind == "complex":
        return complex(*map(float.fromhex, content))
    if kind in ("bytes", "bytearray"):
        return (bytes if kind == "bytes" else bytearray)(base64.b64decode(content))
    if kind == "range":
        return range(*(int(part, 16) for part in content))
    if kind == "type" and isinstance(known := getattr(builtins, content), type):
        return known
    if kind == "module" and content in sys.stdlib_module_names:
        return importlib.import_module(content)
    if kind == "kept":
        return kept(int(content[0]), str(content[1]))
    items = (read(item, kept) for item in content) if kind != "dict" else iter(())
    if kind == "dict":
        return {read(key, kept): read(value, kept) for key, value in content}
    if kind == "iterator":
        return iter(list(items))
    return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](items)
