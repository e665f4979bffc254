"""Who saw a document, what forgetting it means, and how two corpora differ, for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from textmill.base.console import amount

_OUT = Console(highlight=False, soft_wrap=False)
_SHOWN = 10  # lines of a list; the rest is counted


def sightings(result: Mapping[str, Any]) -> None:
    """Runs and checkpoints that saw a document."""
    for row in _some(result["documents"]):
        parts = sorted({part for corpus in row["corpora"] for part in corpus["parts"]})
        where = f"in {', '.join(parts)}" if parts else f"set aside: {row.get('set_aside', '')}"
        _OUT.print(f"{row['document']}  {escape(row['source'])}  [dim]{escape(where)}[/dim]", soft_wrap=True)
    for run in result["runs"]:
        _run(run)


def _run(run: Mapping[str, Any]) -> None:
    _OUT.print(f"\n[bold]{escape(run['run'])}[/bold]", end="  ")
    if "unknown" in run:
        _OUT.print(f"[yellow]not known: {run['unknown']}[/yellow]")
        return
    if not run["seen"]:
        _OUT.print("[green]was not trained on it[/green]")
    else:
        _OUT.print(", ".join(_read(row) for row in run["seen"][:3]), soft_wrap=True)
    if forked := run.get("forked"):
        saw = (
            f"had read {sum(row['tokens'] for row in forked['saw']):,} of its tokens"
            if "saw" in forked
            else ""
        )
        _OUT.print(f"  went on from {forked['run']}, which {saw or forked.get('unknown', '')}")
    if not any(row["saw"] for row in run["checkpoints"]):
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("checkpoint", "tokens of it read", "times", "in steps", "first", "last"):
        table.add_column(header, justify="left" if header == "checkpoint" else "right")
    for row in run["checkpoints"]:
        for saw in row["saw"][:_SHOWN]:
            figures = (f"{saw['tokens']:,}", f"{saw['epochs']:.2f}", f"{saw['steps']:,}")
            table.add_row(row["checkpoint"], *figures, f"{saw['first']:,}", f"{saw['last']:,}")
        if not row["saw"]:
            table.add_row(row["checkpoint"], "0", "0.00", "0", "–", "–")
    _OUT.print(table)


def _read(row: Mapping[str, Any]) -> str:
    if not row["times"]:
        where = ", ".join(row["parts"])
        return f"holds it in {where}, and read none of it in training"
    steps = ", ".join(f"{step:,}" for step in row["steps"][:_SHOWN])
    more = f" and {row['times'] - _SHOWN:,} more" if row["times"] > _SHOWN else ""
    return f"read it in steps {steps}{more}"


def forgotten(result: Mapping[str, Any]) -> None:
    """What is now left out, and what was made from it."""
    for row in _some(result["documents"]):
        state = "will be left out" if row["new"] else "was on the list already"
        _OUT.print(f"{row['document']}  {escape(row['source'])}  [green]{state}[/green]", soft_wrap=True)
    _OUT.print(f"\nlist       {escape(result['list'])}", soft_wrap=True)
    for row in _some(result["near"]):
        _OUT.print(f"[yellow]nearly the same[/yellow]  {row['document']}  {escape(row['source'])}")
    stale = result["made_from"]
    if not stale:
        _OUT.print("\nnothing here was made from it")
        return
    _OUT.print("\nmade from a corpus that holds it; nothing was removed:\n")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("what", "size", "where", "why"):
        table.add_column(header, justify="right" if header == "size" else "left", overflow="fold")
    for row in stale:
        table.add_row(row["kind"], amount(row["bytes"], "B"), row["path"], row["why"])
    _OUT.print(table)
    _next(stale, result["left_over"])


def _next(stale: Sequence[Mapping[str, Any]], left_over: Sequence[str]) -> None:
    runs = [row for row in stale if row["kind"] == "run"]
    keep = "cp {recipe} {run}.toml"
    if runs:
        _OUT.print("\nto train again without it: keep the recipe, remove the run, and make it anew")
        for row in runs:
            copied = keep.format(recipe=row["recipe"], run=row["run"])
            _OUT.print(f"  {escape(copied)} && rm -r {escape(row['path'])} && textmill run {row['run']}.toml")
    paths = [row["path"] for row in stale if row["kind"] not in ("run", "model")] + list(left_over)
    if paths:
        _OUT.print("\nto remove what still holds its words")
        for path in paths:
            _OUT.print(f"  rm -r {escape(path)}", soft_wrap=True)
    _OUT.print("\nThe sources are yours: what is to be gone must be removed there, too.")


def difference(result: Mapping[str, Any]) -> None:
    """How two corpora differ."""
    for name in ("first", "second"):
        row = result[name]
        _OUT.print(f"{row['id'][:16]}  {row['documents']:,} documents  {escape(row['path'])}", soft_wrap=True)
    for row in result["decided"]:
        _OUT.print(f"  {escape(row['key'])}: {escape(str(row['first']))} -> {escape(str(row['second']))}")
    for kind, sign, colour in (("removed", "-", "red"), ("added", "+", "green")):
        rows = result[kind]
        _OUT.print(f"\n{kind}: {len(rows):,}")
        for row in _some(rows):
            why = "  forgotten on request" if row.get("forgotten") else ""
            _OUT.print(f"  [{colour}]{sign}[/{colour}] {row['document']}  {escape(row['source'])}{why}")


def _some(rows: Sequence[Any]) -> Sequence[Any]:
    if len(rows) > _SHOWN:
        _OUT.print(f"[dim]{len(rows):,} in all, the first {_SHOWN}:[/dim]")
    return rows[:_SHOWN]
