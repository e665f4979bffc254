"""Verbs for n-gram models: export and import, as ARPA files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textmill.base.console import print_json
from textmill.cli.options import WORK, Json, Target, Work, open_workspace

app = typer.Typer(help="N-gram models as ARPA files, out and in.", no_args_is_help=True)
ArpaFile = Annotated[Path, typer.Argument(metavar="FILE.arpa", help="The ARPA file.", show_default=False)]


@app.command()
def export(target: Target, path: ArpaFile, work: Work = WORK, json: Json = False) -> None:
    """Write a published n-gram model as an ARPA file, as SRILM and KenLM read it."""
    from textmill.stages.release import ngram as stage

    result = stage.export(open_workspace(work, quiet=True), target, path)
    counts = ", ".join(f"{count:,} {length}-grams" for length, count in result["ngrams"].items())
    print_json(result) if json else print(f"{result['file']}: {counts}")


@app.command("import")
def take_in(
    path: ArpaFile,
    out: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the model is written.")],
    like: Annotated[str, typer.Option(help="Run or model whose tokenizer the file's words are of.")],
    work: Work = WORK,
    json: Json = False,
) -> None:
    """Make a model directory of an ARPA file whose words are a tokenizer's tokens."""
    from textmill.stages.release import ngram as stage

    result = stage.take_in(open_workspace(work, quiet=True), path, like, out)
    print_json(result) if json else print(f"{result['model']}: a {result['order']}-gram model")
