"""Commands that ask the corpus: index build, count and search; trace."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textmill.base.errors import RecipeError
from textmill.cli import completion
from textmill.cli.app import App
from textmill.cli.options import Named, Outcome, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

app = App(help="Count and find texts in the training corpus.")
Asked = Annotated[
    str,
    typer.Argument(
        help="Name or path of a run, or a recipe (a TOML file).",
        show_default=False,
        autocompletion=completion.runs,
    ),
    Named(runs=True),
]
Part = Annotated[
    str,
    typer.Option(
        "--split",
        "--part",
        help="Split of the corpus: train, validation or test.",
        autocompletion=completion.parts,
    ),
]
_GB = 1_000_000_000


@app.command()
@verb()
def build(
    workspace: Workspace,
    target: Asked,
    part: Part = "train",
    memory: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="GB", help="Memory for sorting; left out: about 1.6 GB."),
    ] = None,
) -> Outcome:
    """Build the index of what a run was trained on, or of a recipe's corpus."""
    from textmill.cli.show import index
    from textmill.stages.tracing import index as stage

    return stage.build(
        workspace, target, part=part, memory=None if memory is None else int(memory * _GB)
    ), index.built


@app.command()
@verb()
def count(
    workspace: Workspace,
    target: Asked,
    text: Annotated[
        list[str], typer.Argument(help="Text to count; several may be given.", show_default=False)
    ],
    part: Part = "train",
) -> Outcome:
    """Count how often a text occurs. Builds the index first where it is missing."""
    from textmill.cli.show import index
    from textmill.stages.tracing import index as stage

    return stage.count(workspace, target, text, part=part), index.counts


@app.command()
@verb()
def search(
    workspace: Workspace,
    target: Asked,
    text: Annotated[str, typer.Argument(help="Text to search for.", show_default=False)],
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Occurrences shown.")] = 5,
    context: Annotated[int, typer.Option(min=0, help="Tokens shown before and after.")] = 16,
    part: Part = "train",
) -> Outcome:
    """Show where a text occurs: the documents, and the text around it."""
    from textmill.cli.show import index
    from textmill.stages.tracing import index as stage

    return stage.search(workspace, target, text, part=part, limit=limit, context=context), index.places


@verb()
def trace(
    workspace: Workspace,
    target: Annotated[
        str | None,
        typer.Argument(
            help="Name or path of a run, or a recipe (a TOML file); with --document: one run instead of all.",
            show_default=False,
            autocompletion=completion.runs,
        ),
        Named(runs=True),
    ] = None,
    text: Annotated[
        str | None,
        typer.Argument(
            help="Text to trace; `-` reads stdin; left out: the run's samples.", show_default=False
        ),
    ] = None,
    shortest: Annotated[int, typer.Option(min=1, help="Shortest span, in tokens.")] = 8,
    common: Annotated[
        int, typer.Option(min=1, help="Spans that occur more often count as common, and name no source.")
    ] = 1000,
    documents: Annotated[int, typer.Option(min=0, help="Documents named for each span.")] = 5,
    document: Annotated[
        str | None,
        typer.Option(
            metavar="DOC",
            help="The other way: which checkpoints saw this document (its id, path, file or folder).",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --document: one run instead of all.",
            autocompletion=completion.runs,
        ),
        Named(runs=True),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="An answer instead of a text, as `docs ask --json` prints it (`-`: stdin): what of it the documents "
            "hold that were retrieved, and what the training text.",
            show_default=False,
        ),
    ] = None,
    part: Part = "train",
) -> Outcome:
    """Show which spans of a text occur word for word in the corpus, and in which documents; or, with --document,
    which runs and checkpoints saw a document, at which steps and how often."""
    from textmill.cli.show import account, index
    from textmill.stages.tracing import answered, sightings
    from textmill.stages.tracing import trace as stage

    if document is not None:
        return sightings.sightings(workspace, document, run=run or target), account.sightings
    if target is None:
        raise RecipeError("there is nothing to trace", where="TARGET", advice="name a run, or a --document")
    if answer is not None:
        return answered.trace(
            workspace,
            target,
            _answer(answer),
            part=part,
            shortest=shortest,
            common=common,
            documents=documents,
        ), index.answer
    if text == "-":
        text = sys.stdin.read()
    return stage.trace(
        workspace, target, text, part=part, shortest=shortest, common=common, documents=documents
    ), index.traces


def _answer(file: str) -> dict[str, Any]:
    """What a file of `docs ask --json` holds. Raises RecipeError for another."""
    try:
        found = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(
            "cannot be read", where=f"--answer {file}", advice="`textmill docs ask … --json` prints one"
        ) from error
    if not isinstance(found, dict):
        raise RecipeError(
            "is no answer", where=f"--answer {file}", advice="`textmill docs ask … --json` prints one"
        )
    return found


@verb()
def forget(
    workspace: Workspace,
    documents: Annotated[
        list[str] | None,
        typer.Argument(
            help="Documents: ids or beginnings of ids, paths, files or folders.", show_default=False
        ),
    ] = None,
    near: Annotated[bool, typer.Option("--near", help="Also near-duplicates.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be forgotten, and exit.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    undo: Annotated[
        bool,
        typer.Option(
            "--undo", help="Take the last request off the list, until something was trained without it."
        ),
    ] = False,
) -> Outcome:
    """Leave documents out of every corpus from now on, and list what was made from them. Deletes nothing.

    A document stays forgotten when its file is changed, and when the same text stands in another file.
    """
    from textmill.cli.show import account
    from textmill.stages.tracing import forget as stage

    if undo:
        if documents:
            raise RecipeError("takes no documents: it undoes the last request", where="--undo")
        return stage.undo(workspace), account.undone
    if not documents:
        raise RecipeError(
            "there is nothing to forget", where="DOCUMENT", advice="name a file or an id, or --undo"
        )
    chosen = stage.choose(workspace, documents, near=near)
    if not (yes or dry_run):
        if not sys.stdin.isatty():
            raise RecipeError(
                "asks before it writes, and the input is not a terminal",
                where="forget",
                advice="--dry-run shows what would be forgotten, --yes does it",
            )
        for line in account.question(stage.account(workspace, chosen, write=False)):
            typer.echo(line, err=True)
        dry_run = not typer.confirm("Leave them out of every corpus from now on?", err=True)
    return stage.account(workspace, chosen, write=not dry_run), account.forgotten
