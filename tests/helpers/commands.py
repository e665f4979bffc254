"""The commands of the command line, found by walking it: what is said of every command holds for a new one, too."""

from __future__ import annotations

import io
import signal
import sys
import traceback
from collections.abc import Iterator
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


def call(arguments: list[str], *, seconds: int = 0, encoding: str = "utf-8") -> Said:
    """`textmill ARGUMENTS` as the program runs it, but in this process, which has imported everything.

    What takes longer than `seconds` is interrupted as by Ctrl-C. An exception that is no exit code is a traceback in
    `err`, as a user would see it.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    before = sys.argv, sys.stdin, sys.stdout, sys.stderr
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    sys.argv, sys.stdin, (sys.stdout, sys.stderr) = ["textmill", *arguments], io.StringIO(), streams
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
