"""`textmill recipe`: new, show, schema."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from textmill.base.errors import RecipeError
from textmill.base.language import say
from textmill.cli import completion
from textmill.cli.app import App
from textmill.cli.options import WORK, Json, Phase, RecipeFile, Set, Work, open_workspace, read_recipe

app = App(help="Write, show and check recipes.")


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="File to write.")],
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Your files, folders or globs; left out: Python's standard library."),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="Model family: llama, gpt2 or qwen3.",
            autocompletion=completion.among("llama", "gpt2", "qwen3"),
        ),
    ] = "llama",
    size: Annotated[str, typer.Option(help="Model size, such as 3M, 10M, 124M, 1B.")] = "3M",
    full: Annotated[bool, typer.Option("--full", help="Write every key with its meaning.")] = False,
    json: Json = False,
) -> None:
    """Write a new recipe to start from. An existing file is never overwritten."""
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
