"""Verbs that make a model: quickstart, check, run, prepare, train."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import Annotated

import typer

from textmill.base.console import print_json
from textmill.cli.options import WORK, Json, Quiet, RecipeFile, Set, Work, opened, read_recipe


class Engine(enum.StrEnum):
    """Who prepares."""

    LOCAL = "local"
    RAY = "ray"


Fork = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Go on under a new name, from the run's newest checkpoint where it fits."
    ),
]


def quickstart(
    minutes: Annotated[float, typer.Option(min=0.05, help="Minutes of training.")] = 4.0,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            help="Your own files or folders; left out: Python's standard library.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; left out: quickstart.", show_default=False)
    ] = None,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """From raw text to your own language model, in one go. Interrupt it and run it again: it goes on."""
    from textmill.cli.show import stages
    from textmill.stages import quickstart as stage

    with opened(work, quiet) as workspace:
        result = stage.quickstart(workspace, minutes=minutes, corpus=corpus or [], name=name)
    print_json(result) if json else stages.quickstart(result)


def check(
    recipe: RecipeFile,
    set_: Set = None,
    rates: Annotated[
        bool, typer.Option("--rates", help="Also sweep the learning rate (about 100 steps).")
    ] = False,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what a recipe will cost and whether it trains what you think, before anything is spent."""
    from textmill.cli.show import stages
    from textmill.stages.runs import check as stage

    with opened(work, quiet) as workspace:
        result = stage.check(read_recipe(recipe, set_), workspace, sweep=rates)
    print_json(result) if json else stages.check(result)


def prepare(
    recipe: RecipeFile,
    set_: Set = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that prepare; left out: one a core.", show_default=False),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="This machine, or a Ray cluster that sees the same folders.")
    ] = Engine.LOCAL,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Collect and clean the text, write its data card, learn the tokenizer, and encode every part.

    Killed and run again, it goes on with what was finished; the result is the same whoever made it.
    """
    from textmill.cli.show import stages
    from textmill.stages.preparation import prepare as stage

    with opened(work, quiet) as workspace:
        run = stage.runner(engine.value, workers)
        result = stage.summary(stage.prepare(read_recipe(recipe, set_), workspace, run=run))
    print_json(result) if json else stages.prepared(result)


def train(
    recipe: RecipeFile,
    set_: Set = None,
    fork: Fork = None,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the recipe's model; a run that exists is resumed exactly where it was. Prepares what is missing."""
    from textmill.cli.show import stages
    from textmill.stages.runs import train as stage

    with opened(work, quiet) as workspace:
        result = stage.summary(stage.train(read_recipe(recipe, set_), workspace, fork=fork))
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first rank speaks for all
        return
    print_json(result) if json else stages.trained(result)


def run(
    recipe: RecipeFile,
    set_: Set = None,
    fork: Fork = None,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do whatever is out of date of a recipe, from the sources to the published model, and say why."""
    from textmill.cli.show import stages
    from textmill.stages import pipeline

    with opened(work, quiet) as workspace:
        result = pipeline.run(read_recipe(recipe, set_), workspace, fork=fork)
    print_json(result) if json else stages.published(result)
