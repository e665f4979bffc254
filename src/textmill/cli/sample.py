"""The command that makes a data set of a model's best answers: sample."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.base import machine
from textmill.cli import completion
from textmill.cli.models import Checkpoint
from textmill.cli.options import Outcome, Target, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace


@verb()
def sample(
    workspace: Workspace,
    target: Target,
    out: Annotated[
        Path, typer.Argument(help="Folder to write; it must not be there yet.", show_default=False)
    ],
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT]...",
            help="Prompts, or files of them (text, JSONL, CSV); `-` or nothing reads stdin.",
            show_default=False,
        ),
    ] = None,
    reward: Annotated[
        str,
        typer.Option(
            metavar="FILE.py:FUNCTION|TASK|MODEL",
            help="What answers are scored by: a Python function of prompt and answer, a task, or a model.",
            autocompletion=completion.targets,
            show_default=False,
        ),
    ] = ...,  # type: ignore[assignment]
    label: Annotated[
        str | None,
        typer.Option(help="Reward of a model of labels: the probability of this label.", show_default=False),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", "-s", min=1, max=1000, help="Samples per prompt.")] = 8,
    least: Annotated[
        float | None,
        typer.Option(
            help="Rejection sampling: prompts whose best sample has less reward are left out.",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", "-n", min=1, help="Longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option("--temperature", "-t", min=0.0, help="Temperature.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of sampling.")] = 0,
    checkpoint: Checkpoint = None,
) -> Outcome:
    """Best of n: answer each prompt several times, and keep the best answer by a reward as a new data set."""
    from textmill.cli.show import samples as show
    from textmill.stages.use import sample as stage
    from textmill.stages.use.model import LanguageModel
    from textmill.stages.use.predict import Inputs, sorted_out

    texts, files, stdin = sorted_out(given or [])
    inputs = Inputs(texts, files, sys.stdin.buffer if stdin or not given else None)
    machine.keep_memory()
    judge = stage.reward_of(workspace, reward, label)
    result = stage.sample(
        workspace,
        LanguageModel(workspace, target, checkpoint=checkpoint),
        stage.prompts(inputs.rows(), workspace.reporter),
        judge,
        out,
        samples=samples,
        least=least,
        tokens=tokens,
        temperature=temperature,
        seed=seed,
    )
    return result, show.sampled
