"""Old Excel workbooks (.xls, [MS-XLS]), read by xlrd (extra `office`): one document a sheet, as of new ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats.number_format import number_format
from textmill.text.sources.formats.spreadsheet import Missing, faults
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside, read_whole

_FORMULA, _EMPTY_TEXT = (
    0x0006,
    (3, 0xFFFF),
)  # a kind of record, and the result of a formula that is an empty text


def sheets(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The documents of an .xls file, one a sheet, in the workbook's order."""
    try:
        from xlrd import open_workbook
        from xlrd.biffh import XLRDError
    except ImportError as error:
        raise SetAside(
            "needs the extra `office`", "pip install 'textmill[office]', or save it as .xlsx"
        ) from error
    data = read_whole(item)
    try:
        book = open_workbook(file_contents=data, logfile=io.StringIO(), formatting_info=True, on_demand=True)
    except XLRDError as error:
        if "encrypted" in str(error).lower():
            raise SetAside("is encrypted", "it has a password") from error
        raise SetAside(
            "is damaged, or not what its file extension says", printable(str(error))[:300]
        ) from error
    stream = memoryview(book.mem or b"")[book.base : book.base + book.stream_len]
    for reason, detail in faults(_uncalculated(stream), Missing(), Missing(), Missing()):
        yield Rejected(None, item.place, "read", reason, detail)
    for number, title in enumerate(book.sheet_names()):
        name = printable(title).translate({47: "_", 33: "_"})[:100]
        location = f"{item.place}:sheet {name}"
        sheet = book.sheet_by_index(number)
        if sheet.visibility:
            yield Rejected(None, location, "read", "is a hidden sheet")
            continue
        rows_unseen, cells_unseen = Missing(), Missing()
        rows = list(_rows(item, book, sheet, rows_unseen, cells_unseen))
        book.unload_sheet(number)
        if rows:
            yield collected("\n".join(rows), location, {"sheet": name})
        left_out = list(faults(Missing(), Missing(), rows_unseen, cells_unseen))
        for reason, detail in left_out or ([] if rows else [("holds no text", "")]):
            yield Rejected(None, location, "read", reason, detail)


def _uncalculated(stream: memoryview) -> Missing:
    """The cells of formulas, where every one of them is saved without a value: whoever wrote the workbook has
    calculated none ([MS-XLS] §2.4.127). That some give an empty text is nothing strange.
    """
    from xlrd import cellname

    missing, at = Missing(), 0
    while at + 4 <= len(stream):
        kind, length = struct.unpack_from("<HH", stream, at)
        if kind == _FORMULA and length >= 14:
            row, column, _, what, mark = struct.unpack_from("<HHHB5xH", stream, at + 4)
            if (what, mark) != _EMPTY_TEXT:
                return Missing()
            missing.add(cellname(row, column))
        at += 4 + length
    return missing


def _rows(item: Input, book: Any, sheet: Any, rows_unseen: Missing, cells_unseen: Missing) -> Iterator[str]:
    from xlrd import cellname

    deadline = Deadline(item.limits)
    hidden = {at for at, column in sheet.colinfo_map.items() if column.hidden}
    for number in range(sheet.nrows):
        deadline.check()
        cells = [_shown(book, cell) for cell in sheet.row(number)]
        for column in hidden:
            if column < len(cells) and cells[column]:
                cells_unseen.add(cellname(number, column))
                cells[column] = ""
        line = "\t".join(cells).rstrip()
        row = sheet.rowinfo_map.get(number)
        if line and row is not None and row.hidden:
            rows_unseen.add(str(number + 1))
        elif line:
            item.budget.charge(len(line))
            yield line


def _shown(book: Any, cell: Any) -> str:
    """A cell as it is shown."""
    import xlrd

    code = ""
    if cell.xf_index is not None and cell.xf_index < len(book.xf_list):
        shape = book.format_map.get(book.xf_list[cell.xf_index].format_key)
        code = shape.format_str if shape else ""
    if cell.ctype == xlrd.XL_CELL_TEXT:
        text = " ".join(cell.value.split())
        return number_format(code).text(text) if code and text else text
    if cell.ctype in (xlrd.XL_CELL_NUMBER, xlrd.XL_CELL_DATE):
        return number_format(code or "General").number(repr(cell.value), bool(book.datemode))
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return "TRUE" if cell.value else "FALSE"
    return ""
