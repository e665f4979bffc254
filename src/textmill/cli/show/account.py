"""Who saw a document, what forgetting it means, and how two corpora differ, for a person."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from textmill.base.console import amount, counted
from textmill.base.language import fill, say
from textmill.cli.show.output import NONE, OUT, columns

_SHOWN = 10  # lines of a list; the rest is counted


def sightings(result: Mapping[str, Any]) -> None:
    """Runs and checkpoints that saw a document."""
    for row in _some(result["documents"]):
        parts = sorted({part for corpus in row["corpora"] for part in corpus["splits"]})
        where = fill("in {}", ", ".join(parts)) if parts else say(f"skipped: {row.get('skipped', '')}")
        OUT.print(f"{row['document']}  {escape(row['source'])}  [dim]{escape(where)}[/dim]", soft_wrap=True)
    for run in result["runs"]:
        _run(run)


def _run(run: Mapping[str, Any]) -> None:
    OUT.print(f"\n[bold]{escape(run['run'])}[/bold]", end="  ")
    if "unknown" in run:
        OUT.print(f"[yellow]not known: {run['unknown']}[/yellow]")
        return
    if not run["seen"]:
        OUT.print("[green]was not trained on it[/green]")
    else:
        OUT.print(", ".join(_read(row) for row in run["seen"][:3]), soft_wrap=True)
    if forked := run.get("forked"):
        if "saw" in forked:
            saw = sum(row["tokens"] for row in forked["saw"])
            OUT.print(f"  started from {forked['run']}, which had read {saw:,} of its tokens")
        else:
            OUT.print(f"  started from {forked['run']}; what that was trained on: {forked['unknown']}")
    if not any(row["saw"] for row in run["checkpoints"]):
        return
    headers = ("checkpoint", "its tokens read", "times", "in steps", "first", "last")
    table = columns(*headers, right=range(1, 6))
    for row in run["checkpoints"]:
        for saw in row["saw"][:_SHOWN]:
            figures = (f"{saw['tokens']:,}", f"{saw['epochs']:.2f}", f"{saw['steps']:,}")
            table.add_row(row["checkpoint"], *figures, f"{saw['first']:,}", f"{saw['last']:,}")
        if not row["saw"]:
            table.add_row(row["checkpoint"], "0", "0.00", "0", "–", "–")
    OUT.print(table)


def _read(row: Mapping[str, Any]) -> str:
    if not row["times"]:
        where = ", ".join(row["splits"])
        return say(f"holds it in {where}, and read none of it in training")
    steps = ", ".join(f"{step:,}" for step in row["steps"][:_SHOWN])
    more = say(f" and {row['times'] - _SHOWN:,} more") if row["times"] > _SHOWN else ""
    return say(f"read it in steps {steps}{more}")


def question(result: Mapping[str, Any]) -> list[str]:
    """What would be forgotten, before a person is asked."""
    rows = result["documents"]
    lines = [f"  {row['document']}  {row['source']}" for row in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        lines.append(f"  and {len(rows) - _SHOWN:,} more")
    lines += [f"  everything in {place}" for place in result["places"][:_SHOWN]]
    lines += [
        f"  not: {row['document']}  {row['source']} (a near-duplicate; --near takes it too)"
        for row in result["near"][:_SHOWN]
    ]
    runs = [row["run"] for row in result["made_from"] if row["kind"] == "run"]
    if runs:
        lines.append(f"  trained on it: {', '.join(runs)}")
    count = len(rows)
    return [say(f"to be forgotten: {counted(count, 'document')}"), *map(say, lines)]


def forgotten(result: Mapping[str, Any]) -> None:
    """What is now left out, or would be, and what was made from it."""
    listed = result["listed"]
    for row in _some(result["documents"]):
        state = (
            "was already on the list"
            if not row["new"]
            else "will be left out"
            if listed
            else "would be left out"
        )
        OUT.print(f"{row['document']}  {escape(row['source'])}  [green]{say(state)}[/green]", soft_wrap=True)
    for place in _some(result["places"]):
        OUT.print(f"everything in {escape(place)}", soft_wrap=True)
    OUT.print("\n" + fill("list       {}", escape(result["list"])), soft_wrap=True)
    if listed:
        OUT.print("undo       textmill forget --undo, until something was trained without it")
    else:
        OUT.print("[yellow]nothing was written[/yellow]; --yes puts it on the list")
    for row in _some(result["near"]):
        OUT.print(
            f"[yellow]{say('near-duplicate')}[/yellow]  {row['document']}  {escape(row['source'])}  "
            + say("(--near takes it too)"),
            soft_wrap=True,
        )
    stale = result["made_from"]
    if not stale:
        OUT.print("\nnothing here was made from it")
        return
    OUT.print("\nmade from a corpus that holds it (nothing was removed):\n")
    table = columns("what", "size", "where", "why", right=(1,))
    for row in stale:
        table.add_row(say(row["kind"]), amount(row["bytes"], "B"), row["path"], say(row["why"]))
    OUT.print(table)
    _next(stale, result["left_over"])


def undone(result: Mapping[str, Any]) -> None:
    """What is no longer forgotten."""
    for row in _some(result["documents"]):
        OUT.print(
            f"{row['document']}  {escape(row['source'])}  [green]{say('is off the list')}[/green]",
            soft_wrap=True,
        )
    OUT.print("\nthe next prepare of a recipe holds it again")


def _next(stale: Sequence[Mapping[str, Any]], left_over: Sequence[str]) -> None:
    runs = [row for row in stale if row["kind"] == "run"]
    if runs:
        OUT.print("\nto train again without it, under another name")
        for row in runs:
            OUT.print(f"  {escape(row['again'])}", soft_wrap=True)
    paths = [row["path"] for row in stale if row["kind"] != "model"] + list(left_over)
    if paths:
        OUT.print("\nto remove what still holds its text, or was trained on it")
        for path in paths:
            OUT.print(f"  rm -r {escape(shlex.quote(path))}", soft_wrap=True)
    OUT.print("\nYour source files were not changed: remove the text there too.")


def difference(result: Mapping[str, Any]) -> None:
    """How two corpora differ."""
    for name in ("first", "second"):
        row = result[name]
        OUT.print(
            f"{row['id'][:16]}  {say(counted(row['documents'], 'document'))}  {escape(row['path'])}",
            soft_wrap=True,
        )
    for row in result["decided"]:
        first, second = (
            NONE if row[name] is None else escape(str(row[name])) for name in ("first", "second")
        )
        OUT.print(f"  {escape(row['key'])}: {first} -> {second}")
    for kind, sign, colour in (("removed", "-", "red"), ("added", "+", "green")):
        rows = result[kind]
        OUT.print("\n" + fill("{}: {}", say(kind), f"{len(rows):,}"))
        for row in _some(rows):
            why = say("  forgotten on request") if row.get("forgotten") else ""
            OUT.print(f"  [{colour}]{sign}[/{colour}] {row['document']}  {escape(row['source'])}{why}")


def _some(rows: Sequence[Any]) -> Sequence[Any]:
    if len(rows) > _SHOWN:
        OUT.print(f"[dim]{len(rows):,} in all, the first {_SHOWN}:[/dim]")
    return rows[:_SHOWN]
