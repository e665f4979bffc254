"""Commands that hand models over: import, export, merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.base.errors import RecipeError
from textmill.cli import completion
from textmill.cli.options import OptionalTarget, Outcome, Target, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

List = Annotated[bool, typer.Option("--list", help="List what is supported, and exit.")]


@verb()
def bring_in(
    workspace: Workspace,
    source: Annotated[
        str | None,
        typer.Argument(help="A model's directory or .gguf file; with --remote a name on the hub."),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Argument(
            help="Directory to write; left out: in the models folder, where it is known by its name.",
            show_default=False,
        ),
    ] = None,
    remote: Annotated[
        bool, typer.Option("--remote", help="Fetch SOURCE from the Hugging Face hub: this uses the network.")
    ] = False,
    convert_pickle: Annotated[
        bool,
        typer.Option("--convert-pickle", help="Convert weights stored as a pickle, in a sandboxed process."),
    ] = False,
    list_: List = False,
) -> Outcome:
    """Read a model made by others and write it as a standard directory. Nothing is fetched without --remote."""
    from textmill.cli.show import exchange as show
    from textmill.stages.release import exchange

    if list_:
        return exchange.supported(), show.supported
    if source is None:
        raise RecipeError("takes a SOURCE", where="textmill import", advice="or --list")
    result = exchange.bring_in(workspace, source, target, remote=remote, convert_pickle=convert_pickle)
    return result, show.brought_in


@verb()
def send_out(
    workspace: Workspace,
    target: OptionalTarget = None,
    form: Annotated[
        str | None,
        typer.Argument(
            metavar="FORMAT", help="One of the formats of --list.", autocompletion=completion.formats
        ),
    ] = None,
    path: Annotated[Path | None, typer.Argument(help="File or directory to write.")] = None,
    list_: List = False,
) -> Outcome:
    """Write a model in a format that other programs read."""
    from textmill.cli.show import exchange as show
    from textmill.stages.release import exchange

    if list_:
        return exchange.supported(), show.supported
    if target is None or form is None or path is None:
        raise RecipeError("takes a MODEL, a FORMAT and a PATH", where="textmill export", advice="or --list")
    return exchange.send_out(workspace, target, form, path), show.sent_out


@verb()
def merge(
    workspace: Workspace,
    target: Target,
    out: Annotated[Path, typer.Option(help="Directory to write.", show_default=False)],
    file: Annotated[
        list[Path] | None,
        typer.Option(help="Compare on these texts instead of a built-in mix.", show_default=False),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            help="Dtype of the merged weights: fp32, bf16 or fp16.",
            autocompletion=completion.among("fp32", "bf16", "fp16"),
        ),
    ] = "fp32",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of a logit that is allowed.")
    ] = 1e-3,
) -> Outcome:
    """Merge an adapter into its base as one model, and print how far its logits moved."""
    from textmill.cli.show import exchange as show
    from textmill.stages.release import merge as stage

    result = stage.merge(workspace, target, out, files=file or [], dtype=dtype, tolerance=tolerance)
    return result, show.merged
