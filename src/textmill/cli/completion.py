"""What a shell offers when Tab is pressed: names of runs and models, formats, choices, keys of a recipe.

`textmill --install-completion` switches it on. A shell waits for the answer, so nothing heavy is loaded here, and what
cannot be found out is not offered.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

Offer = Callable[[typer.Context, str], list[str]]


# The names of tasks/table.py, which takes seconds to load.
TASKS = ("generate", "chat", "translate", "summarize", "answer", "classify", "tag", "regress", "embed")
TASKS += ("choice", "retrieve", "code")


def among(*choices: str) -> Offer:
    """Offers these."""

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        return list(choices)

    return offer


def parts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Splits of a corpus."""
    return ["train", "validation", "test"]


def targets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs of the workspace and models of the models folder; for what looks like a path, the shell offers files."""
    return _names(ctx, incomplete, runs=False)


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs of the workspace."""
    return _names(ctx, incomplete, runs=True)


def formats(ctx: typer.Context, incomplete: str) -> list[str]:
    """Formats that models are exported to."""
    from textmill.interop.formats import FORMATS

    return list(FORMATS)


def tasks(ctx: typer.Context, incomplete: str) -> list[str]:
    """The tasks there are."""
    return list(TASKS)


def keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Keys of a recipe for --set: `training.steps=`, or with each choice, `model.norm=layernorm`."""
    from textmill.base import schema
    from textmill.specs.recipe import Recipe

    return list(_keys(schema.json_schema(Recipe), ""))


def _keys(table: dict[str, Any], path: str) -> Iterator[str]:
    """Every key beneath a table of a JSON Schema; where a table may be of several kinds, the keys of each."""
    for name, about in table.get("properties", {}).items():
        kinds = about.get("anyOf") or about.get("oneOf") or [about]
        inner = [key for kind in kinds for key in _keys(kind, f"{path}{name}.")]
        values = [value for kind in kinds for value in kind.get("enum", [""])]
        yield from dict.fromkeys(inner or [f"{path}{name}={value}" for value in values])


def _names(ctx: typer.Context, incomplete: str, *, runs: bool) -> list[str]:
    if os.sep in incomplete or incomplete.startswith((".", "~")):
        return []
    from textmill.stages.workspace import locate

    with contextlib.suppress(OSError):
        return locate.names(workspace_of(ctx), runs=runs)
    return []


def workspace_of(ctx: typer.Context) -> Workspace:
    """The workspace of a command line that is being typed."""
    from textmill.base.console import Silent
    from textmill.stages.workspace.workspace import Workspace

    work = ctx.params.get("work") or os.environ.get("TEXTMILL_WORK") or "work"
    return Workspace(Path(work).expanduser().absolute(), Silent())
