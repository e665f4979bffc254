"""Paragraphs and tables on their way to plain text, the same for every form an office has.

Paragraphs are set apart by an empty line; items of a list follow one another line by line, as do the rows of a table,
whose cells are separated by tabs. What stands inside a cell is one line: paragraphs, lists and tables within it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LIST = "list"


@dataclass(slots=True)
class _Table:
    row: list[str] = field(default_factory=list)
    cell: list[str] = field(default_factory=list)


class Blocks:
    """A text that is being put together."""

    def __init__(self, gap: str = "\n\n") -> None:
        self._gap = gap  # between what does not belong together
        self._out: list[
            tuple[str, object]
        ] = []  # (text, what it belongs to): neighbours of one thing are lines
        self._table: _Table | None = None
        self._nested = 0  # tables within a cell of the outermost

    @property
    def size(self) -> int:
        """How many pieces there are so far."""
        return len(self._out) + (len(self._table.cell) + len(self._table.row) if self._table else 0)

    def paragraph(self, text: str, group: object = None) -> None:
        """A paragraph; with a group, one line of it."""
        if self._table is not None:
            self._table.cell.append(text)
        elif text := text.strip("\n").rstrip():
            self._out.append((text, group))

    def begin_table(self) -> None:
        if self._table is None:
            self._table = _Table()
        else:
            self._nested += 1

    def end_table(self) -> None:
        if self._nested:
            self._nested -= 1
            return
        self.end_row()
        self._table = None

    def end_cell(self, text: str = "") -> None:
        """The end of a cell, after which `text` may stand as well."""
        if self._table is not None and not self._nested:
            cell = " ".join(" ".join([*self._table.cell, text]).split())
            self._table.row.append(cell)
            self._table.cell.clear()

    def end_row(self, *, shown: bool = True) -> None:
        if self._table is None or self._nested:
            return
        if self._table.cell:
            self.end_cell()
        line = "\t".join(self._table.row)
        self._table.row.clear()
        if line.strip() and shown:
            self._out.append((line.rstrip(), self._table))

    def text(self) -> str:
        """All of it; a table that was never closed is."""
        while self._table is not None:
            self.end_table()
        pieces: list[str] = []
        last: object = None
        for text, group in self._out:
            if pieces:
                pieces.append("\n" if group is not None and group is last else self._gap)
            pieces.append(text)
            last = group
        return "".join(pieces)
