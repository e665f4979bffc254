"""The YAML header of a README, as far as data set cards use it: the standard library has no YAML.

Block mappings and lists, flow lists and mappings on one line, plain and quoted scalars, folded and literal blocks.
Everything is text; anchors, tags and documents of many parts are not followed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_LONGEST = 1 << 20  # characters of a header that are read
_DEPTH = 32
_KEY = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#&*!|>'"%@`{}\[\],?:-][^#]*?|-?[^\s:]+?)\s*:(?:\s+|$)"""
)


def header(text: str) -> dict[str, Any]:
    """The mapping between the two `---` lines a text begins with; empty where there is none.

    >>> header("---\\nlicense: mit\\nlanguage: [en, zh]\\n---\\nWords")
    {'license': 'mit', 'language': ['en', 'zh']}
    """
    lines = text[:_LONGEST].removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        return {}
    for end, line in enumerate(lines[1:], 1):
        if line.rstrip() in ("---", "..."):
            found = _Block(_read(lines[1:end])).node(0)
            return found if isinstance(found, dict) else {}
    return {}


@dataclass(frozen=True)
class _Line:
    indent: int
    text: str  # without its indent, blanks at its end or a comment line


def _read(lines: list[str]) -> list[_Line]:
    kept = [line.rstrip().expandtabs(2) for line in lines]
    return [
        _Line(len(line) - len(line.lstrip()), line.lstrip())
        for line in kept
        if line.strip() and not line.lstrip().startswith("#")
    ]


class _Block:
    """A reader going once through the lines, from indent to indent."""

    def __init__(self, lines: list[_Line]) -> None:
        self._lines, self._at = lines, 0

    def node(self, depth: int) -> Any:
        """What begins at the current line."""
        line = self._lines[self._at] if self._at < len(self._lines) else None
        if line is None or depth > _DEPTH:
            return ""
        if line.text == "-" or line.text.startswith("- "):
            return self._list(line.indent, depth)
        if _KEY.match(line.text):
            return self._mapping(line.indent, depth)
        self._at += 1
        return _scalar(line.text)

    def _list(self, indent: int, depth: int) -> list[Any]:
        found = []
        while (line := self._here(indent)) and (line.text == "-" or line.text.startswith("- ")):
            rest = line.text[1:].lstrip()
            if rest:
                # What follows the dash stands as if on a line of its own, indented to where it begins.
                inner = indent + len(line.text) - len(rest)
                self._lines[self._at] = _Line(inner, rest)
                found.append(self.node(depth + 1))
            else:
                self._at += 1
                found.append(self._below(indent, depth))
            self._skip_deeper(indent)
        return found

    def _mapping(self, indent: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while (line := self._here(indent)) and (match := _KEY.match(line.text)):
            rest = line.text[match.end() :]
            self._at += 1
            if rest.startswith(("|", ">")):
                value: Any = self._text(indent)
            elif rest and not rest.startswith("#"):
                value = _scalar(rest)
            else:
                value = self._below(indent, depth)
            found[str(_scalar(match[1]))] = value
            self._skip_deeper(indent)
        return found

    def _here(self, indent: int) -> _Line | None:
        line = self._lines[self._at] if self._at < len(self._lines) else None
        return line if line is not None and line.indent == indent else None

    def _below(self, indent: int, depth: int) -> Any:
        """What is indented deeper, or a list at the same indent, as YAML allows under a key."""
        line = self._lines[self._at] if self._at < len(self._lines) else None
        listed = (
            line is not None and line.indent == indent and (line.text == "-" or line.text.startswith("- "))
        )
        return self.node(depth + 1) if line is not None and (line.indent > indent or listed) else ""

    def _text(self, indent: int) -> str:
        parts = []
        while self._at < len(self._lines) and self._lines[self._at].indent > indent:
            parts.append(self._lines[self._at].text)
            self._at += 1
        return " ".join(parts)

    def _skip_deeper(self, indent: int) -> None:
        """Pass over lines that belong to a value that was read already: plain scalars over many lines."""
        while self._at < len(self._lines) and self._lines[self._at].indent > indent:
            self._at += 1


def _scalar(text: str) -> Any:
    """One value on one line."""
    text = text.strip()
    if text[:1] in "[{" and text:
        return _flow(text)
    if text.startswith('"'):
        end = re.match(r'"(?:[^"\\]|\\.)*"', text)
        try:
            return json.loads(end[0]) if end else text
        except ValueError:
            return end[0][1:-1] if end else text
    if text.startswith("'"):
        end = re.match(r"'(?:[^']|'')*'", text)
        return end[0][1:-1].replace("''", "'") if end else text
    return re.split(r"\s+#", text, maxsplit=1)[0]


def _flow(text: str) -> Any:
    """`[a, "b"]` and `{a: b}`, not nested."""
    inner = text[1 : text.rfind("]" if text[0] == "[" else "}")]
    parts = re.findall(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,"'])+""", inner)
    if text[0] == "[":
        return [value for part in parts if (value := _scalar(part.lstrip("[{")))]
    pairs = [part.partition(":") for part in parts]
    return {str(_scalar(key)): _scalar(value.lstrip(" [{")) for key, colon, value in pairs if colon}
