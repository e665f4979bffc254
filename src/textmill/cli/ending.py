"""How a command line ends: with an exit code and, where something is wrong, a message. One place for every command.

A mistake is one line on stderr and, with --json, one JSON object on stdout. A traceback is for faults of Textmill.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from textmill.base.console import print_json
from textmill.base.disk import disk_errors
from textmill.base.errors import DONE, Interrupted, RecipeError, TextmillError


def open_streams() -> None:
    """Streams that can be used, whatever a shell gave: a closed one becomes an empty one, else its number would go
    to the next file that is opened; and what a terminal's encoding lacks is escaped."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Ending:
    """The exit code of what is done within `ending`."""

    code = DONE


@contextlib.contextmanager
def ending(arguments: Sequence[str]) -> Iterator[Ending]:
    """Whatever ends the block becomes an exit code and a message; a fault of Textmill stays the exception it is."""
    end = Ending()
    try:
        yield end
        sys.stdout.flush()
    except typer.Exit as asked:
        end.code = asked.exit_code
    except BrokenPipeError:  # the reader of a pipe went away: nothing is wrong, and nothing more can be said
        _close_stdout()
    except (
        TextmillError,
        typer.TyperException,
        typer.Abort,
        KeyboardInterrupt,
        OSError,
        MemoryError,
    ) as error:
        failure = as_failure(error)
        end.code = failure.exit_code
        _say(failure, wants_json(arguments))
    except Exception as error:
        if wants_json(arguments):
            what = f"a fault of Textmill, not yours: {type(error).__name__}: {error}"
            print_json({"error": TextmillError(what).plain() | {"kind": "internal"}})
        raise


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, as far as can be told of one that may be wrong."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def as_failure(error: BaseException) -> TextmillError:
    """What ended a command, as what is wrong, where, and what to do about it."""
    match error:
        case TextmillError():
            return error
        case typer.TyperException():
            return _wrong_use(error)
        case typer.Abort() | KeyboardInterrupt():
            return Interrupted("interrupted")
        case MemoryError():
            return TextmillError(
                "there is not enough memory", advice="close other programs, or ask for less at once"
            )
        case OSError():
            return _system_failure(error)
    raise error


def _wrong_use(error: typer.TyperException) -> TextmillError:
    """A command line that does not parse. One of no arguments has been answered by the help, and has no message."""
    context = vars(error).get("ctx")  # of the command it was found in; the class that has one is not public
    command = "textmill" if context is None else context.command_path
    what = error.format_message().strip().rstrip(".")
    return RecipeError(what, where=command, advice=f"`{command} --help` shows what it takes" if what else "")


def _system_failure(error: OSError) -> TextmillError:
    """What the system refused, where no stage has said it better."""
    where = "" if error.filename is None else os.fsdecode(error.filename)
    try:
        with disk_errors(Path(where or ".")):
            raise error
    except TextmillError as said:
        return TextmillError(said.what, where=where, advice=said.advice)
    except OSError:
        return TextmillError(f"cannot be used ({error.strerror or error})", where=where)


def _say(failure: TextmillError, json: bool) -> None:
    try:
        if json:
            print_json({"error": failure.plain()})
        sys.stdout.flush()
    except OSError:  # stdout is what failed
        _close_stdout()
    if failure.what:
        with contextlib.suppress(OSError):
            print(f"textmill: {failure.said()}", file=sys.stderr, flush=True)


def _close_stdout() -> None:
    """What is left in its buffer goes nowhere, so that leaving does not fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
