"""Options that several verbs share, and what they turn into."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from textmill.base.console import Reporter, Silent
from textmill.base.errors import RecipeError

RecipeFile = Annotated[Path, typer.Argument(help="Recipe, a TOML file.", show_default=False)]
Target = Annotated[
    str, typer.Argument(help="Name of a run, or path of a run or model directory.", show_default=False)
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="A.B=V", help="Override a key of the recipe; may be given again.", show_default=False
    ),
]
Work = Annotated[
    Path,
    typer.Option("--work", envvar="TEXTMILL_WORK", metavar="DIR", help="Where artifacts and runs are kept."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what must be acted on.")]
WORK = Path("work")


def open_workspace(work: Path, *, quiet: bool = False):
    """The workspace of these options: a live screen on a terminal, plain lines elsewhere."""
    from textmill.stages.workspace.workspace import Workspace

    return Workspace(Path(work).expanduser().absolute(), reporter(quiet))


@contextlib.contextmanager
def opened(work: Path, quiet: bool):
    """The same, for as long as the work takes; the terminal is given back however it ends."""
    workspace = open_workspace(work, quiet=quiet)
    try:
        yield workspace
    finally:
        workspace.reporter.close()


def reporter(quiet: bool) -> Reporter:
    """Whom the stages tell."""
    if quiet:
        return Silent()
    if sys.stderr.isatty():
        from textmill.cli.screen import Screen

        return Screen()
    return Reporter()


def read_recipe(path: Path, overrides: list[str] | None):
    """The checked recipe of these options."""
    from textmill.specs import recipe_file

    if path.suffix != ".toml" and not path.exists():
        raise RecipeError(
            "there is no such recipe", where=path, advice="`textmill recipe new NAME.toml` makes one"
        )
    return recipe_file.load(path, overrides or ())
