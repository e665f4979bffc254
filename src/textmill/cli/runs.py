"""`textmill runs` and `textmill compare`: what was trained, how it went, and which was better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmill.base.console import print_json
from textmill.cli.options import WORK, Json, Work, open_workspace

app = typer.Typer(help="List the runs, and draw their curves.", invoke_without_command=True)
Name = Annotated[str, typer.Argument(help="Name of a run.", show_default=False)]


@app.callback()
def _list(context: typer.Context, work: Work = WORK, json: Json = False) -> None:
    if context.invoked_subcommand is None:
        list_runs(work, json)


@app.command("list")
def list_runs(work: Work = WORK, json: Json = False) -> None:
    """Every run here: steps, losses, scores, and where it stands."""
    from textmill.cli.show import stages
    from textmill.stages.runs import history

    rows = history.overview(open_workspace(work, quiet=True))
    print_json(rows) if json else stages.runs(rows)


@app.command("show")
def show_run(
    name: Name,
    svg: Annotated[Path | None, typer.Option(help="Also write the curves to this SVG file.")] = None,
    work: Work = WORK,
    json: Json = False,
) -> None:
    """Draw a run's loss curves in the terminal, and as SVG."""
    from textmill.cli.show import stages
    from textmill.stages.runs import history

    workspace = open_workspace(work, quiet=True)
    result = history.details(workspace, name)
    if svg is not None:
        from textmill.base.files import write_text

        write_text(svg, history.svg(workspace, [name]))
    print_json(result) if json else stages.run(result)


@app.command("draw")
def draw_runs(
    names: Annotated[list[str], typer.Argument(help="Names of runs.", show_default=False)],
    svg: Annotated[Path, typer.Option(help="SVG file to write.", show_default=False)],
    work: Work = WORK,
) -> None:
    """Draw the loss curves of several runs into one picture."""
    from textmill.base.files import write_text
    from textmill.stages.runs import history

    write_text(svg, history.svg(open_workspace(work, quiet=True), names))


def compare(
    first: Name,
    second: Name,
    svg: Annotated[Path | None, typer.Option(help="Also write both curves to this SVG file.")] = None,
    work: Work = WORK,
    json: Json = False,
) -> None:
    """Set two runs side by side: what differs in their recipes, and in their figures."""
    from textmill.cli.show import stages
    from textmill.stages.runs import history

    workspace = open_workspace(work, quiet=True)
    result = history.compare(workspace, first, second)
    if svg is not None:
        from textmill.base.files import write_text

        write_text(svg, history.svg(workspace, [first, second]))
    print_json(result) if json else stages.comparison(result)
