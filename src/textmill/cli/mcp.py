"""`textmill mcp`: documents and models as tools of an agent on this machine."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import IO, TYPE_CHECKING, Annotated

import typer

from textmill import __version__
from textmill.base import machine
from textmill.cli import completion
from textmill.cli.documents import Embedder, StoreFile
from textmill.cli.options import Named, Outcome, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace


@verb(silent=True)
def mcp(
    workspace: Workspace,
    store: StoreFile = None,
    embedder: Embedder = None,
    answering: Annotated[
        str | None,
        typer.Option(
            "--answer",
            metavar="MODEL",
            help="Model that answers from the documents; left out: the sentence that fits best.",
            show_default=False,
            autocompletion=completion.targets,
        ),
        Named(),
    ] = None,
    classify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Model of the task classify that may be asked; may be given several times.",
            show_default=False,
            autocompletion=completion.targets,
        ),
        Named(),
    ] = None,
    trace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="Run whose training text may be searched for phrases; may be given several times.",
            show_default=False,
            autocompletion=completion.runs,
        ),
        Named(runs=True),
    ] = None,
) -> Outcome:
    """Serve tools to an agent by the Model Context Protocol, over stdin and stdout, until stdin ends.

    The agent starts this command itself. It may search and ask the documents, and the models named here; nothing else.
    """
    from textmill.stages.use import mcp as protocol
    from textmill.stages.use.agent import Agent

    machine.keep_memory()
    said = sys.stdout
    path = store or workspace.root / "documents.db"
    with (
        contextlib.redirect_stdout(sys.stderr),  # what the agent reads is the protocol alone
        Agent(workspace, path, embedder, answering, classify or (), trace or ()) as agent,
    ):
        return {
            "answered": protocol.serve(agent.tools(), _lines(sys.stdin), said, version=__version__)
        }, lambda _: None


def _lines(stream: IO[str]) -> IO[str]:
    """The protocol is UTF-8, whatever the shell's language."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="replace")
    return stream
