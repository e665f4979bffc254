"""The command that turns texts into vectors."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textmill.base.console import counted
from textmill.base.errors import TextmillError
from textmill.cli import completion
from textmill.cli.models import AdapterName, Checkpoint
from textmill.cli.options import Outcome, Target, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace


@verb()
def embed(
    workspace: Workspace,
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
            metavar="mean|cls|last|max",
            help="How hidden states are pooled into one vector; left out: as the model says.",
            autocompletion=completion.among("mean", "cls", "last", "max"),
        ),
    ] = None,
    normalise: Annotated[
        bool | None,
        typer.Option(
            "--normalise/--raw", help="Scale vectors to length 1, or not; left out: as the model says."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the vectors to this .npy file instead.", show_default=False)
    ] = None,
    checkpoint: Checkpoint = None,
    adapter: AdapterName = None,
) -> Outcome:
    """Turn texts into vectors: the closer their meaning, the closer they lie. Prints one JSON list per text."""
    from textmill.base.files import atomic_file, check_free
    from textmill.stages.use.model import LanguageModel

    texts = _texts(text or [], file)
    if out is not None:
        check_free(out)
    model = LanguageModel(workspace, target, checkpoint=checkpoint)
    model = model if adapter is None else model.with_adapter(adapter)
    embedded = model.embed(texts, pooling=pooling, normalise=normalise)
    warnings = [*model.pretrained.warnings]
    if embedded.cut:
        warnings.append(
            f"{embedded.cut} of {len(texts)} texts exceeded the {embedded.longest:,} tokens that are read; "
            f"their ends were cut off, {counted(sum(embedded.left_out), 'token')} in all"
        )
    for warning in warnings:
        workspace.reporter.warn(warning)
    result: dict[str, Any] = {
        "model": target,
        "width": embedded.vectors.shape[1],
        "pooling": embedded.pooling,
        "normalised": embedded.normalised,
        "cut": embedded.cut,
        "tokens": embedded.tokens,
        "left_out": embedded.left_out,
        "warnings": warnings,
        "texts": len(texts),
    }
    if out is None:
        return result | {"embeddings": embedded.vectors.tolist()}, _show
    import numpy as np

    with atomic_file(out, private=False) as handle:
        np.save(handle, embedded.vectors, allow_pickle=False)
    return result | {"out": str(out)}, _show


def _show(result: Mapping[str, Any]) -> None:
    for vector in result.get("embeddings", ()):
        print(json.dumps([round(number, 8) for number in vector]))


def _texts(args: list[str], file: Path | None) -> list[str]:
    texts = [line for text in args for line in (sys.stdin.read().splitlines() if text == "-" else [text])]
    if file is not None:
        try:
            texts += file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise TextmillError(f"cannot be read as text ({error})", where=file) from error
    return texts
