"""The command `chat`: a conversation on the terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.base import machine
from textmill.base.console import counted, print_json
from textmill.base.errors import Interrupted, TextmillError
from textmill.base.language import say
from textmill.cli import generation
from textmill.cli.models import AdapterName, Checkpoint, Weights, warn_of
from textmill.cli.options import WORK, Json, Target, Work, check_named, open_workspace

if TYPE_CHECKING:
    from textmill.specs.generation import GenerationOptions
    from textmill.stages.use.chat import Conversation

_HELP = (
    "/system TEXT starts over with a system message, /reset starts over, /quit ends; Ctrl-C stops an answer"
)


@generation.options("speculate")
def chat(
    target: Target,
    message: Annotated[
        list[str] | None,
        typer.Option(
            "--message",
            "-m",
            help="Send this message and exit; may be given several times.",
            show_default=False,
        ),
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message.", show_default=False)] = None,
    template: Annotated[
        Path | None, typer.Option(help="Chat template (Jinja) instead of the model's.", show_default=False)
    ] = None,
    weights: Weights = "fp32",
    checkpoint: Checkpoint = None,
    adapter: AdapterName = None,
    work: Work = WORK,
    json: Json = False,
    *,
    changes: GenerationOptions,
) -> None:
    """Talk with a model through its own chat template. Lines of a pipe are messages, too."""
    signal.signal(signal.SIGTERM, _ended)
    workspace = open_workspace(work, quiet=True)
    check_named(workspace, target)
    from textmill.stages.use.model import LanguageModel

    machine.keep_memory()
    model = LanguageModel(workspace, target, weights=weights, checkpoint=checkpoint)
    model = model if adapter is None else model.with_adapter(adapter)
    warn_of(model)
    conversation = model.conversation(system=system, template=template, **changes)
    answers = []
    for text in message or _lines(conversation):
        try:
            answers.append(_answer(conversation, text, shown=not json))
        except TextmillError as error:
            if message or isinstance(error, Interrupted):
                raise
            print(f"textmill: {error.said()}", file=sys.stderr)
    if json:
        plain = [dataclasses.asdict(answer) for answer in answers]
        print_json({"messages": conversation.messages, "answers": plain})


def _ended(_number: int, _frame: object) -> None:
    """SIGTERM ends the session; Ctrl-C, an answer."""
    raise Interrupted("the session was closed")


@dataclasses.dataclass
class _Answer:
    """One turn's answer as it came, and the messages it was made without."""

    text: str = ""
    finish: str = "stopped"
    tokens: int = 0
    forgotten: int = 0


def _answer(conversation: Conversation, text: str, *, shown: bool) -> _Answer:
    """Say something and show the answer as it comes; Ctrl-C stops it, and what has come stays said."""
    answer = _Answer()
    forgotten = conversation.forgotten
    with contextlib.suppress(KeyboardInterrupt):
        for piece in conversation.say(text):
            answer.text += piece.text
            answer.tokens, answer.finish = piece.tokens, piece.finish or answer.finish
            if shown:
                print(piece.text, end="", flush=True)
    answer.forgotten = conversation.forgotten
    if shown:
        print()
    if shown and answer.finish in ("stopped", "length"):
        why = "you stopped it" if answer.finish == "stopped" else counted(answer.tokens, "token")
        print(say(f"(the answer ends here: {why})"), file=sys.stderr)
    if conversation.forgotten > forgotten:
        print(
            say(f"(the context is full: forgotten: the oldest {counted(conversation.forgotten, 'message')})"),
            file=sys.stderr,
        )
    return answer


def _lines(conversation: Conversation) -> Iterator[str]:
    """What the person types, commands carried out."""
    terminal = sys.stdin.isatty()
    if terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (importing it is what makes arrow keys work in input())
        print(say(_HELP), file=sys.stderr)
    while True:
        try:
            line = input("> " if terminal else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            print(say("\n(/quit or Ctrl-D exits)"), file=sys.stderr)
            continue
        if not line.strip():
            continue
        if not line.startswith("/"):
            yield line
            continue
        if not _command(conversation, line):
            return


def _command(conversation: Conversation, line: str) -> bool:
    """Carry out a command; whether the session goes on."""
    name, _, rest = line.strip().partition(" ")
    try:
        if name in ("/quit", "/exit"):
            return False
        if name == "/reset":
            conversation.reset()
        elif name == "/system" and rest.strip():
            conversation.system(rest.strip())
        else:
            print(say(f"{_HELP}; a space before / sends it as a message"), file=sys.stderr)
    except TextmillError as error:
        print(f"textmill: {error.said()}", file=sys.stderr)
    return True
