"""`textmill recipe`: new, show, schema."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from textmill.base.errors import RecipeError
from textmill.base.language import say
from textmill.cli import completion
from textmill.cli.app import App
from textmill.cli.options import (
    WORK,
    Columns,
    Data,
    From,
    Json,
    Kind,
    Phase,
    RecipeFile,
    Set,
    TaskName,
    Work,
    open_workspace,
    read_recipe,
)

app = App(help="Write, show and check recipes.")


@app.command()
def new(
    path: Annotated[
        Path | None,
        typer.Argument(help="File to write; of --data, left out: named after the data.", show_default=False),
    ] = None,
    task: TaskName = None,
    data: Data = None,
    columns: Columns = None,
    start: From = None,
    kind: Kind = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.05, help="Minutes of training; left out: by task and amount of data.", show_default=False
        ),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            help="A language model of your own files, folders or globs; left out: Python's standard library."
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="Model family of a language model: llama, gpt2 or qwen3.",
            autocompletion=completion.among("llama", "gpt2", "qwen3"),
        ),
    ] = "llama",
    size: Annotated[str, typer.Option(help="Size of a language model, such as 3M, 10M, 124M, 1B.")] = "3M",
    full: Annotated[bool, typer.Option("--full", help="Write every key with its meaning.")] = False,
    work: Work = WORK,
    json: Json = False,
) -> None:
    """Write a new recipe to start from: for a task on your own data (--data), which are looked at, or for a language
    model of your own texts (--corpus). An existing file is never overwritten."""
    if data or task is not None:
        _for_data(path, task, data or [], columns or [], start, kind, minutes, full, work, json)
        return
    for option, given in (
        ("--columns", columns),
        ("--from", start),
        ("--kind", kind),
        ("--minutes", minutes),
    ):
        if given:
            raise RecipeError("goes with --data", where=option, advice="say which files: --data FILE")
    if path is None:
        raise RecipeError(
            "names no file to write",
            where="PATH",
            advice="give a name, such as mine.toml, or --data FILE",
        )
    _for_texts(path, corpus, preset, size, full, json)


def _for_data(
    path: Path | None,
    task: str | None,
    data: list[Path],
    columns: list[str],
    start: str | None,
    kind: str | None,
    minutes: float | None,
    full: bool,
    work: Path,
    json: bool,
) -> None:
    """A recipe for a task on a person's data, and what was guessed of them."""
    from textmill.base.console import print_json
    from textmill.base.files import write_text
    from textmill.cli.show import suggestion as show
    from textmill.specs import recipe_file
    from textmill.stages.preparation import starting, suggest

    workspace = open_workspace(work, quiet=True)
    if path is not None and path.exists():
        raise RecipeError("is there already", where=path, advice="choose another name, or move it away")
    made = suggest.suggest(
        workspace,
        data,
        task=task,
        columns=columns,
        start=start,
        kind=kind,
        minutes=minutes,
        name=None if path is None else path.stem,
        base=Path() if path is None else path.parent,
    )
    path = path or Path(f"{made.recipe['name']}.toml")
    if path.exists():
        raise RecipeError("is there already", where=path, advice="choose another name, or move it away")
    text = suggest.written(made)
    checked = recipe_file.build(
        made.recipe, base=path.parent, fill=partial(starting.filled, workspace=workspace)
    )
    write_text(path, recipe_file.dumps(checked) if full else text, private=False)
    if json:
        print_json(suggest.plain(made) | {"recipe": str(path), "name": checked.name, "full": full})
    else:
        show.suggestion(made, path)


def _for_texts(path: Path, corpus: list[str] | None, preset: str, size: str, full: bool, json: bool) -> None:
    """A recipe for a language model."""
    from textmill.base.console import print_json
    from textmill.base.files import write_text
    from textmill.specs import recipe_file

    if path.exists():
        raise RecipeError("is there already", where=path, advice="choose another name, or move it away")
    source = {"kind": "files", "paths": corpus} if corpus else {"kind": "python-stdlib"}
    data = {
        "name": path.stem,
        "corpus": {"sources": [source]},
        "model": {"preset": preset, "size": size, "context": 256},
    }
    built = recipe_file.build(data, base=path.parent)
    text = recipe_file.dumps(built) if full else _short(data)
    write_text(path, text, private=False)
    if json:
        print_json({"recipe": str(path), "name": path.stem, "full": full})
    else:
        print(say(f"wrote {path}; next: textmill check {path}"), file=sys.stderr)


def _short(data: Mapping[str, Any]) -> str:
    from textmill.base.toml import value

    model = data["model"]
    return f"""\
# {say("A recipe of Textmill. `textmill recipe show` spells out every key with its meaning and default.")}
name = {value(data["name"])}

[corpus]
sources = {value(data["corpus"]["sources"])}
# {say("E-mail addresses, telephone and card numbers, keys … become [EMAIL], [PHONE] … before training.")}
# {say("This line would keep them:")}
# steps = [{_without_personal_data()}]

[tokenizer]
kind = "bpe"            # {say("byte-level BPE")}
vocabulary = 4096

[model]
preset = {value(model["preset"])}        # {say("the family fills in every key you leave out")}
size = {value(model["size"])}
context = {model["context"]}           # {say("tokens the model sees at once")}

[training]
steps = 1000
batch = 16              # {say("sequences in one update")}
"""


def _without_personal_data() -> str:
    """The usual steps but that one, as TOML."""
    from textmill.specs.corpus import CorpusSpec

    kinds = (step.kind for step in CorpusSpec(sources=()).steps)
    return ", ".join(f'{{ kind = "{kind}" }}' for kind in kinds if kind != "personal-data")


@app.command()
def show(
    recipe: RecipeFile, set_: Set = None, phase: Phase = None, work: Work = WORK, json: Json = False
) -> None:
    """Print the whole recipe, presets expanded, the model of [start] filled in and every default written out."""
    from textmill.base import schema
    from textmill.base.console import print_json
    from textmill.specs import recipe_file

    resolved = read_recipe(recipe, set_, open_workspace(work, quiet=True), phase=phase)
    if json:
        print_json(schema.write(resolved))
    else:
        print(recipe_file.dumps(resolved), end="")


@app.command("schema")
def print_schema(
    json: Annotated[bool, typer.Option("--json", help="The same: a schema is JSON.")] = False,
) -> None:
    """Print the JSON Schema of a recipe, for an editor that completes and checks TOML."""
    from textmill.base.console import print_json
    from textmill.specs import recipe_file

    print_json(recipe_file.json_schema())
