"""Recipes: from a TOML file and `--set a.b=v` to a checked Recipe, and what differs between two of them."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.base import schema, toml
from textmill.base.errors import RecipeError
from textmill.specs import presets
from textmill.specs.recipe import Recipe

_HERE = "/./"  # within a path: what comes before it leads to the folder that what follows was written in


Plain = dict[str, Any]  # a recipe as its file has it


def load(
    path: Path | str,
    overrides: Iterable[str] = (),
    *,
    base: Path | None = None,
    fill: Callable[[Plain, str], Plain] | None = None,
) -> Recipe:
    """Read and check a recipe file; `overrides` are `a.b=value` with TOML values.

    Relative source paths are taken from the recipe's own folder, or from `base`. fill: as `build`'s. Raises
    RecipeError, naming file, key, mistake and the nearest right name.
    """
    path = Path(path)
    base = path.parent if base is None else base
    return build(_read(path), overrides, where=str(path), base=base, fill=fill)


def build(
    data: Plain,
    overrides: Iterable[str] = (),
    *,
    where: str = "",
    base: Path = Path(),
    fill: Callable[[Plain, str], Plain] | None = None,
) -> Recipe:
    """A checked Recipe from plain data, with presets expanded and paths made absolute.

    fill: (data, where) -> the same with what its [start] and its task say of it (stages/preparation/starting.py); a
    recipe that a run keeps has all of it already.
    """
    for override in overrides:
        data = _set(data, override)
    if "phase" in data:
        raise RecipeError(
            f"has phases: {', '.join(phase.name for phase in _phases(data, where))}",
            where=where,
            advice="name one with --phase; `textmill train` and `textmill run` do all of them",
        )
    if data.get("task") == {
        "name": "generation"
    }:  # what every recipe of earlier versions said, and nothing read
        data = {key: value for key, value in data.items() if key != "task"}
    data = _absolute_paths(_expand_preset(data, where), base)
    if fill is not None and data.keys() & {"start", "task"}:
        data = fill(data, where)
    return schema.read(Recipe, data, where)


@dataclass(frozen=True)
class Phase:
    """One of the recipes that a file with [[phase]] tables holds: plain data for `build`."""

    name: str
    data: Plain
    where: str
    before: str | None  # the name of the run whose result it starts from; None: of the first


def phases(path: Path | str, overrides: Iterable[str] = ()) -> list[Phase] | None:
    """The phases of a recipe file, in their order; None where it is one recipe.

    Each overrides the one before it, key by key, and the first what stands outside of all; a table of another `kind`
    is replaced. [start], [replay], [model] and [tokenizer] are a phase's own: its model is that of the one before.
    Raises RecipeError as `load`, and where a phase has no name of its own.
    """
    data = _read(Path(path))
    for override in overrides:
        data = _set(data, override)
    return _phases(data, str(path)) if "phase" in data else None


_OWN = ("start", "replay", "model", "tokenizer")  # tables that a phase does not have from the one before


def _phases(data: Plain, where: str) -> list[Phase]:
    tables, known = data["phase"], {key: value for key, value in data.items() if key != "phase"}
    if not isinstance(tables, list) or not tables or not all(isinstance(table, Mapping) for table in tables):
        raise RecipeError("is a list of tables: [[phase]]", where=f"{where}: phase")
    found: list[Phase] = []
    for number, table in enumerate(tables, 1):
        name, at = table.get("name", str(number)), f"{where}: phase {number}"
        if not isinstance(name, str) or name in {phase.name for phase in found}:
            raise RecipeError(
                f"{name!r} is no name of its own", where=at, advice="give each phase another name"
            )
        known = _overridden(known, {key: value for key, value in table.items() if key != "name"})
        made, before = {**known, "name": f"{data.get('name', Path(where).stem)}-{name}"}, None
        if found:
            before = found[-1].data["name"]
            start = table.get("start", {})
            made = {key: value for key, value in made.items() if key not in _OWN or key in table}
            made["start"] = {"model": before, **start} if isinstance(start, Mapping) else start
            before = before if made["start"]["model"] == before else None
        found.append(Phase(name, made, at, before))
    return found


def _overridden(old: Any, new: Any) -> Any:
    """A tree of plain data, overridden by another one: tables key by key, unless they are of another kind."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    if "kind" in new and new["kind"] != old.get("kind"):
        return dict(new)
    return {**old, **{key: _overridden(old[key], item) if key in old else item for key, item in new.items()}}


def dumps(recipe: Recipe, *, comments: bool = True) -> str:
    """The whole recipe as TOML, every default spelt out."""
    return toml.dumps(recipe, comments=comments)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a recipe file, for editors."""
    result = schema.json_schema(Recipe)
    decoder = result["properties"]["model"]["anyOf"][0]
    decoder["properties"] |= {
        "preset": {
            "enum": list(presets.FAMILIES),
            "description": "Family whose shape fills the keys left out.",
        },
        "size": {"type": "string", "description": "Size of the preset, such as 10M, 1B or a published name."},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | result


def difference(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted key, old, new) wherever two trees of plain data differ; None stands for absent."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        differences = []
        for key in {**old, **new}:
            differences += difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        return differences
    return [] if old == new else [(path, old, new)]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError("no such recipe", where=path, advice="`textmill recipe new` makes one") from error
    except (IsADirectoryError, PermissionError) as error:
        raise RecipeError(f"cannot be read ({error.strerror})", where=path) from error
    except UnicodeDecodeError as error:
        raise RecipeError("is not UTF-8 text", where=path, advice="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"is not valid TOML: {error}", where=path) from error


def _set(data: dict[str, Any], override: str) -> dict[str, Any]:
    """A copy of `data` with one `a.b=value` carried out."""
    key, sign, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not sign or not all(parts):
        raise RecipeError(f"{override!r} is not of the form a.b=value", where="--set")
    try:
        item = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        item = text.strip()  # a bare word is text
    return _put(data, parts, item)


def _put(data: Any, parts: list[str], item: Any) -> Any:
    data = dict(data) if isinstance(data, Mapping) else {}
    data[parts[0]] = item if len(parts) == 1 else _put(data.get(parts[0]), parts[1:], item)
    return data


def _expand_preset(data: dict[str, Any], where: str) -> dict[str, Any]:
    model = data.get("model")
    if not isinstance(model, Mapping) or not {"preset", "size"} & model.keys():
        return data
    overrides = {key: item for key, item in model.items() if key not in ("preset", "size")}
    try:
        shape = presets.preset(model.get("preset", "llama"), str(model.get("size", "10M")))
    except RecipeError as error:
        location = f"{where}: model.{error.where}" if where else f"model.{error.where}"
        raise RecipeError(error.what, where=location, advice=error.advice) from None
    return {**data, "model": {**shape, **overrides}}


class Place(str):
    """An absolute path that remembers how it was written: as seen from the folder of its recipe."""

    home: str
    written: str

    def __new__(cls, home: str, written: str) -> Place:
        place = super().__new__(cls, os.path.normpath(os.path.join(home, written)))
        place.home, place.written = home, written
        return place


def as_written(recipe: Recipe) -> Recipe:
    """The recipe with its paths as they were written: what stays the same wherever its folder stands."""
    return _changed(recipe, lambda item: item.written if isinstance(item, Place) else item)


def home_of(recipe: Recipe) -> Path | None:
    """The folder the relative paths of a recipe start at; None where it has none."""
    return next((Path(item.home) for item in _named(recipe) if isinstance(item, Place)), None)


def seen_from(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe as another folder is to keep it: a relative path is told from there, up to `/./` the way to the
    recipe's own folder, and after it as it was written."""

    def told(item: str) -> str:
        if not isinstance(item, Place):
            return item
        return f"{os.path.relpath(item.home, folder)}{_HERE}{item.written}"

    return _changed(recipe, told)


def _changed(recipe: Recipe, change: Callable[[str], str]) -> Recipe:
    return schema.read(Recipe, _with_paths(schema.write(recipe), change))


def same_places(old: Recipe, new: Recipe) -> bool:
    """Whether two recipes name the same sources."""
    return _named(old) == _named(new) and _placeless(old) == _placeless(new)


def same_but_gone(old: Recipe, new: Recipe) -> bool:
    """The same, but for what `new` names and is nowhere."""
    before, after = _named(old), _named(new)
    return (
        len(before) == len(after)
        and _placeless(old) == _placeless(new)
        and all(was == now or not os.path.lexists(now) for was, now in zip(before, after, strict=True))
    )


def placed(recipe: Recipe, like: Recipe) -> Recipe:
    """A recipe whose sources and tokenizer stand where those of another do."""
    places = iter(_named(like))
    return _changed(recipe, lambda item: next(places))


def _named(recipe: Recipe) -> list[str]:
    """What a recipe names on the disk, in its order."""
    found: list[str] = []

    def note(item: str) -> str:
        found.append(item)
        return item

    _with_paths(schema.write(recipe), note)
    return found


def _placeless(recipe: Recipe) -> Any:
    plain = _with_paths(schema.write(recipe), lambda item: "")
    replay = plain.get("replay") or {"corpus": {"sources": []}}
    return plain["corpus"]["sources"], plain["tokenizer"], replay["corpus"]["sources"]


def _absolute_paths(data: dict[str, Any], base: Path) -> dict[str, Any]:
    """Paths of sources, tokenizer and start made absolute, so that a recipe means the same from anywhere."""

    def absolute(item: str) -> str:
        if isinstance(item, Place) or os.path.isabs(path := os.path.expanduser(item)):
            return item if isinstance(item, Place) else os.path.normpath(path)
        way, _, written = path.rpartition(_HERE)
        return Place(os.path.normpath(base.absolute() / way), os.path.normpath(written))

    return _with_paths(data, absolute)


def _with_paths(data: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The plain recipe with the paths of its sources, of its tokenizer and of its start changed."""

    def changed(item: Any) -> Any:
        return change(item) if isinstance(item, str) else item

    corpus, tokenizer = data.get("corpus"), data.get("tokenizer")
    if isinstance(tokenizer, Mapping) and "path" in tokenizer:
        data = {**data, "tokenizer": {**tokenizer, "path": changed(tokenizer["path"])}}
    start = data.get("start")
    if isinstance(start, Mapping) and is_path(start.get("model")):
        data = {**data, "start": {**start, "model": changed(start["model"])}}
    replay = data.get("replay")
    if isinstance(replay, Mapping):
        data = {**data, "replay": {**replay, "corpus": _changed_corpus(replay.get("corpus"), changed)}}
    return data if corpus is None else {**data, "corpus": _changed_corpus(corpus, changed)}


def _changed_corpus(corpus: Any, changed: Callable[[Any], Any]) -> Any:
    """A corpus with what its sources name changed."""
    if not isinstance(corpus, Mapping) or not isinstance(corpus.get("sources"), list):
        return corpus
    return {**corpus, "sources": [_changed_source(source, changed) for source in corpus["sources"]]}


def is_path(model: Any) -> bool:
    """Whether what a start names is a path, and not the name of a run: it has a separator, or ends in .gguf."""
    if not isinstance(model, str):
        return False
    return isinstance(model, Place) or any(sign in model for sign in "/\\") or model.lower().endswith(".gguf")


def _changed_source(source: Any, changed: Callable[[Any], Any]) -> Any:
    """A source with the folders and files it names changed; `folder` of the web has a default."""
    if not isinstance(source, Mapping):
        return source
    if isinstance(source.get("paths"), list):
        return {**source, "paths": [changed(item) for item in source["paths"]]}
    if source.get("kind") == "dataset" and "path" in source:
        return {**source, "path": changed(source["path"])}
    if source.get("kind") == "web":
        return {**source, "folder": changed(source.get("folder", "web"))}
    return source
