"""The command that says of rows what a model's task says of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.base import machine
from textmill.base.errors import RecipeError
from textmill.cli import completion
from textmill.cli.models import AdapterName, Checkpoint, Weights
from textmill.cli.options import Outcome, Target, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

Given = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="Texts, or files of them (text, JSONL, CSV, TSV, Parquet); `-` or nothing reads stdin.",
        show_default=False,
    ),
]


@verb()
def predict(
    workspace: Workspace,
    target: Target,
    given: Given = None,
    file: Annotated[
        list[Path] | None, typer.Option(help="Read rows from this file, too.", show_default=False)
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=COLUMN", help="Column that holds a text, such as source=en.", show_default=False
        ),
    ] = None,
    constant: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="ROLE=TEXT", help="The same text for every row.", show_default=False),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="jsonl|csv|tsv|parquet|text",
            help="What the input is; left out: what its name and its beginning say.",
            autocompletion=completion.among("jsonl", "csv", "tsv", "parquet", "text"),
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many answers of each row, best first.")] = 1,
    weights: Weights = "fp32",
    checkpoint: Checkpoint = None,
    adapter: AdapterName = None,
) -> Outcome:
    """Say of every row what the model's task says of it: the same rows come out, with the prediction beside them."""
    from textmill.stages.use import predict as stage
    from textmill.stages.use.model import LanguageModel
    from textmill.tasks.prediction import Refused
    from textmill.tasks.task import Options

    texts, files, stdin = stage.sorted_out(given or [])
    inputs = stage.Inputs(
        texts,
        [*files, *(file or [])],
        sys.stdin.buffer if stdin or not (given or file) else None,
        kind,
        _pairs(columns, "--columns"),
        _pairs(constant, "--with"),
    )
    machine.keep_memory()
    model = LanguageModel(workspace, target, weights=weights, checkpoint=checkpoint)
    model = model if adapter is None else model.with_adapter(adapter)
    skipped = read = 0
    for done in stage.predict(model, inputs, Options(top=top)):
        read += 1
        if isinstance(done.said, Refused):
            skipped += 1
            workspace.reporter.warn(f"{done.said.place or f'row {read}'}: skipped: {done.said}")
        else:
            print(json.dumps(done.plain(), ensure_ascii=False), flush=True)
    workspace.reporter.note(f"read {read:,} rows: predicted {read - skipped:,}, skipped {skipped:,}")
    return None


def _pairs(given: list[str] | None, where: str) -> dict[str, str]:
    pairs = {}
    for text in given or []:
        role, equals, value = text.partition("=")
        if not (equals and role and value):
            raise RecipeError(f"{text!r} is not ROLE=VALUE", where=where, advice="such as source=en")
        pairs[role] = value
    return pairs
