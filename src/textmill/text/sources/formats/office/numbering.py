"""The numbers and bullets Word puts before paragraphs (ECMA-376 part 1 §17.9), counted as it counts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from textmill.text.sources.formats.numerals import numeral
from textmill.text.sources.formats.office.styles import Styles
from textmill.text.sources.formats.xml_events import Node

_LEVELS = 9
_SUFFIXES = {"nothing": "", "space": " "}  # §17.9.28; otherwise a tab
_PLACE = re.compile(r"%([1-9])")


@dataclass(slots=True)
class _Level:
    """How the paragraphs of one level of a list are numbered (§17.9.6)."""

    start: int = 1
    form: str = "decimal"
    text: str = ""
    suffix: str = " "
    legal: bool = False  # all numbers in digits
    restart: int = -1  # the level (from 1) that starts this one anew; 0: none; -1: any above
    style: str = ""  # the paragraph style that is this level


@dataclass(slots=True)
class _List:
    """One definition of a list and where its counting stands; several lists (`num`) may share it."""

    levels: dict[int, _Level]
    style: str = ""  # the numbering style that holds its levels instead
    counts: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Number:
    """A list as paragraphs refer to it (§17.9.15): a definition, and where this list differs from it."""

    abstract: str
    levels: dict[int, _Level]
    starts: dict[int, int]  # levels that begin anew where the list is first used


class Numbering:
    """What stands before the paragraphs of a document, in the order they are asked for."""

    def __init__(self, root: Node, styles: Styles) -> None:
        self._styles = styles
        self._lists: dict[str, _List] = {}
        self._numbers: dict[str, _Number] = {}
        for node in root:
            if node.name == "abstractNum":
                levels = {_whole(level.get("ilvl")): _level(level) for level in node if level.name == "lvl"}
                self._lists[node.get("abstractNumId")] = _List(levels, node.value("numStyleLink"))
            elif node.name == "num":
                overrides = [(_whole(each.get("ilvl")), each) for each in node if each.name == "lvlOverride"]
                self._numbers[node.get("numId")] = _Number(
                    node.value("abstractNumId"),
                    {at: _level(own) for at, each in overrides if (own := each.child("lvl"))},
                    {
                        at: _whole(each.value("startOverride"))
                        for at, each in overrides
                        if each.child("startOverride")
                    },
                )

    def label(self, style: str, properties: Node | None) -> str | None:
        """What stands before a paragraph, with what separates it: `1. `, `(a) `, `• `, ``; None outside lists.

        The paragraph is counted by asking.
        """
        own = properties.child("numPr") if properties else None
        number = own.value("numId") if own else ""
        level = _whole(own.value("ilvl")) if own else 0
        if not number:
            number, styled = self._styles.numbering(style)
            if own is None or own.child("ilvl") is None:
                level = self._level_of(number, style, styled)
        found = self._numbers.get(number)
        definition = self._definition(found.abstract) if found else None
        if found is None or definition is None:  # without any definitions, a list is all that is known
            return "• " if number not in ("", "0") and not self._numbers else None
        level = min(level, _LEVELS - 1)
        levels = {**definition.levels, **found.levels}
        self._count(found, definition, levels, level)
        return _label(levels, definition.counts, level)

    def _definition(self, abstract: str) -> _List | None:
        """The definition of a list, through the numbering styles it may be kept in (§17.9.21)."""
        seen: set[str] = set()
        while (definition := self._lists.get(abstract)) and definition.style and abstract not in seen:
            seen.add(abstract)
            number = self._numbers.get(self._styles.numbering(definition.style)[0])
            abstract = number.abstract if number else ""
        return definition

    def _level_of(self, number: str, style: str, otherwise: int) -> int:
        """The level of a list that a paragraph style stands for (§17.9.23)."""
        found = self._numbers.get(number)
        definition = self._definition(found.abstract) if found else None
        if found and definition:
            for name in self._styles.chain(style):
                for at, level in {**definition.levels, **found.levels}.items():
                    if level.style == name:
                        return at
        return otherwise

    def _count(self, number: _Number, definition: _List, levels: dict[int, _Level], level: int) -> None:
        counts = definition.counts
        anew = {at: number.starts.pop(at) for at in sorted(number.starts) if at <= level}
        for at, start in anew.items():
            for deeper in [each for each in counts if each >= at]:
                del counts[deeper]
            counts[at] = start
        if level not in anew:
            counts[level] = counts[level] + 1 if level in counts else levels.get(level, _Level()).start
        for deeper in [each for each in counts if each > level]:
            restart = levels.get(deeper, _Level()).restart
            if restart < 0 or 0 <= level < restart:
                del counts[deeper]


def _label(levels: dict[int, _Level], counts: dict[int, int], level: int) -> str:
    own = levels.get(level, _Level())

    def place(match: re.Match[str]) -> str:
        at = int(match[1]) - 1
        other = levels.get(at, _Level())
        return numeral(counts.get(at, other.start), "decimal" if own.legal else other.form)

    text = "•" if own.form == "bullet" and own.text.strip(" ") else _PLACE.sub(place, own.text)
    return f"{text}{own.suffix}" if text.strip() else ""


def _level(node: Node) -> _Level:
    form = node.value("numFmt")
    picture = node.child("lvlPicBulletId") is not None
    choice = node.child("AlternateContent", "Choice", "numFmt")  # forms younger than the standard
    if choice is not None and (pattern := choice.get("format")):
        form = f"decimal{len(pattern.partition(',')[0].strip())}" if pattern.startswith("0") else form
    restart = node.child("lvlRestart")
    return _Level(
        _whole(node.value("start")) if node.child("start") else 0,
        "bullet" if picture else form or "decimal",
        "•" if picture else node.value("lvlText"),
        _SUFFIXES.get(node.value("suff"), " "),
        node.child("isLgl") is not None and node.value("isLgl") not in ("0", "false", "off"),
        -1 if restart is None else _whole(restart.get("val")),
        node.value("pStyle"),
    )


def _whole(text: str) -> int:
    return int(text[:6]) if text.isascii() and text.isdigit() else 0
