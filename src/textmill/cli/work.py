"""Commands that make a model: quickstart, check, run, prepare, train."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textmill.base.errors import RecipeError
from textmill.cli.options import (
    Columns,
    Data,
    From,
    Kind,
    Outcome,
    Phase,
    RecipeFile,
    Set,
    TaskName,
    read_recipe,
    read_recipes,
    verb,
)

if TYPE_CHECKING:
    from textmill.specs.recipe import Recipe
    from textmill.stages.workspace.workspace import Workspace


class Engine(enum.StrEnum):
    """Who prepares."""

    LOCAL = "local"
    RAY = "ray"


Fork = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Train on under a new name, from the newest checkpoint of the run."),
]


@verb()
def quickstart(
    workspace: Workspace,
    minutes: Annotated[float, typer.Option(min=0.05, help="Minutes of training.")] = 4.0,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            help="Your own files or folders; left out: Python's standard library.", show_default=False
        ),
    ] = None,
    data: Data = None,
    task: TaskName = None,
    columns: Columns = None,
    start: From = None,
    kind: Kind = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; left out: quickstart.", show_default=False)
    ] = None,
) -> Outcome:
    """From your records (--data) or texts (--corpus) to your own model, in one command: prepare, train, evaluate beside
    baselines, show what it says. Interrupt it and run it again: it resumes."""
    from textmill.cli.show import quickstart as show
    from textmill.stages import quickstart as stage

    if corpus and (data or task not in (None, "generate")):
        raise RecipeError(
            "is for language models", where="--corpus", advice="give records of a task with --data"
        )
    result = stage.quickstart(
        workspace,
        minutes=minutes,
        corpus=corpus or [],
        data=data or [],
        task=task,
        columns=columns or [],
        start=start,
        kind=kind,
        name=name,
    )
    return result, show.quickstart


@verb()
def check(
    workspace: Workspace,
    recipe: RecipeFile,
    set_: Set = None,
    phase: Phase = None,
    rates: Annotated[
        bool, typer.Option("--rates", help="Also sweep the learning rate (about 100 steps).")
    ] = False,
) -> Outcome:
    """Say what a recipe will cost and whether it trains on what you think, before any training."""
    from textmill.cli.show import stages
    from textmill.stages.runs import check as stage

    return stage.check(
        read_recipe(recipe, set_, workspace, phase=phase), workspace, sweep=rates
    ), stages.check


@verb()
def prepare(
    workspace: Workspace,
    recipe: RecipeFile,
    set_: Set = None,
    phase: Phase = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Worker processes; left out: one per core.", show_default=False),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="This machine, or a Ray cluster that sees the same folders.")
    ] = Engine.LOCAL,
) -> Outcome:
    """Collect and clean the text, write its data card, learn the tokenizer, and encode every split.

    Killed and run again, it resumes with what was finished; the result is the same whoever made it.
    """
    from textmill.cli.show import stages
    from textmill.stages.preparation import prepare as stage

    run = stage.runner(engine.value, workers)
    result = stage.summary(
        stage.prepare(read_recipe(recipe, set_, workspace, phase=phase), workspace, run=run)
    )
    return result, partial(stages.prepared, noted=workspace.reporter.noted)


def _of_recipes(act: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """`act(workspace, recipes, fork)`, of a recipe or of all its phases, with the options that say which."""

    def command(
        workspace: Workspace,
        recipe: RecipeFile,
        set_: Set = None,
        fork: Fork = None,
        start: From = None,
        phase: Phase = None,
    ) -> Outcome:
        return act(workspace, read_recipes(recipe, set_, workspace, start=start, phase=phase), fork)

    command.__name__, command.__doc__ = act.__name__, act.__doc__
    return command


@verb()
@_of_recipes
def train(workspace: Workspace, recipes: Iterator[Recipe], fork: str | None) -> Outcome:
    """Train the recipe's model; a run that exists is resumed exactly where it was. Prepares what is missing."""
    from textmill.cli.show import stages
    from textmill.stages.runs import train as stage

    results = [stage.summary(stage.train(each, workspace, fork=fork)) for each in recipes]
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first rank speaks for all
        return None
    return _each(results, stages.trained)


@verb()
@_of_recipes
def run(workspace: Workspace, recipes: Iterator[Recipe], fork: str | None) -> Outcome:
    """Bring everything of a recipe up to date, from the sources to the published model, and say why."""
    from textmill.cli.show import stages
    from textmill.stages import pipeline

    return _each([pipeline.run(each, workspace, fork=fork) for each in recipes], stages.published)


def _each(results: list[Any], show: Callable[[Any], None]) -> Outcome:
    """One outcome, or those of all phases of a recipe."""
    if len(results) == 1:
        return results[0], show

    def all_of_them(data: Mapping[str, Any]) -> None:
        for each in data["phases"]:
            show(each)

    return {"phases": results}, all_of_them
