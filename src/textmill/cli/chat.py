"""The verb `chat`: a conversation on the terminal."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textmill.base.console import print_json
from textmill.base.errors import Interrupted, TextmillError
from textmill.cli import generation
from textmill.cli.options import WORK, Json, Target, Work, open_workspace

if TYPE_CHECKING:
    from textmill.stages.use.chat import Conversation

_HELP = (
    "/system TEXT begins anew with a system message, /reset begins anew, /quit leaves; Ctrl-C stops an answer"
)


@generation.options("speculate")
def chat(
    target: Target,
    message: Annotated[
        list[str] | None,
        typer.Option("--message", "-m", help="Say this and leave; may be given again.", show_default=False),
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message.", show_default=False)] = None,
    template: Annotated[
        Path | None, typer.Option(help="Chat template (Jinja) instead of the model's.", show_default=False)
    ] = None,
    weights: Annotated[str, typer.Option(help="Arithmetic of the weights: fp32, bf16 or int8.")] = "fp32",
    work: Work = WORK,
    json: Json = False,
    *,
    changes: dict[str, Any],
) -> None:
    """Talk with a model through its own chat template. Lines of a pipe are messages, too."""
    from textmill.stages.use import chat as stage

    signal.signal(signal.SIGTERM, _ended)
    conversation = stage.begin(
        open_workspace(work, quiet=True),
        target,
        changes=changes,
        weights=weights,
        system=system,
        template=template,
    )
    told = []
    for said in message or _lines(conversation):
        try:
            told.append(_answer(conversation, said, shown=not json))
        except TextmillError as error:
            if message or isinstance(error, Interrupted):
                raise
            print(f"textmill: {error}", file=sys.stderr)
    if json:
        print_json({"messages": conversation.messages, "answers": told})


def _ended(_number: int, _frame: object) -> None:
    """SIGTERM ends the session; Ctrl-C, an answer."""
    raise Interrupted("the session was ended")


def _answer(conversation: Conversation, said: str, *, shown: bool) -> dict[str, Any]:
    """Say something and show the answer as it comes; Ctrl-C stops it, and what has come stays said."""
    answer: dict[str, Any] = {"text": "", "finish": "stopped", "tokens": 0, "forgotten": 0}
    forgotten = conversation.forgotten
    with contextlib.suppress(KeyboardInterrupt):
        for piece in conversation.say(said):
            answer["text"] += piece.text
            answer["tokens"] = piece.tokens
            if piece.finish is not None:
                answer["finish"] = piece.finish
            if shown:
                print(piece.text, end="", flush=True)
    answer["forgotten"] = conversation.forgotten
    if shown:
        print()
    if shown and answer["finish"] in ("stopped", "length"):
        why = "you stopped it" if answer["finish"] == "stopped" else f"{answer['tokens']} tokens"
        print(f"(the answer ends here: {why})", file=sys.stderr)
    if conversation.forgotten > forgotten:
        print(
            f"(the context is full: the oldest {conversation.forgotten} messages are forgotten)",
            file=sys.stderr,
        )
    return answer


def _lines(conversation: Conversation) -> Iterator[str]:
    """What the person types, commands carried out."""
    terminal = sys.stdin.isatty()
    if terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (importing it is what makes arrow keys work in input())
        print(_HELP, file=sys.stderr)
    while True:
        try:
            line = input("> " if terminal else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            print("\n(/quit or Ctrl-D leaves)", file=sys.stderr)
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
            print(f"{_HELP}; a blank before / sends it as a message", file=sys.stderr)
    except TextmillError as error:
        print(f"textmill: {error}", file=sys.stderr)
    return True
