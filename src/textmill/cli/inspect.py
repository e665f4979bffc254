"""Commands that look: doctor, lineage, data where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.cli import completion
from textmill.cli.app import App
from textmill.cli.options import Named, Outcome, RunName, Target, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

data = App(help="Look at the training data.")


@verb(silent=True)
def doctor(workspace: Workspace) -> Outcome:
    """Say what this machine can do, and what to install for what is missing."""
    from textmill.cli.show import stages
    from textmill.stages import doctor as stage

    return stage.examine(workspace.root), stages.doctor


@verb(silent=True)
def lineage(
    workspace: Workspace,
    path: Target,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every file again and compare.")] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OTHER", help="Show how its corpus differs from another artifact's.", show_default=False
        ),
    ] = None,
) -> Outcome:
    """Walk an artifact back to the sources it was made from."""
    from textmill.cli.show import account, stages
    from textmill.stages.tracing import ancestry

    if against is not None:
        return ancestry.difference(workspace, against, path), account.difference
    return ancestry.tree(workspace, path, verify=verify), stages.lineage


@data.command()
@verb(silent=True)
def where(
    workspace: Workspace,
    target: RunName,
    step: Annotated[int, typer.Option(min=1, help="Training step, counted from 1.")],
) -> Outcome:
    """List the documents in the batch of a training step."""
    from textmill.cli.show import stages
    from textmill.stages.tracing import ancestry

    return ancestry.batch_documents(workspace, target, step), stages.documents


@data.command()
@verb()
def contamination(
    workspace: Workspace,
    target: Annotated[
        str,
        typer.Argument(
            help="Recipe or run whose corpus is searched.",
            show_default=False,
            autocompletion=completion.runs,
        ),
        Named(runs=True),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(help="Evaluation sets: JSON lines, CSV, Parquet or text.", show_default=False),
    ],
    part: Annotated[
        str,
        typer.Option("--split", "--part", help="Split of the corpus.", autocompletion=completion.parts),
    ] = "train",
    ngram: Annotated[int, typer.Option(min=5, help="Consecutive words that count as found.")] = 13,
) -> Outcome:
    """Find the examples of evaluation sets that a corpus holds: exactly, by n-gram overlap, or nearly."""
    from textmill.cli.show import index
    from textmill.stages.tracing import contamination as stage

    return stage.overlap(workspace, target, files, part=part, ngram=ngram), index.contamination
