"""Commands for n-gram models: export and import, as ARPA files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textmill.base.language import say
from textmill.cli import completion
from textmill.cli.app import App
from textmill.cli.options import Named, Outcome, Target, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

app = App(help="Write and read n-gram models as ARPA files.")
ArpaFile = Annotated[Path, typer.Argument(metavar="FILE.arpa", help="The ARPA file.", show_default=False)]


@app.command()
@verb(silent=True)
def export(workspace: Workspace, target: Target, path: ArpaFile) -> Outcome:
    """Write a published n-gram model as an ARPA file, as SRILM and KenLM read it."""
    from textmill.stages.release import ngram as stage

    return stage.export(workspace, target, path), _exported


def _exported(result: Mapping[str, Any]) -> None:
    counts = ", ".join(f"{count:,} {length}-grams" for length, count in result["ngrams"].items())
    print(f"{result['file']}: {counts}")


@app.command("import")
@verb(silent=True)
def take_in(
    workspace: Workspace,
    path: ArpaFile,
    out: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the model is written.")],
    like: Annotated[
        str,
        typer.Option(
            help="Run or model whose tokens are the words of the file.", autocompletion=completion.targets
        ),
        Named(),
    ],
) -> Outcome:
    """Make a model directory from an ARPA file whose words are a tokenizer's tokens."""
    from textmill.stages.release import ngram as stage

    result = stage.take_in(workspace, path, like, out)
    return result, lambda result: print(say(f"{result['model']}: a {result['order']}-gram model"))
