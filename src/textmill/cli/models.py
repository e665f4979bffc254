"""Verbs that use a model: evaluate, generate, publish, verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from textmill.base.console import print_json
from textmill.base.errors import FAILED
from textmill.cli.options import WORK, Json, Quiet, Target, Work, opened, workspace


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
    """Score a model in bits per byte, with interval and baselines, on its test part or on any file."""
    from textmill.cli import show
    from textmill.stages import evaluate as stage

    with opened(work, quiet) as space:
        result = stage.evaluate(space, target, files=file or [])
    print_json(result) if json else show.scores(result)


def generate(
    target: Target,
    prompt: Annotated[
        list[str] | None, typer.Argument(help="Text to go on from; `-` reads stdin.", show_default=False)
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", "-n", min=1, help="Longest answer, in tokens.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", "-t", help="0: the likeliest token.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Keep the likeliest tokens of this probability.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Drop tokens under this share of the likeliest's.")
    ] = None,
    typical_p: Annotated[float | None, typer.Option(help="Locally typical sampling.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Over 1: fewer repetitions.")] = None,
    presence_penalty: Annotated[
        float | None, typer.Option(help="Taken off tokens already generated.")
    ] = None,
    frequency_penalty: Annotated[
        float | None, typer.Option(help="Taken off for each time generated.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends the answer.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draws.")] = None,
    samples: Annotated[int, typer.Option("--samples", "-s", min=1, help="Answers a prompt.")] = 1,
    weights: Annotated[str, typer.Option(help="Arithmetic of the weights: fp32 or bf16.")] = "fp32",
    speculate: Annotated[
        str | None,
        typer.Option(
            metavar="off|prompt|corpus|both",
            help="Guess tokens ahead, from the prompt, the training corpus or both: the same text, sooner.",
        ),
    ] = None,
    work: Work = WORK,
    json: Json = False,
) -> None:
    """Write on from a prompt, streaming to the terminal. Several prompts go through in one batch."""
    from textmill.stages import generate as stage

    changes = {
        "tokens": tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "typical_p": typical_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "stop": stop,
        "seed": seed,
        "speculate": speculate,
    }
    prompts = [sys.stdin.read() if text == "-" else text for text in prompt or [""]]
    answers = stage.Answers(prompts, samples)
    pieces = stage.generate(
        workspace(work, quiet=True),
        target,
        prompts,
        changes={name: value for name, value in changes.items() if value is not None},
        samples=samples,
        weights=weights,
    )
    alone = len(prompts) * samples == 1 and not json
    if alone:
        print(prompts[0], end="", flush=True)
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
        for entry in answers.plain()["answers"]:
            print(f"--- {entry['prompt']!r}, sample {entry['sample'] + 1}\n{entry['prompt']}{entry['text']}")


def publish(
    target: Target,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write runs/NAME/model/: the standard directory, its card, and the proof that it behaves the same."""
    from textmill.cli import show
    from textmill.stages import publish as stage

    with opened(work, quiet) as space:
        result = stage.publish(space, target)
    print_json(result) if json else show.published(result)


def verify(
    target: Target,
    file: Annotated[
        list[Path] | None,
        typer.Option(help="Text to compare on; left out: a built-in mix.", show_default=False),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Also the compiled model (a minute more).")
    ] = False,
    work: Work = WORK,
    json: Json = False,
) -> None:
    """Compare the training path, cached decoding, a reload and transformers, logit by logit."""
    from textmill.cli import show
    from textmill.stages import verify as stage

    result = stage.verify(workspace(work, quiet=True), target, files=file or [], compiled=compiled)
    print_json(result) if json else show.parity(result)
    if not result["ok"]:
        raise typer.Exit(FAILED)
