"""Where results go, and what a table of them looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from textmill.base.language import say

NONE = "–"  # where there is no figure


class Results(Console):
    """A console that prints messages (plain strings) in the language a person chose. A `Text` or a table is printed as
    it is: it may be somebody's own text, and whoever makes one says which of its words are ours."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(say(item) if isinstance(item, str) else item for item in objects), **options)

    def on_broken_pipe(self) -> None:
        """The reader of a pipe went away: that is for cli/ending.py to know, as of all output."""
        raise BrokenPipeError


OUT = Results(highlight=False, soft_wrap=False)


class Columns(Table):
    """A table whose cells are as they are: a name may hold what elsewhere is markup."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def columns(*headers: str | Text, right: Sequence[int] = ()) -> Columns:
    """An empty table with these headers; those whose numbers are in `right` hold figures. A `Text` is not ours."""
    table = Columns(box=None, pad_edge=False, header_style="bold")
    for number, header in enumerate(headers):
        table.add_column(
            say(header) if isinstance(header, str) else header,
            justify="right" if number in right else "left",
            overflow="fold",
            no_wrap=number == 0,
        )
    return table
