"""What commands have beside typer's own: examples at the end of `--help`, and whose option a mistake is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
import typer.core


@contextmanager
def _of(ctx: Any) -> Iterator[None]:
    """A mistake in what is parsed is one of this command's: an option without its value does not say so itself."""
    try:
        yield
    except typer.TyperException as error:
        if getattr(error, "ctx", ctx) is None:
            vars(error)["ctx"] = ctx
        raise


class Command(typer.core.TyperCommand):
    """A command whose help ends with examples of it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _of(ctx):
            return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        _show(self, ctx.command_path)


class Group(typer.core.TyperGroup):
    """A group of commands whose help ends with an example of each."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _of(ctx):
            return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        _show(self, ctx.command_path)


class App(typer.Typer):
    """A typer application of such groups and commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, no_args_is_help=not settings.get("invoke_without_command"), **settings)

    def command(self, name: str | None = None, **settings: Any) -> Any:
        return super().command(name, cls=Command, **settings)


def _show(command: typer.core.TyperCommand | typer.core.TyperGroup, path: str) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    from textmill.base.language import say
    from textmill.cli import examples

    lines = Text("\n".join(examples.of(command, path)), style="cyan")
    Console(highlight=False).print(
        Panel(lines, title=say("Examples"), title_align="left", border_style="dim")
    )
