"""`--help` in the language a person chose: a command's own words, those that typer puts around them, and the lines."""

from __future__ import annotations

import re
from typing import Any

from textmill.base.language import LANGUAGES, chosen, say
from textmill.cli.wrapping import between_hanzi

_TITLES = (
    "ARGUMENTS_PANEL_TITLE",
    "OPTIONS_PANEL_TITLE",
    "COMMANDS_PANEL_TITLE",
    "ERRORS_PANEL_TITLE",
    "ABORTED_TEXT",
    "DEFAULT_STRING",
    "ENVVAR_STRING",
    "REQUIRED_LONG_STRING",
    "RICH_HELP",
)
_PARAGRAPHS = re.compile(r"\n\s*\n")


def translate(command: Any) -> None:
    """Put a command of typer, and every command under it, into the chosen language; English costs nothing.

    typer reads its own words when it is loaded, and has no other way to give it others than to set them.
    """
    if chosen() == LANGUAGES[0]:
        return
    from typer import rich_utils

    between_hanzi()
    for name in _TITLES:
        setattr(rich_utils, name, say(getattr(rich_utils, name)))
    _translate(command)


def _translate(command: Any) -> None:
    command.help, command.epilog = (_paragraphs(text) for text in (command.help, command.epilog))
    command.rich_help_panel = say(command.rich_help_panel or "")
    usage, help_option = command.get_usage, command.get_help_option

    def translated_option(context: Any) -> Any:
        option = help_option(context)
        option.help = say(option.help)
        return option

    command.get_usage = lambda context: usage(context).replace("Usage:", say("Usage:"), 1)
    command.get_help_option = translated_option
    for parameter in command.params:
        parameter.help = _paragraphs(parameter.help)
        parameter.rich_help_panel = say(parameter.rich_help_panel or "")
    for below in vars(command).get("commands", {}).values():
        _translate(below)


def _paragraphs(text: str | None) -> str | None:
    """A help text, each of its paragraphs on one line, as they stand in the catalogue."""
    if not text:
        return text
    return "\n\n".join(say(" ".join(paragraph.split())) for paragraph in _PARAGRAPHS.split(text))
