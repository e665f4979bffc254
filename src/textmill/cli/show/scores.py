"""An evaluation as tables on stdout, for a person. Machines take `--json`, which prints the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from textmill.base.console import amount

_OUT = Console(highlight=False, soft_wrap=False)
_NONE = "–"
_SHOWN = 3  # examples
_MISTAKES = 8


def scores(result: Mapping[str, Any]) -> None:
    """The model, its baselines beside it, and whatever else was measured."""
    _OUT.print(f"{escape(result['model'])} on {escape(result['on'])}\n", soft_wrap=True)
    headline = result["headline"]
    table = _table("", headline, "95 % interval", right=(1,))
    for row in result["table"]:
        table.add_row(row["name"], f"{row['value']:.3f}", interval(row))
    _OUT.print(table)
    if "perplexity" in result["scores"]:
        _OUT.print(_text_line(result))
        return
    _others(result)
    _OUT.print(
        f"{result['documents']:,} documents, {result['targets']:,} targets, {amount(result['bytes'], 'B')}"
    )
    _mistakes(result.get("confusion", {}))
    _examples(result.get("examples", ()))


def interval(row: Mapping[str, Any]) -> str:
    """`low to high`, or nothing where there is none."""
    low, high = row.get("low"), row.get("high")
    return f"{low:.3f} to {high:.3f}" if low is not None and high is not None else ""


def of_run(row: Mapping[str, Any], *, named: bool) -> str:
    """A run's score in a table of runs, with its name where runs were scored in different ways."""
    if row["score"] is None:
        return _NONE
    return f"{row['score']:.3f} {row['headline']}" if named else f"{row['score']:.3f}"


def _text_line(result: Mapping[str, Any]) -> str:
    more = result["scores"]
    return (
        f"{more['nats_per_token']:.4f} nats a token, perplexity {more['perplexity']:.2f}, "
        f"{result['documents']:,} documents, {result['targets']:,} tokens, {amount(result['bytes'], 'B')}"
    )


def _others(result: Mapping[str, Any]) -> None:
    """The scores beside the headline, and the same of each baseline."""
    rest = {name: score for name, score in result["details"].items() if name != result["headline"]}
    if not rest:
        return
    beside = result["baselines"]
    table = _table("", "this model", "95 % interval", *beside, right=(1, *range(3, 3 + len(beside))))
    for name, score in rest.items():
        cells = [f"{found[name]['value']:.3f}" if name in found else _NONE for found in beside.values()]
        table.add_row(name, f"{score['value']:.3f}", interval(score), *cells)
    _OUT.print()
    _OUT.print(table)


def _mistakes(confusion: Mapping[str, Mapping[str, int]]) -> None:
    """What was most often taken for something else."""
    wrong = [
        (number, true, said)
        for true, row in confusion.items()
        for said, number in row.items()
        if said != true
    ]
    if not wrong:
        return
    table = _table("is", "was called", "times", right=(2,))
    for number, true, said in sorted(wrong, key=lambda one: -one[0])[:_MISTAKES]:
        table.add_row(true, said, f"{number:,}")
    _OUT.print()
    _OUT.print(table)


def _examples(rows: Sequence[Mapping[str, str]]) -> None:
    for row in rows[:_SHOWN]:
        _OUT.rule(style="dim")
        for label, text in row.items():
            _OUT.print(Text.assemble((f"{label:<10} ", "dim"), " ".join(text.split())))


def _table(*headers: str, right: Sequence[int] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, header in enumerate(headers):
        table.add_column(
            header, justify="right" if index in right else "left", overflow="fold", no_wrap=index == 0
        )
    return table
