"""`textmill runs` and `textmill compare`: what was trained, how it went, and which was better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.cli.app import App
from textmill.cli.options import WORK, Json, Outcome, RunName, Work, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

app = App(help="List the runs, and plot their curves.", invoke_without_command=True)


@app.callback()
def _list(context: typer.Context, work: Work = WORK, json: Json = False) -> None:
    if context.invoked_subcommand is None:
        list_runs(work=work, json=json)


@app.command("list")
@verb(silent=True)
def list_runs(workspace: Workspace) -> Outcome:
    """Every run here: steps, losses, scores, and where it stands."""
    from textmill.cli.show import stages
    from textmill.stages.runs import history

    return {"runs": history.overview(workspace)}, lambda result: stages.runs(result["runs"])


@app.command("show")
@verb(silent=True)
def show_run(
    workspace: Workspace,
    name: RunName,
    svg: Annotated[Path | None, typer.Option(help="Also write the curves to this SVG file.")] = None,
) -> Outcome:
    """Plot a run's loss curves in the terminal, and as SVG."""
    from textmill.cli.show import stages
    from textmill.stages.runs import history

    result = history.details(workspace, name)
    _draw(workspace, [name], svg)
    return result, stages.run


@app.command("draw")
@verb(silent=True)
def draw_runs(
    workspace: Workspace,
    names: Annotated[list[str], typer.Argument(help="Names of runs.", show_default=False)],
    svg: Annotated[Path, typer.Option(help="SVG file to write.", show_default=False)],
) -> Outcome:
    """Plot the loss curves of several runs in one picture."""
    _draw(workspace, names, svg)
    return {"runs": names, "svg": str(svg)}, lambda _: None


@verb(silent=True)
def report(
    workspace: Workspace,
    name: RunName,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the page to this file; left out: report.html beside the run.", show_default=False
        ),
    ] = None,
) -> Outcome:
    """Write one HTML page of a run: curves, scores, samples, data, lineage and settings, whole in one file."""
    from textmill.cli.show import stages
    from textmill.stages import report as stage

    return stage.write(workspace, name, out), stages.report


@verb(silent=True)
def compare(
    workspace: Workspace,
    first: RunName,
    second: RunName,
    svg: Annotated[Path | None, typer.Option(help="Also write both curves to this SVG file.")] = None,
) -> Outcome:
    """Compare two runs: what differs in their recipes, and in their figures."""
    from textmill.cli.show import stages
    from textmill.stages.runs import history

    result = history.compare(workspace, first, second)
    _draw(workspace, [first, second], svg)
    return result, stages.comparison


def _draw(workspace: Workspace, names: list[str], svg: Path | None) -> None:
    from textmill.base.files import write_text
    from textmill.stages.runs import history

    if svg is not None:
        write_text(svg, history.svg(workspace, names), private=False)
