"""The commands of the command line, found by walking it: what is said of every command holds for a new one, too."""

from __future__ import annotations

import io
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer.main

from textmill.cli.main import app, main

ROOT = typer.main.get_command(app)


def walk(command: Any = ROOT, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every group and command: the words that call it, and its click command."""
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*words, name))


def commands() -> dict[str, Any]:
    """The commands alone, by the words that call them."""
    return {" ".join(words): command for words, command in walk() if not hasattr(command, "commands")}


@dataclass(frozen=True)
class Said:
    """How a command line ended, and what it said on stdout and stderr."""

    code: int
    out: str
    err: str


def call(arguments: list[str], *, seconds: int = 0, encoding: str = "utf-8", given: str = "") -> Said:
    """`textmill ARGUMENTS` as the program runs it, with `given` on stdin, but in this process, which has imported
    everything.

    What takes longer than `seconds` is interrupted as by Ctrl-C. An exception that is no exit code is a traceback in
    `err`, as a user would see it.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    before = sys.argv, sys.stdin, sys.stdout, sys.stderr
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    sys.argv, (sys.stdout, sys.stderr) = ["textmill", *arguments], streams
    sys.stdin = io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8")
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(seconds)
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = -1
    finally:
        signal.alarm(0)
        sys.argv, sys.stdin, sys.stdout, sys.stderr = before
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)
    return Said(code, out, err)


# What is right for a parameter of this name, in the fixture `place` (tests/cli/conftest.py); of a command, where it is
# particular.
RIGHT = {
    "documents": "000.txt",
    "files": "notes.txt",
    "first": "tiny",
    "form": "gguf",
    "like": "tiny",
    "models": "tiny",
    "name": "tiny",
    "names": "tiny",
    "out": "new",
    "path": "new.out",
    "prompt": "the",
    "recipe": "tiny.toml",
    "second": "tiny",
    "source": "tiny",
    "step": "1",
    "svg": "new.svg",
    "target": "tiny",
    "targets": "tiny",
    "text": "mill",
    "who": "editor",
}
OF_COMMAND: dict[str, dict[str, str | bool]] = {
    "chat": {"message": "hi", "tokens": "3"},
    "docs add": {"paths": "notes.txt"},
    "docs ask": {"question": "What does the mill turn?"},
    "docs evaluate": {"files": "questions.json"},
    "docs remove": {"gone": True},
    "docs search": {"query": "the mill"},
    "docs show": {"path": "notes.txt"},
    "evaluate": {"file": "notes.txt"},
    "export": {"path": "new.gguf"},
    "forget": {"dry_run": True},
    "generate": {"tokens": "3"},
    "import": {"source": "model", "target": "new"},
    "lineage": {"path": "tiny"},
    "ngram import": {"path": "notes.txt"},
    "quickstart": {"corpus": "nowhere"},
    "recipe new": {"path": "new.toml"},
    "rm": {"dry_run": True, "force": True},
    "keys add": {"who": "somebody", "keys": "new.json"},
    "keys remove": {"who": "nobody"},
    "serve": {"port": "0", "idle": "0.1"},
    "sample": {"reward": "tiny", "given": "the", "samples": "2", "tokens": "3"},
}
COMMON = {"help", "json", "quiet", "work"}  # the same mechanism everywhere


def parameters(command: str) -> list[Any]:
    """The parameters of a command that are its own, without those that only switch a way of showing."""
    return [parameter for parameter in commands()[command].params if parameter.name not in COMMON - {"work"}]


def right_values(command: str) -> dict[str, str | bool]:
    """A value for each parameter that a command must be given, and for arguments that it may."""
    own = OF_COMMAND.get(command, {})
    values = {}
    for parameter in parameters(command):
        given = parameter.required or (parameter.param_type_name == "argument" and parameter.name in RIGHT)
        if given and parameter.name not in own:
            values[parameter.name] = RIGHT[parameter.name]
    return values | own


def line(command: str, values: Mapping[str, str | bool], *flags: str) -> list[str]:
    """The words of a command with these values of its parameters. A value that looks like an option is one argument;
    where a command takes several models, it is given the right one beside."""
    options, arguments = list(flags), []
    for parameter in parameters(command):
        value = values.get(parameter.name)
        if value is True:
            options.append(parameter.opts[0])
        elif isinstance(value, str):
            of_argument = parameter.param_type_name == "argument"
            several = [RIGHT["models"]] if parameter.name == "models" else []
            arguments.extend([*several, value]) if of_argument else options.append(
                f"{parameter.opts[0]}={value}"
            )
    return [*command.split(), *options, "--", *arguments]


def right_line(command: str, *flags: str) -> list[str]:
    """A line that a command takes."""
    return line(command, right_values(command), *flags)
