"""The verb that turns texts into vectors."""

from __future__ import annotations

import json as format_json
import sys
from pathlib import Path
from typing import Annotated

import typer

from textmill.base.console import print_json
from textmill.base.errors import RecipeError, TextmillError
from textmill.cli.options import WORK, Json, Quiet, Target, Work, opened


def embed(
    target: Target,
    text: Annotated[
        list[str] | None, typer.Argument(help="Texts; `-` reads stdin, one a line.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Read texts from this file, one a line.", show_default=False)
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            metavar="mean|cls|last|max", help="Which states stand for a text; else as the model says."
        ),
    ] = None,
    normalise: Annotated[
        bool | None,
        typer.Option("--normalise/--raw", help="Scale vectors to length 1, or not; else as the model says."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the vectors to this .npy file instead.", show_default=False)
    ] = None,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn texts into vectors that lie near each other where the texts mean alike. Prints one JSON list a text."""
    from textmill.stages.use import embed as stage

    texts = _texts(text or [], file)
    with opened(work, quiet) as workspace:
        result = stage.embed(workspace, target, texts, pooling=pooling, normalise=normalise)
    vectors = result.pop("embeddings")
    if out is not None:
        _save(out, vectors)
        result["out"] = str(out)
    if json:
        shown = {} if out is not None else {"embeddings": vectors.tolist()}
        print_json(result | {"texts": len(texts)} | shown)
    elif out is None:
        for vector in vectors.tolist():
            print(format_json.dumps([round(number, 8) for number in vector]))


def _texts(given: list[str], file: Path | None) -> list[str]:
    texts = [line for text in given for line in (sys.stdin.read().splitlines() if text == "-" else [text])]
    if file is not None:
        try:
            texts += file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise TextmillError(f"cannot be read as text ({error})", where=file) from error
    if not texts:
        raise RecipeError("there is no text to embed", where="TEXT", advice="give texts, or --file")
    return texts


def _save(path: Path, vectors) -> None:
    import numpy as np

    from textmill.base.files import atomic_file

    with atomic_file(path) as handle:
        np.save(handle, vectors, allow_pickle=False)
