"""How answers are found, as options: one for each field of a GenerationSpec, with its own words as the help."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer

from textmill.base import schema
from textmill.base.schema import Field
from textmill.specs.generation import GenerationSpec

Verb = TypeVar("Verb", bound=Callable[..., None])
_SHORT = {"tokens": "-n", "temperature": "-t"}
_PANEL = "How the answer is found (left out: the model's own way)"


def options(*left_out: str) -> Callable[[Verb], Verb]:
    """Gives a verb whose last parameter is `changes: dict[str, Any]` an option for each field of a GenerationSpec but
    those left out. `changes` then holds the fields a person gave; ranges are checked where a spec is read."""

    def give(verb: Verb) -> Verb:
        fields = {name: one for name, one in schema.fields(GenerationSpec).items() if name not in left_out}

        @functools.wraps(verb)
        def told(**given: Any) -> None:
            changes = {name: given.pop(name) for name in fields}
            verb(**given, changes={name: value for name, value in changes.items() if value is not None})

        own = [one for one in _resolved(verb) if one.name != "changes"]
        made = [_parameter(name, field) for name, field in fields.items()]
        told.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
        told.__annotations__ = {one.name: one.annotation for one in (*own, *made)}
        del told.__wrapped__  # type: ignore[attr-defined]  (its annotations are not these)
        return told  # type: ignore[return-value]

    return give


def _resolved(verb: Callable[..., None]) -> list[inspect.Parameter]:
    """The verb's own parameters. All become keyword parameters, so that options may stand after those with defaults."""
    own = inspect.signature(verb, eval_str=True).parameters.values()
    return [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]


def _parameter(name: str, field: Field) -> inspect.Parameter:
    kind, choices = _plain(field.type)
    unit = f" ({field.about.unit})" if field.about.unit else ""
    text = f"{field.about.text[0].upper()}{field.about.text[1:]}{unit}."
    flags = [f"--{name.replace('_', '-')}", *([_SHORT[name]] if name in _SHORT else [])]
    option = typer.Option(*flags, help=text, metavar=choices, show_default=False, rich_help_panel=_PANEL)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _plain(kind: Any) -> tuple[Any, str | None]:
    """What the command line reads for a field of this type, and the choices there are, `a|b`."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is Literal:
        return str, "|".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return types.GenericAlias(list, get_args(kind)[:1]), None
    return kind, None
