"""Verbs that look: doctor, lineage, data where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmill.base.console import print_json
from textmill.base.errors import FAILED
from textmill.cli.options import WORK, Json, Quiet, Target, Work, open_workspace, opened

data = typer.Typer(help="Look into the training data.", no_args_is_help=True)


def doctor(work: Work = WORK, json: Json = False) -> None:
    """Say what this machine can do, and what to install for what is missing."""
    from textmill.cli.show import stages
    from textmill.stages import doctor as stage

    result = stage.examine(Path(work))
    print_json(result) if json else stages.doctor(result)


def lineage(
    path: Target,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every file again and compare.")] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OTHER", help="Show how its corpus differs from another artifact's.", show_default=False
        ),
    ] = None,
    work: Work = WORK,
    json: Json = False,
) -> None:
    """Walk an artifact back to the sources it was made from."""
    from textmill.cli.show import account, stages
    from textmill.stages.tracing import ancestry

    if against is not None:
        result = ancestry.difference(open_workspace(work, quiet=True), against, path)
        print_json(result) if json else account.difference(result)
        return
    result = ancestry.tree(open_workspace(work, quiet=True), path, verify=verify)
    print_json(result) if json else stages.lineage(result)
    if not result["ok"]:
        raise typer.Exit(FAILED)


@data.command()
def where(
    target: Target,
    step: Annotated[int, typer.Option(min=0, help="Training step, from 0.")],
    work: Work = WORK,
    json: Json = False,
) -> None:
    """List the documents in the batch of a training step."""
    from textmill.cli.show import stages
    from textmill.stages.tracing import ancestry

    result = ancestry.batch_documents(open_workspace(work, quiet=True), target, step)
    print_json(result) if json else stages.documents(result)


@data.command()
def contamination(
    target: Annotated[
        str, typer.Argument(help="Recipe or run whose corpus is looked at.", show_default=False)
    ],
    files: Annotated[
        list[Path],
        typer.Argument(help="Evaluation sets: JSON lines, CSV, Parquet or text.", show_default=False),
    ],
    part: Annotated[str, typer.Option(help="Part of the corpus.")] = "train",
    ngram: Annotated[int, typer.Option(min=5, help="Words in a row that count as found.")] = 13,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the examples of evaluation sets that a corpus holds: whole, by a run of words, or nearly."""
    from textmill.cli.show import index
    from textmill.stages.tracing import contamination as stage

    with opened(work, quiet) as workspace:
        result = stage.overlap(workspace, target, files, part=part, ngram=ngram)
    print_json(result) if json else index.contamination(result)
