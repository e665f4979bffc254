"""Excel workbooks (Office Open XML, ECMA-376 part 1 §18): one document a sheet, cells as they are shown.

openpyxl makes an object of every cell and holds whole sheets; rows read as events stay in memory one at a time.
A row is a line, its cells are separated by tabs; a formula counts as the value it was saved with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats.package import Package, package
from textmill.text.sources.formats.stream import Deadline, Fields, Input
from textmill.text.sources.formats.xml_events import events, related

_WIDEST_GAP = 100  # empty cells kept in a row: a sheet of cells in its last column would be a bomb of tabs
_LONGEST_TEXT = 32_767  # characters of a cell (Excel's own limit)
_REFERENCE = re.compile(r"([A-Za-z]{1,3})[0-9]*")
_BUILT_IN_DATES = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))  # §18.8.30
_QUOTED = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
_SHEETS = ("worksheet", "chartsheet", "dialogsheet")


@dataclass(frozen=True)
class _Book:
    """What all sheets share."""

    strings: list[str]
    dates: frozenset[int]  # cell formats that show a number as a date
    epoch: datetime


def sheets(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The documents of an .xlsx file, one a sheet, in the workbook's order."""
    with package(item) as parts:
        main = parts.start("xl/workbook.xml")
        targets = parts.related(main)
        workbook = parts.elements(main)
        old = any(
            element.name == "workbookPr" and element.attributes.get("date1904") in ("1", "true")
            for element in workbook
        )
        # Day 60 is a 29 February 1900 that never was; from day 61 on this epoch is right (§18.17.4.1).
        epoch = datetime(1904, 1, 1) if old else datetime(1899, 12, 30)
        others = dict(targets.values())
        book = _Book(
            _strings(parts, others.get("sharedStrings", "")), _dates(parts, others.get("styles", "")), epoch
        )
        facts = parts.facts()
        for element in workbook:
            kind, part = targets.get(related(element.attributes), ("", ""))
            if element.name == "sheet" and kind in _SHEETS:
                name = printable(element.attributes.get("name", "")).translate({47: "_", 33: "_"})[:100]
                location = f"{item.place}:sheet {name}"
                text = "\n".join(_rows(parts, part, book)) if kind == "worksheet" else ""
                if text.strip():
                    yield collected(text, location, {**facts, "sheet": name})
                else:
                    yield Rejected(None, location, "read", "holds no text")


def _strings(parts: Package, part: str) -> list[str]:
    """The strings that cells refer to by number (§18.4.9)."""
    if part not in parts:
        return []
    strings: list[str] = []
    pieces: list[str] = []
    within_text = phonetic = False
    with parts.open(part) as stream:
        for event, name, _ in events(stream, parts.deadline):
            if event == "text":
                if within_text and not phonetic:
                    pieces.append(name)
            elif name == "t":
                within_text = event == "start"
            elif name == "rPh":  # how it is pronounced, beside Japanese text
                phonetic = event == "start"
            elif name == "si" and event == "end":
                strings.append("".join(pieces)[:_LONGEST_TEXT])
                pieces.clear()
    return strings


def _dates(parts: Package, name: str) -> frozenset[int]:
    """The numbers of the cell formats that show dates (§18.8.10, §18.8.30)."""
    own, formats, within = set(), [], False
    for element in parts.elements(name):
        attributes = element.attributes
        if element.name == "numFmt" and _shows_date(attributes.get("formatCode", "")):
            own.add(attributes.get("numFmtId"))
        elif element.name == "cellXfs":
            within = True
        elif element.name == "xf" and within:
            formats.append(attributes.get("numFmtId", ""))
        elif element.name in ("cellStyles", "dxfs"):
            within = False
    return frozenset(
        number
        for number, code in enumerate(formats)
        if code in own or (code.isdecimal() and int(code[:4]) in _BUILT_IN_DATES)
    )


def _shows_date(code: str) -> bool:
    return bool(re.search("[ymdh]", _QUOTED.sub("", code[:200]).lower().replace("general", "")))


def _rows(parts: Package, part: str, book: _Book) -> Iterator[str]:
    """The rows of a sheet that hold anything. What strings repeated in it grow to is charged to the budget."""
    row: list[str] = []
    kind = style = ""
    value: list[str] = []
    wanted = False
    with parts.open(part) as stream:
        for event, name, attributes in events(stream, Deadline(parts.item.limits)):
            if event == "text":
                if wanted:
                    value.append(name)
            elif event == "start":
                if name == "c":
                    kind, style = attributes.get("t", "n"), attributes.get("s", "")
                    gap = _column(attributes.get("r", "")) - len(row)
                    row += [""] * min(max(gap, 0), _WIDEST_GAP)
                wanted = name in ("v", "t")
            elif name == "c":
                row.append(_shown("".join(value), kind, style, book))
                value.clear()
            elif name == "row":
                line = "\t".join(row).rstrip()
                row = []
                if line:
                    parts.item.budget.charge(len(line))
                    yield line
            else:
                wanted = False


def _column(reference: str) -> int:
    """The number of the column in a reference such as `AB12`, from 0; -1 without one."""
    match = _REFERENCE.match(reference)
    number = 0
    for letter in match[1].upper() if match else "":
        number = number * 26 + ord(letter) - 64
    return number - 1


def _shown(value: str, kind: str, style: str, book: _Book) -> str:
    if kind == "s":
        number = int(value or -1)
        text = book.strings[number] if 0 <= number < len(book.strings) else ""
        return " ".join(text.split())
    if kind == "b":
        return "TRUE" if value == "1" else "FALSE"
    if kind == "e":
        return ""  # #DIV/0! and the like
    if kind == "n" and value:
        return _number(value, style.isdecimal() and int(style[:9]) in book.dates, book.epoch)
    return " ".join(value.split())


def _number(value: str, is_date: bool, epoch: datetime) -> str:
    try:
        number = float(value)
        if is_date and 0 <= number < 2_958_466:  # 31 December 9999
            when = epoch + timedelta(days=number)
            when = (when + timedelta(milliseconds=500)).replace(microsecond=0)
            if number < 1:
                return when.strftime("%H:%M:%S")
            return when.strftime("%Y-%m-%d" if number == int(number) else "%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return value[:100]
    return f"{number:.15g}" if len(value) > 15 else value
