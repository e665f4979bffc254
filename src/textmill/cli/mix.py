"""The command that makes one model of several: mix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.cli import completion
from textmill.cli.options import Named, Outcome, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace


@verb()
def mix(
    workspace: Workspace,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Runs or model directories of one tokenizer, two or more; the first is a run.",
            show_default=False,
            autocompletion=completion.targets,
        ),
        Named(),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where the mixture is written; left out: work/mixtures/.")
    ] = None,
    fit_tokens: Annotated[
        int, typer.Option(min=1000, help="Validation tokens the weights are fitted on.")
    ] = 50_000,
    test_tokens: Annotated[int, typer.Option(min=1000, help="Test tokens it is scored on.")] = 200_000,
) -> Outcome:
    """Interpolate models, with weights fitted on the validation split; show what that gains on the test split."""
    from textmill.cli.show import scores
    from textmill.stages.use import mix as stage

    result = stage.mix(workspace, models, out=out, fit_tokens=fit_tokens, test_tokens=test_tokens)
    return result, scores.mixture
