"""Commands that use a model: generate, publish, verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.base import machine, start
from textmill.base.console import counted, print_json
from textmill.base.language import say
from textmill.cli import completion
from textmill.cli.generation import options
from textmill.cli.options import (
    WORK,
    Json,
    Outcome,
    RunName,
    Target,
    Work,
    check_named,
    open_workspace,
    verb,
)

if TYPE_CHECKING:
    from textmill.models.pretrained import Pretrained
    from textmill.specs.generation import GenerationOptions
    from textmill.stages.use.generate import Stream
    from textmill.stages.use.model import LanguageModel
    from textmill.stages.workspace.workspace import Workspace

Weights = Annotated[
    str,
    typer.Option(
        help="Dtype of the weights: fp32, bf16 or int8.",
        autocompletion=completion.among("fp32", "bf16", "int8"),
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        metavar="STEP|latest|best",
        help="Of a run: this checkpoint instead of the published model; the run may still be training.",
        show_default=False,
        autocompletion=completion.among("latest", "best"),
    ),
]

AdapterName = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        metavar="NAME",
        help="Adapter to use beside the model: a run, or an adapter's directory.",
        show_default=False,
        autocompletion=completion.targets,
    ),
]


@options()
def generate(
    target: Target,
    prompt: Annotated[
        list[str] | None,
        typer.Argument(help="Prompt to continue, or text to translate; `-` reads stdin.", show_default=False),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", "-s", min=1, max=10_000, help="Samples per prompt.")
    ] = 1,
    weights: Weights = "fp32",
    checkpoint: Checkpoint = None,
    adapter: AdapterName = None,
    work: Work = WORK,
    json: Json = False,
    *,
    changes: GenerationOptions,
) -> None:
    """Continue a prompt, streaming to the terminal. Several prompts go through in one batch.

    A model that reads a source (encoder-decoder) answers the prompt instead of continuing it.
    """
    prompts = [sys.stdin.read() if text == "-" else text for text in prompt or [""]]
    workspace = open_workspace(work, quiet=True)
    check_named(workspace, target)
    start.library_ahead()
    with start.loading():
        from textmill.stages.use.model import LanguageModel

        machine.keep_memory()
        model = LanguageModel(workspace, target, weights=weights, checkpoint=checkpoint)
        model = model if adapter is None else model.with_adapter(adapter)
    warn_of(model.pretrained)
    stream = model.stream(prompts, samples=samples, truncate=True, **changes)
    if json:
        answers = {
            "answers": [answer.plain() for answer in stream.answers()],
            "warnings": _cuts(model, stream),
        }
        print_json(answers | ({"speculation": stream.speculation} if stream.speculation else {}))
    else:
        # a source is no part of the answer
        _print(stream, ["" if model.pretrained.reads_source else text for text in prompts])
    for text in _cuts(model, stream):
        print(say(f"warning: {text}"), file=sys.stderr)


def _cuts(model: LanguageModel, stream: Stream) -> list[str]:
    """What to say of each prompt that was longer than the model reads."""
    where = "end" if model.pretrained.reads_source else "beginning"
    return [
        f"the model reads {model.longest:,} tokens: the prompt's {where} was cut, by {counted(answer.cut, 'token')}"
        + (f" ({_shortened(answer.prompt)})" if len(stream.prompts) > 1 else "")
        for answer in stream.answers()
        if answer.cut and answer.sample == 0
    ]


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def warn_of(read: Pretrained) -> None:
    """Say what a person should know of how a model was read, and of its own settings that are not followed here."""
    asked = f"its generation_config.json asks for {', '.join(read.unfollowed)}, which is not followed here"
    for text in (*read.warnings, *([asked] if read.unfollowed else [])):
        print(say(f"warning: {text}"), file=sys.stderr)


def _print(stream: Stream, begun: list[str]) -> None:
    """One answer as it comes, after what it goes on from; several when they are whole."""
    if len(begun) * stream.samples == 1:
        print(begun[0], end="", flush=True)
        for piece in stream:
            print(piece.text, end="", flush=True)
        print()
        return
    for number, answer in enumerate(stream.answers()):
        before = begun[number // stream.samples]
        print(say(f"--- {answer.prompt!r}, sample {answer.sample + 1}"))
        print(f"{before}{answer.text}")


@verb()
def publish(workspace: Workspace, target: RunName) -> Outcome:
    """Write runs/NAME/model/: the standard directory, its card, and the proof that it behaves the same."""
    from textmill.cli.show import stages
    from textmill.stages.release import publish as stage

    return stage.publish(workspace, target), stages.published


@verb(silent=True)
def verify(
    workspace: Workspace,
    target: Target,
    file: Annotated[
        list[Path] | None,
        typer.Option(help="Text file to compare on; left out: built-in texts.", show_default=False),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Also check the compiled model (a minute more).")
    ] = False,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="Also check these dtypes: bf16, int8.",
            show_default=False,
            autocompletion=completion.among("bf16", "int8"),
        ),
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT",
            help="Also check these formats of `export --list`.",
            show_default=False,
            autocompletion=completion.formats,
        ),
    ] = None,
) -> Outcome:
    """Compare the training path, cached decoding, a reload and transformers, logit by logit."""
    from textmill.cli.show import stages
    from textmill.stages.release import verify as stage

    result = stage.verify(
        workspace,
        target,
        files=file or [],
        compiled=compiled,
        weights=weights or (),
        exports=export or (),
    )
    return result, stages.parity
