"""How answers are found, as options: one for each field of a GenerationSpec, with its own words as the help."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from textmill.base import schema
from textmill.base.errors import RecipeError
from textmill.base.language import LANGUAGES, bracketed, chosen, fill, say
from textmill.base.schema import Field
from textmill.cli import completion
from textmill.cli.options import declared, parameters
from textmill.specs.generation import GenerationSpec

_SHORT = {"tokens": "-n", "temperature": "-t"}
_PANEL = "Generation settings (left out: the model's own)"


def options(*left_out: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command that has a parameter `changes: GenerationOptions` an option for each field of a GenerationSpec
    but those left out. `changes` then holds the fields a person gave; ranges are checked where a spec is read."""

    def give(verb: Callable[..., Any]) -> Callable[..., Any]:
        fields = {
            name: field for name, field in schema.fields(GenerationSpec).items() if name not in left_out
        }

        def command(*first: object, **values: object) -> Any:
            changes = {name: _given(fields[name], values.pop(name)) for name in fields}
            return verb(
                *first,
                **values,
                changes={name: value for name, value in changes.items() if value is not None},
            )

        made = [_parameter(name, field) for name, field in fields.items()]
        return declared(command, verb, [*parameters(verb, "changes"), *made])

    return give


def _parameter(name: str, field: Field) -> inspect.Parameter:
    kind, choices = _plain(field.type)
    about = say(field.about.text)
    if chosen() == LANGUAGES[0]:
        about = f"{about[0].upper()}{about[1:]}"
    text = fill("{}{}.", about, bracketed(say(field.about.unit)))
    flags = [*map(_flag, (name, *field.about.was)), *([_SHORT[name]] if name in _SHORT else [])]
    option = typer.Option(
        *flags,
        help=text,
        metavar=choices,
        show_default=False,
        rich_help_panel=_PANEL,
        autocompletion=completion.among(*choices.split("|")) if choices and "|" in choices else None,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _given(field: Field, value: Any) -> Any:
    """A value as a spec takes it: of a list of lists, each is written with commas."""
    if value is None or not _nested(field.type):
        return value
    try:
        return [[int(number) for number in text.split(",")] for text in value]
    except ValueError as error:
        raise RecipeError(
            f"{', '.join(value)!r} are no ids", where=_flag(field.name), advice="such as 17,4,9"
        ) from error


def _nested(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_origin(get_args(kind)[0]) is tuple


def _plain(kind: Any) -> tuple[Any, str | None]:
    """What the command line reads for a field of this type, and the choices there are, `a|b`."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (choice for choice in get_args(kind) if choice is not type(None))
    if get_origin(kind) is Literal:
        return str, "|".join(map(str, get_args(kind)))
    if _nested(kind):
        return list[str], "ID,ID,…"
    if get_origin(kind) is tuple:
        return types.GenericAlias(list, get_args(kind)[:1]), None
    return kind, None
