"""The command `chat`: a conversation on the terminal, with one model or several adapters beside each other."""

from __future__ import annotations

import contextlib
import dataclasses
import json as plain_json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textmill.base import machine, start
from textmill.base.console import counted, print_json
from textmill.base.errors import Interrupted, RecipeError, TextmillError
from textmill.base.language import say
from textmill.base.signals import handled
from textmill.cli import completion, generation
from textmill.cli.models import AdapterName, Checkpoint, Weights, warn_of
from textmill.cli.options import WORK, Json, Target, Work, check_named, open_workspace

if TYPE_CHECKING:
    from textmill.decoding.stream import TextPiece
    from textmill.specs.generation import GenerationOptions
    from textmill.stages.use.chat import Conversation
    from textmill.tokenization.chat.tools import Call

Talks = Mapping[str, "Conversation"]  # by the name of who answers
# Commands of a conversation, and what each does.
_COMMANDS = {
    "/retry": "answers anew",
    "/edit TEXT": "says something else instead",
    "/system TEXT": "starts over with a system message",
    "/reset": "starts over",
    "/history": "shows what was said",
    "/save FILE": "writes it",
    "/set NAME VALUE": "changes how answers are written, such as /set temperature 0.2",
    "/help": "shows this",
    "/quit": "ends; Ctrl-C stops an answer",
}


def _ended(_number: int, _frame: object) -> None:
    """SIGTERM ends the session; Ctrl-C, an answer."""
    raise Interrupted("the session was closed")


@generation.options("speculate")
@handled(_ended, signal.SIGTERM)
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
    tools: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Python file whose functions the model may call; it runs here with all your rights.",
            show_default=False,
        ),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADAPTER",
            help="An adapter that answers beside the model; may be given several times.",
            show_default=False,
            autocompletion=completion.targets,
        ),
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
    workspace = open_workspace(work, quiet=True)
    check_named(workspace, target)
    start.library_ahead()
    with start.loading():
        from textmill.stages.use.model import LanguageModel

        machine.keep_memory()
        base = LanguageModel(workspace, target, weights=weights, checkpoint=checkpoint)
        model = base if adapter is None else base.with_adapter(adapter)
    warn_of(model.pretrained)
    answering = {adapter or target: model} | {name: base.with_adapter(name) for name in beside or ()}
    talks = {
        name: each.conversation(system=system, template=template, tools=tools, **changes)
        for name, each in answering.items()
    }
    for talk in talks.values() if not json else ():
        talk.called = _called
    answers: dict[str, list[_Answer]] = {name: [] for name in talks}
    for turn in [lambda talk, text=text: talk.say(text) for text in message] if message else _turns(talks):
        try:
            for name, talk in talks.items():
                if len(talks) > 1 and not json:
                    print(f"[{name}]")
                answers[name].append(_answer(talk, turn(talk), shown=not json))
        except TextmillError as error:
            if message or isinstance(error, Interrupted):
                raise
            print(f"textmill: {error.said()}", file=sys.stderr)
    if json:
        plain = {
            name: {"messages": talk.messages, "answers": [dataclasses.asdict(one) for one in answers[name]]}
            for name, talk in talks.items()
        }
        first, *others = plain
        print_json(plain[first] | ({"beside": {name: plain[name] for name in others}} if others else {}))


def _called(call: Call, result: str) -> None:
    """Show that a function was called, and what it gave."""
    given = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    print(f"\n({call.name}({given}) → {result[:200]})", file=sys.stderr)


@dataclasses.dataclass
class _Answer:
    """One turn's answer as it came, and the messages it was made without."""

    text: str = ""
    finish: str = "stopped"
    tokens: int = 0
    forgotten: int = 0


def _answer(conversation: Conversation, pieces: Iterable[TextPiece], *, shown: bool) -> _Answer:
    """Show an answer as it comes; Ctrl-C stops it, and what has come stays said."""
    answer = _Answer()
    forgotten = conversation.forgotten
    with contextlib.suppress(KeyboardInterrupt):
        for piece in pieces:
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


Turn = Callable[["Conversation"], Iterator["TextPiece"]]


def _turns(talks: Talks) -> Iterator[Turn]:
    """What the person types, as what each conversation is to be asked; commands carried out."""
    terminal = sys.stdin.isatty()
    if terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (importing it is what makes arrow keys work in input())
        _help()
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
            yield lambda talk, line=line: talk.say(line)
            continue
        name, _, rest = line.strip().partition(" ")
        if name in ("/quit", "/exit"):
            return
        if name == "/retry":
            yield lambda talk: talk.retry()
        elif name == "/edit" and rest.strip():
            yield lambda talk, text=rest.strip(): talk.edit(text)
        else:
            _command(talks, name, rest.strip())


def _command(talks: Talks, name: str, rest: str) -> None:
    """Carry out a command that nobody answers."""
    try:
        if name == "/save" and rest:
            for talk in talks.values():
                talk.save(Path(rest).expanduser())
            print(say(f"(written to {rest})"), file=sys.stderr)
            return
        if name == "/history":
            _history(next(iter(talks.values())))
            return
        if name == "/help":
            _help()
            return
        for talk in talks.values():
            if name == "/reset":
                talk.reset()
            elif name == "/system" and rest:
                talk.system(rest)
            elif name == "/set" and len(rest.split(None, 1)) > 1:
                talk.change(*_setting(rest))
            else:
                _unknown(name)
                return
    except TextmillError as error:
        print(f"textmill: {error.said()}", file=sys.stderr)


def _help() -> None:
    """What can be typed beside messages, a line each."""
    for command, what in _COMMANDS.items():
        print(f"  {command:<16} {say(what)}", file=sys.stderr)


def _unknown(name: str) -> None:
    """Say that a line is no command, or which words its command wants."""
    form = next((command for command in _COMMANDS if command.split()[0] == name), "")
    if form:
        print(say(f"({form} is how it is written)"), file=sys.stderr)
    else:
        print(say(f"(no command {name}; /help shows those there are)"), file=sys.stderr)
        print(say("(a space before / sends it as a message)"), file=sys.stderr)


def _setting(text: str) -> tuple[str, Any]:
    """The name and the value of a setting, as a person types them: `temperature 0.2`, `stop ["\\n"]`."""
    name, value = text.split(None, 1)
    name = name.removeprefix("--").replace("-", "_")
    try:
        return name, plain_json.loads(value)
    except ValueError as error:
        if value[:1] in "[{":
            raise RecipeError(f"{value!r} cannot be read ({error})", where=name) from error
        return name, value


def _history(talk: Conversation) -> None:
    """What was said so far, a message a paragraph."""
    from textmill.stages.use.chat import said

    for message in talk.messages:
        calls = [call["function"] for call in message.get("tool_calls", [])]
        text = "\n".join(filter(None, (said(message), *(plain_json.dumps(call) for call in calls))))
        print(f"{message['role']}: {text}", file=sys.stderr)
