"""Where results go, and what a table of them looks like."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

OUT = Console(highlight=False, soft_wrap=False)
NONE = "–"  # where there is no figure


def columns(*headers: str, right: Sequence[int] = ()) -> Table:
    """An empty table with these headers; those whose numbers are in `right` hold figures."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, header in enumerate(headers):
        table.add_column(
            header, justify="right" if number in right else "left", overflow="fold", no_wrap=number == 0
        )
    return table
