"""What was guessed of a person's data, and the recipe made of it."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from textmill.base.language import say
from textmill.cli.show.output import OUT as _OUT
from textmill.cli.show.output import columns
from textmill.stages.preparation.suggest import Suggestion, called, described, offered


def suggestion(made: Suggestion, path: Path) -> None:
    """What was guessed and why, where it was written, and what comes next."""
    guess(made)
    _OUT.print(f"\nrecipe     {escape(str(path))}", soft_wrap=True)
    if made.start is not None:
        start(made)
    _OUT.print(f"next       textmill check {path}; textmill run {path}", soft_wrap=True)


def guess(made: Suggestion) -> None:
    """The task and the role of each column, with the reasons."""
    found = made.guess
    _OUT.print(f"{found.rows:,} records" if found.whole else f"about {found.rows:,} records")
    table = columns("", "guessed", "why")
    for what, which, why in described(made):
        table.add_row(say(what) if what == "task" else what, which, say(why))
    _OUT.print(table)
    if found.left:
        _OUT.print(f"left out: {escape(', '.join(map(called, found.left)))}", soft_wrap=True)
    if made.aside:
        _OUT.print(f"files left out: {escape(', '.join(made.aside))}", soft_wrap=True)
    if found.columns:
        wrong = ",".join(f"{role}=COLUMN" for role in found.columns)
        _OUT.print(f"not so? --columns {wrong}, or --task TASK", soft_wrap=True)


def start(made: Suggestion) -> None:
    """A model that would help."""
    if (command := offered(made)) is not None:
        _OUT.print(f"better     {command}, and then the same with --from {made.start}", soft_wrap=True)
    else:
        _OUT.print(f"better     begin with a model that knows English: --from {made.start}", soft_wrap=True)
