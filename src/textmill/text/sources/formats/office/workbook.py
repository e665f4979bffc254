"""Old Excel workbooks (.xls, [MS-XLS]), read by xlrd (extra `office`): one document a sheet, as of new ones."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside, read_whole


def sheets(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The documents of an .xls file, one a sheet, in the workbook's order."""
    try:
        import xlrd
    except ImportError as error:
        raise SetAside(
            "needs the office extra", "pip install 'textmill[office]', or save it as .xlsx"
        ) from error
    data = read_whole(item)
    try:
        book = xlrd.open_workbook(
            file_contents=data, logfile=io.StringIO(), formatting_info=True, on_demand=True
        )
    except xlrd.XLRDError as error:
        if "encrypted" in str(error).lower():
            raise SetAside("is encrypted", "it has a password") from error
        raise SetAside("is damaged or not what its name says", printable(str(error))[:300]) from error
    epoch = datetime(1904, 1, 1) if book.datemode else datetime(1899, 12, 30)
    for number, title in enumerate(book.sheet_names()):
        deadline = Deadline(item.limits)
        name = printable(title).translate({47: "_", 33: "_"})[:100]
        location = f"{item.place}:sheet {name}"
        sheet = book.sheet_by_index(number)
        rows = []
        for row in range(sheet.nrows):
            deadline.check()
            line = "\t".join(_shown(cell, epoch) for cell in sheet.row(row)).rstrip()
            item.budget.charge(len(line))
            rows.append(line)
        book.unload_sheet(number)
        text = "\n".join(filter(None, rows))
        if text:
            yield collected(text, location, {"sheet": name})
        else:
            yield Rejected(None, location, "read", "holds no text")


def _shown(cell: Any, epoch: datetime) -> str:
    import xlrd

    if cell.ctype == xlrd.XL_CELL_TEXT:
        return " ".join(cell.value.split())
    if cell.ctype == xlrd.XL_CELL_NUMBER:
        return f"{cell.value:.15g}"
    if cell.ctype == xlrd.XL_CELL_DATE and 0 <= cell.value < 2_958_466:
        when = epoch + timedelta(days=cell.value) + timedelta(milliseconds=500)
        when = when.replace(microsecond=0)
        if cell.value < 1:
            return when.strftime("%H:%M:%S")
        return when.strftime("%Y-%m-%d" if cell.value == int(cell.value) else "%Y-%m-%d %H:%M:%S")
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return "TRUE" if cell.value else "FALSE"
    return ""
