"""Verbs that use a model: evaluate, generate, publish, verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from textmill.base.console import print_json
from textmill.base.errors import FAILED
from textmill.cli.generation import options
from textmill.cli.options import WORK, Json, Quiet, Target, Work, open_workspace, opened


def evaluate(
    target: Target,
    file: Annotated[
        list[Path] | None,
        typer.Option(help="Score these files instead of the recipe's test part.", show_default=False),
    ] = None,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a run on its test part by what it was trained to say, or a language model on any file, with baselines."""
    from textmill.cli.show import stages
    from textmill.stages.evaluation import evaluate as stage

    with opened(work, quiet) as workspace:
        result = stage.evaluate(workspace, target, files=file or [])
    print_json(result) if json else stages.scores(result)


@options()
def generate(
    target: Target,
    prompt: Annotated[
        list[str] | None,
        typer.Argument(help="Text to go on from, or to translate; `-` reads stdin.", show_default=False),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", "-s", min=1, help="Answers a prompt.")] = 1,
    weights: Annotated[str, typer.Option(help="Arithmetic of the weights: fp32, bf16 or int8.")] = "fp32",
    work: Work = WORK,
    json: Json = False,
    *,
    changes: dict[str, Any],
) -> None:
    """Write on from a prompt, streaming to the terminal. Several prompts go through in one batch.

    A model that reads a source (encoder-decoder) answers the prompt instead of going on from it.
    """
    from textmill.stages.use import generate as stage

    prompts = [sys.stdin.read() if text == "-" else text for text in prompt or [""]]
    answers = stage.Answers(prompts, samples)
    pieces = stage.generate(
        open_workspace(work, quiet=True), target, prompts, changes=changes, samples=samples, weights=weights
    )
    begun = [""] * len(prompts) if pieces.reads else prompts  # a source is no part of the answer
    alone = len(prompts) * samples == 1 and not json
    if alone:
        print(begun[0], end="", flush=True)
    for piece in pieces:
        answers.add(piece)
        if alone:
            print(piece.text, end="", flush=True)
    if json:
        told = pieces.report()
        print_json(answers.plain() | ({} if told is None else {"speculation": told}))
    elif alone:
        print()
    else:
        for place, entry in enumerate(answers.plain()["answers"]):
            before = begun[place // samples]
            print(f"--- {entry['prompt']!r}, sample {entry['sample'] + 1}\n{before}{entry['text']}")


def publish(
    target: Target,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write runs/NAME/model/: the standard directory, its card, and the proof that it behaves the same."""
    from textmill.cli.show import stages
    from textmill.stages.release import publish as stage

    with opened(work, quiet) as workspace:
        result = stage.publish(workspace, target)
    print_json(result) if json else stages.published(result)


def verify(
    target: Target,
    file: Annotated[
        list[Path] | None,
        typer.Option(help="Text to compare on; left out: a built-in mix.", show_default=False),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Also the compiled model (a minute more).")
    ] = False,
    weights: Annotated[
        list[str] | None, typer.Option(help="Also with such weights: bf16, int8.", show_default=False)
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT", help="Also by way of a format of `export --list`.", show_default=False
        ),
    ] = None,
    work: Work = WORK,
    json: Json = False,
) -> None:
    """Compare the training path, cached decoding, a reload and transformers, logit by logit."""
    from textmill.cli.show import stages
    from textmill.stages.release import verify as stage

    result = stage.verify(
        open_workspace(work, quiet=True),
        target,
        files=file or [],
        compiled=compiled,
        weights=weights or (),
        exports=export or (),
    )
    print_json(result) if json else stages.parity(result)
    if not result["ok"]:
        raise typer.Exit(FAILED)
