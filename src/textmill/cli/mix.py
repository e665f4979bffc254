"""The verb that makes one model of several: mix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from textmill.base.console import print_json
from textmill.cli.options import WORK, Json, Quiet, Work, opened


def mix(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Runs or model directories of one tokenizer, two or more; the first is a run.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where the mixture is written; left out: work/mixtures/.")
    ] = None,
    fit_tokens: Annotated[int, typer.Option(min=1000, help="Validation tokens it is weighed on.")] = 50_000,
    test_tokens: Annotated[int, typer.Option(min=1000, help="Test tokens it is judged on.")] = 200_000,
    work: Work = WORK,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Interpolate models, with weights fitted on the validation part; show what that gains on the test part."""
    from textmill.stages.use import mix as stage

    with opened(work, quiet) as workspace:
        result = stage.mix(workspace, models, out=out, fit_tokens=fit_tokens, test_tokens=test_tokens)
    print_json(result) if json else _show(result)


def _show(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    out = Console(highlight=False, soft_wrap=False)
    out.print(f"on {escape(result['on'])}, {result['judged_on_tokens']:,} tokens\n")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for header in ("bits per byte", "95 % interval", "perplexity", "weight"):
        table.add_column(header, justify="right")
    for row in result["table"]:
        interval = f"{row['low']:.3f} to {row['high']:.3f}" if row["low"] is not None else ""
        weight = result["weights"].get(row["name"])
        shown = "" if weight is None else f"{weight:.2f}"
        style = "bold" if row["name"] == result["better"] else None
        table.add_row(
            row["name"], f"{row['value']:.3f}", interval, f"{row['perplexity']:.2f}", shown, style=style
        )
    out.print(table)
    for name, gain in result["gain"].items():
        interval = f" ({gain['low']:.4f} to {gain['high']:.4f})" if gain["low"] is not None else ""
        out.print(
            f"{name}: {gain['value']:.4f} bits per byte less than {escape(gain['over'])} alone{interval}"
        )
    out.print(f"\nmixture    {escape(result['mixture'])}", soft_wrap=True)
