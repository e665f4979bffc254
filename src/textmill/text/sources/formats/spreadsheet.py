"""Excel workbooks (Office Open XML, ECMA-376 part 1 §18): one document a sheet, cells as they are shown.

openpyxl makes an object of every cell and holds whole sheets; rows read as events stay in memory one at a time.
A row is a line, its cells are separated by tabs; a formula counts as the value it was saved with. What a sheet does not
show (hidden sheets, rows and columns) and what it cannot (formulas that were never calculated, strings that are lost)
is left out and said at the sheet's place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats.number_format import BUILT_IN, GENERAL, NumberFormat, number_format
from textmill.text.sources.formats.package import Package, package
from textmill.text.sources.formats.stream import Deadline, Fields, Input
from textmill.text.sources.formats.xml_events import Element, events, related

_WIDEST_GAP = 100  # empty cells kept in a row: a sheet of cells in its last column would be a bomb of tabs
_LONGEST_TEXT = 32_767  # characters of a cell (Excel's own limit)
_LONGEST_NUMBER = 100  # characters
_EXACT = 15  # characters of a number up to which it has no digits that are the binary's own
_REFERENCE = re.compile(r"([A-Za-z]{1,3})[0-9]*")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")  # a character that XML cannot hold (§22.9.2.19)
_SHEETS = ("worksheet", "chartsheet", "dialogsheet")
_TRUE = ("1", "true")
_COLUMNS = 1 << 14  # of a sheet
CALCULATE = "; open the workbook in a spreadsheet program and save it"


@dataclass(frozen=True)
class _Book:
    """What all sheets share."""

    strings: list[str]
    formats: list[NumberFormat | None]  # of each cell format; None for `General`
    since_1904: bool  # the day its dates are counted from
    recalculated: bool  # whether every formula is to be calculated anew when the workbook is opened


@dataclass
class Missing:
    """What a sheet holds that is no part of its text: where, as far as one wants to see."""

    cells: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, place: str) -> None:
        self.count += 1
        if len(self.cells) < 3:
            self.cells.append(place or "?")

    def told(self, what: str) -> str:
        """How many and where: `2 cells: A1, B1`."""
        more = f" and {self.count - len(self.cells):,} more" if self.count > len(self.cells) else ""
        return f"{self.count:,} {what}{'s' if self.count > 1 else ''}: {', '.join(self.cells)}{more}"


def faults(
    uncalculated: Missing, lost: Missing, rows_unseen: Missing, cells_unseen: Missing
) -> Iterator[tuple[str, str]]:
    """(reason, detail) of what the rows of a sheet leave out, the same in every form of workbook."""
    for reason, missing, what, advice in (
        ("has formulas that were never calculated", uncalculated, "cell", CALCULATE),
        ("refers to strings that are not there", lost, "cell", ""),
        ("has hidden rows", rows_unseen, "row", ""),
        ("has hidden columns", cells_unseen, "cell", ""),
    ):
        if missing.count:
            yield reason, missing.told(what) + advice


def sheets(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The documents of an .xlsx file, one a sheet, in the workbook's order."""
    with package(item) as parts:
        main = parts.start("xl/workbook.xml")
        targets = parts.related(main)
        workbook = parts.elements(main)
        book = _book(parts, workbook, dict(targets.values()))
        facts = parts.facts()
        for element in workbook:
            kind, part = targets.get(related(element.attributes), ("", ""))
            if element.name != "sheet" or kind not in _SHEETS:
                continue
            name = printable(element.attributes.get("name", "")).translate({47: "_", 33: "_"})[:100]
            location = f"{item.place}:sheet {name}"
            if element.attributes.get("state", "visible") != "visible":
                yield Rejected(None, location, "read", "is a hidden sheet")
                continue
            sheet = _Sheet(parts, part, book) if kind == "worksheet" else None
            text = "\n".join(sheet.rows()) if sheet else ""
            if text.strip():
                yield collected(text, location, {**facts, "sheet": name})
            left_out = list(sheet.faults()) if sheet else []
            if not text.strip() and not left_out:
                left_out = [("holds no text", "")]
            for reason, detail in left_out:
                yield Rejected(None, location, "read", reason, detail)


def _book(parts: Package, workbook: list[Element], others: dict[str, str]) -> _Book:
    def says(element: str, key: str) -> bool:
        return any(e.name == element and e.attributes.get(key) in _TRUE for e in workbook)

    return _Book(
        _strings(parts, others.get("sharedStrings", "")),
        _formats(parts, others.get("styles", "")),
        says("workbookPr", "date1904"),
        says("calcPr", "fullCalcOnLoad"),
    )


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
                strings.append(_text("".join(pieces)[:_LONGEST_TEXT]))
                pieces.clear()
    return strings


def _formats(parts: Package, name: str) -> list[NumberFormat | None]:
    """How each cell format shows numbers (§18.8.10, §18.8.30)."""
    codes = {str(number): code for number, code in BUILT_IN.items()}
    chosen, within = [], False
    for element in parts.elements(name):
        attributes = element.attributes
        if element.name == "numFmt":
            codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", GENERAL)
        elif element.name == "cellXfs":
            within = True
        elif element.name == "xf" and within:
            chosen.append(attributes.get("numFmtId", ""))
        elif element.name in ("cellStyles", "dxfs"):
            within = False
    shown = [codes.get(number, GENERAL) for number in chosen]
    return [None if code.lower() == GENERAL.lower() else number_format(code) for code in shown]


def _text(text: str) -> str:
    """A string as it is meant: on one line, its escapes resolved."""
    if "_x" in text:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return " ".join(text.split())


class _Sheet:
    """One worksheet, read once."""

    def __init__(self, parts: Package, part: str, book: _Book) -> None:
        self._parts, self._part, self._book = parts, part, book
        self._hidden_columns: set[int] = set()
        self._uncalculated, self._lost = Missing(), Missing()
        self._rows_unseen, self._cells_unseen = Missing(), Missing()

    def rows(self) -> Iterator[str]:
        """The rows that show anything. What strings repeated in them grow to is charged to the budget."""
        row: list[str] = []
        cell: dict[str, str] = {}
        value: list[str] = []
        wanted = formula = valued = phonetic = hidden = False
        with self._parts.open(self._part) as stream:
            for event, name, attributes in events(stream, Deadline(self._parts.item.limits)):
                if event == "text":
                    if wanted and not phonetic:
                        value.append(name)
                elif event == "start":
                    if name == "c":
                        cell, formula, valued = dict(attributes), False, False
                        gap = _column(cell.get("r", "")) - len(row)
                        row += [""] * min(max(gap, 0), _WIDEST_GAP)
                    elif name == "row":
                        hidden = attributes.get("hidden") in _TRUE
                    elif name == "col" and attributes.get("hidden") in _TRUE:
                        self._hide(attributes)
                    formula, valued = formula or name == "f", valued or name in ("v", "is")
                    phonetic = phonetic or name == "rPh"
                    wanted = name in ("v", "t")
                elif name == "c":
                    shown = self._shown("".join(value), cell, formula, valued)
                    if shown and self._is_hidden(cell):
                        self._cells_unseen.add(cell.get("r", ""))
                        shown = ""
                    row.append(shown)
                    value.clear()
                elif name == "row":
                    line = "\t".join(row).rstrip()
                    row = []
                    if line and hidden:
                        self._rows_unseen.add(re.sub("[A-Za-z]", "", cell.get("r", "")))
                    elif line:
                        self._parts.item.budget.charge(len(line))
                        yield line
                else:
                    phonetic = phonetic and name != "rPh"
                    wanted = False

    def faults(self) -> Iterator[tuple[str, str]]:
        """(reason, detail) of what the rows leave out."""
        return faults(self._uncalculated, self._lost, self._rows_unseen, self._cells_unseen)

    def _hide(self, attributes) -> None:
        first, last = attributes.get("min", ""), attributes.get("max", "")
        if first.isdecimal() and last.isdecimal():
            self._hidden_columns.update(range(int(first[:6]) - 1, min(int(last[:6]), _COLUMNS)))

    def _is_hidden(self, cell: dict[str, str]) -> bool:
        return bool(self._hidden_columns) and _column(cell.get("r", "")) in self._hidden_columns

    def _shown(self, value: str, cell: dict[str, str], formula: bool, valued: bool) -> str:
        """What a cell shows; its value, the text of it, and whether it has a formula and a value for it."""
        kind, style = cell.get("t", "n"), cell.get("s", "")
        if formula and self._not_calculated(value, kind, valued):
            self._uncalculated.add(cell.get("r", ""))
            return ""
        if kind == "e" or not valued:  # #DIV/0! and the like
            return ""
        if kind == "b":
            return "TRUE" if value in _TRUE else "FALSE"
        if kind == "d":  # ISO 8601
            return value.strip()[:100].removesuffix("T00:00:00").replace("T", " ")
        formats = self._book.formats
        shape = formats[int(style)] if style.isdecimal() and int(style[:9]) < len(formats) else None
        if kind == "n":
            return _number(value.strip(), shape, self._book.since_1904) if value.strip() else ""
        text = self._string(value, cell) if kind == "s" else _text(value)
        return shape.text(text) if shape and text else text

    def _not_calculated(self, value: str, kind: str, valued: bool) -> bool:
        # Programs that write formulas and cannot calculate leave the value out, or write a 0 to be calculated anew.
        empty = not valued or (kind == "n" and not value.strip())
        return empty or (self._book.recalculated and kind == "n" and value.strip() == "0")

    def _string(self, value: str, cell: dict[str, str]) -> str:
        strings, number = self._book.strings, value.strip()[:9]
        if number.isdecimal() and int(number) < len(strings):
            return strings[int(number)]
        self._lost.add(cell.get("r", ""))
        return ""


def _column(reference: str) -> int:
    """The number of the column in a reference such as `AB12`, from 0; -1 without one."""
    match = _REFERENCE.match(reference)
    number = 0
    for letter in match[1].upper() if match else "":
        number = number * 26 + ord(letter) - 64
    return number - 1


def _number(value: str, shape: NumberFormat | None, since_1904: bool) -> str:
    if shape:
        return shape.number(value[:_LONGEST_NUMBER], since_1904)
    digits = value.removeprefix("-")
    if digits.isdecimal() or (len(value) <= _EXACT and digits.replace(".", "", 1).isdecimal()):
        return value[:_LONGEST_NUMBER]
    return number_format(GENERAL).number(value[:_LONGEST_NUMBER])
