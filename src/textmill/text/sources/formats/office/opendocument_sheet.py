"""A sheet of OpenDocument as it is read (OASIS ODF 1.3 part 3 §9): its rows, and what is no part of its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from textmill.text.sources.formats.spreadsheet import Missing, faults
from textmill.text.sources.formats.xml_events import attribute


@dataclass
class Sheet:
    """A sheet as it is read."""

    name: str
    hidden: bool
    rows: list[str] = field(default_factory=list)
    row: int = 0  # rows so far, those counted that stand for several
    uncalculated: Missing = field(default_factory=Missing)
    rows_unseen: Missing = field(default_factory=Missing)
    cells_unseen: Missing = field(default_factory=Missing)
    _columns: int = 0
    _hidden_columns: list[tuple[int, int]] = field(default_factory=list)

    def add_columns(self, attributes: Mapping[str, str]) -> None:
        first, count = self._columns, count_of(attribute(attributes, "number-columns-repeated"))
        self._columns += count
        if attribute(attributes, "visibility") in ("collapse", "filter"):
            self._hidden_columns.append((first, first + count))

    def is_hidden(self, column: int) -> bool:
        return any(first <= column < end for first, end in self._hidden_columns)

    def left_out(self, any_text: bool) -> list[tuple[str, str]]:
        """(reason, detail) of what is no part of the sheet's text."""
        if self.hidden:
            return [("is a hidden sheet", "")]
        found = list(faults(self.uncalculated, Missing(), self.rows_unseen, self.cells_unseen))
        return found or ([] if any_text else [("holds no text", "")])


def count_of(text: str) -> int:
    """How many rows, columns or blanks one element stands for."""
    return int(text[:7]) if text.isascii() and text.isdigit() else 1
