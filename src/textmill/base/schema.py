"""Plain data into frozen dataclasses and back, strictly; and the JSON Schema of both.

A spec is a frozen dataclass whose fields are annotated with `About`: what the field means, its unit and its
range. This module reads those annotations, so that a recipe, the message about a mistake in it, the comments
in a new recipe and the schema an editor loads all come from the one place where the field is declared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from textmill.base import console
from textmill.base.errors import RecipeError

T = TypeVar("T")
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class About:
    """What a field means: said to a person, checked against a value, written into a schema."""

    text: str
    unit: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    usual: str = (
        ""  # of several specs: the kind of a table that does not say its own; left out: that of the default
    )
    was: tuple[str, ...] = ()  # names of before, still read

    def range(self) -> str:
        """The allowed range as words, such as `>= 1 and < 2`; empty when anything goes."""
        bounds = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)

    def allows(self, value: float) -> bool:
        """Whether a number lies in the range (NaN never does)."""
        return (
            not math.isnan(value)
            and (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )


@dataclass(frozen=True)
class Field:
    """One field of a spec, as declared."""

    name: str
    type: Any
    about: About
    default: Any  # dataclasses.MISSING when the field must be given

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING


@functools.cache
def fields(spec: type) -> Mapping[str, Field]:
    """The declared fields of a spec class, by name. One that a class declares again, for another default or type,
    means what its base says it means, unless it has an `About` of its own."""
    hints = [get_type_hints(base, include_extras=True) for base in spec.__mro__]
    declared = {}
    for field in dataclasses.fields(spec):
        kind, about = _unwrap(hints[0][field.name])
        inherited = (_unwrap(hint[field.name])[1] for hint in hints if field.name in hint)
        about = about or next(filter(None, inherited), About(""))
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if dataclasses.is_dataclass(default) and not about.usual:
            about = dataclasses.replace(about, usual=kind_of(type(default)))
        declared[field.name] = Field(field.name, kind, about, default)
    return declared


def _unwrap(annotation: Any) -> tuple[Any, About | None]:
    if get_origin(annotation) is Annotated:
        kind, *extras = get_args(annotation)
        return kind, next((extra for extra in extras if isinstance(extra, About)), None)
    return annotation, None


def read(spec: type[T], data: Any, where: str = "", path: str = "") -> T:
    """Build `spec` from plain data. `where` is the file, `path` the dotted key inside it.

    Raises RecipeError on an unknown key (with the nearest right name), a missing key, a wrong type or a
    value out of range.
    """
    if not isinstance(data, Mapping):
        raise _wrong(where, path, f"must be a table, not {_describe(data)}")
    known, data = fields(spec), current(spec, data, where, path)
    for key in data:
        if key not in known:
            raise _wrong(where, _join(path, key), "unknown key", _nearest(key, path, known))
    values = {}
    for name, field in known.items():
        if name in data:
            values[name] = _value(field.type, data[name], field.about, where, _join(path, name))
        elif field.required:
            unit = f", in {field.about.unit}" if field.about.unit else ""
            raise _wrong(where, _join(path, name), "is missing", f"it says {field.about.text}{unit}")
    try:
        return spec(**values)
    except RecipeError as error:  # a spec's own __post_init__: it knows the field, not the file
        raise _wrong(where, _join(path, error.where), error.what, error.advice) from None


def current(spec: type, data: Mapping[str, Any], where: str = "", path: str = "") -> Mapping[str, Any]:
    """A table whose keys of before have the names they have now; whoever listens to the command is told.

    Raises RecipeError where a key is given by both.
    """
    names = {old: name for name, field in fields(spec).items() for old in field.about.was}
    if not names.keys() & data.keys():
        return data
    renamed = {}
    for key, value in data.items():
        if (name := names.get(key)) is None:
            renamed[key] = value
            continue
        if name in data:
            raise _wrong(where, _join(path, key), f"is the old name of {name}, which is given, too")
        console.told(f"{_join(path, key)} is {_join(path, name)} now; the old name is still read")
        renamed[name] = value
    return renamed


def _value(kind: Any, value: Any, about: About, where: str, path: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union(get_args(kind), value, about, where, path)
    if origin is Literal:
        choices = get_args(kind)
        if value in choices and not isinstance(value, bool):
            return value
        near = difflib.get_close_matches(str(value), [str(c) for c in choices], 1)
        advice = f"did you mean {near[0]!r}?" if near else ""
        raise _wrong(where, path, f"{value!r} is not one of {', '.join(map(repr, choices))}", advice)
    if origin is tuple:
        return _sequence(kind, value, about, where, path)
    if origin is dict or kind is dict:
        if not isinstance(value, Mapping):
            raise _wrong(where, path, f"must be a table, not {_describe(value)}")
        return dict(value)
    if dataclasses.is_dataclass(kind):
        return read(kind, value, where, path)
    return _scalar(kind, value, about, where, path)


def _scalar(kind: type, value: Any, about: About, where: str, path: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        unit = f" ({about.unit})" if about.unit else ""
        raise _wrong(where, path, f"must be {_NAMES[kind]}{unit}, not {_describe(value)}")
    if kind in (int, float) and not about.allows(value):
        unit = f" {about.unit}" if about.unit else ""
        raise _wrong(where, path, f"{value!r} is out of range: it must be {about.range()}{unit}")
    return value


def _sequence(kind: Any, value: Any, about: About, where: str, path: str) -> tuple:
    if not isinstance(value, (list, tuple)):
        raise _wrong(where, path, f"must be a list, not {_describe(value)}")
    inner = get_args(kind)
    if inner[-1] is Ellipsis:
        return tuple(_value(inner[0], item, about, where, f"{path}[{i}]") for i, item in enumerate(value))
    if len(value) != len(inner):
        raise _wrong(where, path, f"must hold {len(inner)} values, not {len(value)}")
    items = zip(inner, value, strict=True)
    return tuple(_value(t, item, about, where, f"{path}[{i}]") for i, (t, item) in enumerate(items))


def _union(choices: tuple, value: Any, about: About, where: str, path: str) -> Any:
    if value is None and type(None) in choices:
        return None
    choices = tuple(choice for choice in choices if choice is not type(None))
    specs = {kind_of(choice): choice for choice in choices if dataclasses.is_dataclass(choice)}
    if isinstance(value, Mapping) and specs:
        kind = value.get("kind", next(iter(specs)) if len(specs) == 1 else about.usual or None)
        if kind in specs:
            return read(specs[kind], value, where, path)
        if kind is None:
            raise _wrong(where, _join(path, "kind"), "is missing", f"choose one of {', '.join(specs)}")
        near = difflib.get_close_matches(str(kind), specs, 1)
        advice = f"did you mean {near[0]!r}?" if near else ""
        raise _wrong(where, _join(path, "kind"), f"{kind!r} is not one of {', '.join(specs)}", advice)
    plain = [choice for choice in choices if not dataclasses.is_dataclass(choice)]
    if len(plain) == 1:
        return _value(plain[0], value, about, where, path)
    for choice in plain:
        with contextlib.suppress(RecipeError):
            return _value(choice, value, about, where, path)
    raise _wrong(where, path, f"must be {_either(choices)}, not {_describe(value)}")


def kind_of(spec: type) -> str:
    """The word that tells a spec apart in a union: its `kind` default, or the class name."""
    field = fields(spec).get("kind")
    return field.default if field and not field.required else spec.__name__


def write(spec: Any) -> Any:
    """A spec as plain data: what `read` takes, every default spelt out, `None` left out."""
    if dataclasses.is_dataclass(spec) and not isinstance(spec, type):
        pairs = ((field.name, write(getattr(spec, field.name))) for field in dataclasses.fields(spec))
        return {name: value for name, value in pairs if value is not None}
    if isinstance(spec, tuple):
        return [write(item) for item in spec]
    return spec


def json_schema(spec: type) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a spec, for editors: every field with its text, unit and default."""
    properties, required = {}, []
    for name, field in fields(spec).items():
        entry = _schema_of(field.type, field.about)
        unit = f" Unit: {field.about.unit}." if field.about.unit else ""
        if field.about.text:
            entry["description"] = f"{field.about.text[0].upper()}{field.about.text[1:]}.{unit}"
        if field.required:
            required.append(name)
        elif field.default is not None:
            entry["default"] = write(field.default)
        properties[name] = entry
    schema = {
        "type": "object",
        "title": spec.__name__,
        "properties": properties,
        "additionalProperties": False,
    }
    return schema | ({"required": required} if required else {})


def _schema_of(kind: Any, about: About) -> dict[str, Any]:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        choices = [_schema_of(choice, about) for choice in get_args(kind) if choice is not type(None)]
        return choices[0] if len(choices) == 1 else {"anyOf": choices}
    if origin is Literal:
        return {"enum": list(get_args(kind))}
    if origin is tuple:
        inner = get_args(kind)
        fixed = {} if inner[-1] is Ellipsis else {"minItems": len(inner), "maxItems": len(inner)}
        return {"type": "array", "items": _schema_of(inner[0], about)} | fixed
    if dataclasses.is_dataclass(kind):
        return json_schema(kind)
    if origin is dict or kind is dict:
        return {"type": "object"}
    schema: dict[str, Any] = {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[kind]}
    bounds = {
        "minimum": about.ge,
        "exclusiveMinimum": about.gt,
        "maximum": about.le,
        "exclusiveMaximum": about.lt,
    }
    if kind in (int, float):
        schema |= {key: bound for key, bound in bounds.items() if bound is not None}
    return schema


def _nearest(key: str, path: str, known: Mapping[str, Field]) -> str:
    """`did you mean …?` with the nearest field name; a shared part such as `head` in `n_head` counts."""
    near = difflib.get_close_matches(key, known, 1, cutoff=0.6)
    if not near:
        parts = [part for part in key.lower().split("_") if len(part) > 2]
        near = [name for name in known if any(part.rstrip("s") in name or name in part for part in parts)]
    if near:
        return f"did you mean {_join(path, near[0])}?"
    return f"the keys here are {', '.join(known)}"


def _describe(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, (int, float)):
        return f"the number {value!r}"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "a table" if isinstance(value, Mapping) else repr(value)


def _either(choices: tuple) -> str:
    return " or ".join(_NAMES.get(choice, "a table") for choice in choices)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def _wrong(where: str, path: str, problem: str, advice: str = "") -> RecipeError:
    location = ": ".join(part for part in (where, path) if part)
    return RecipeError(problem, where=location, advice=advice)
