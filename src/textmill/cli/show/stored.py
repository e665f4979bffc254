"""What is stored, what can be fetched and what was removed, for a person."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.text import Text

from textmill.base.console import amount
from textmill.base.language import fill, padded, say
from textmill.cli.show.output import NONE, OUT, columns

_SHOWN = 3  # names in a cell; the rest is counted


def models(result: Mapping[str, Any]) -> None:
    """The models that can be named, and those that can be had."""
    if result["models"]:
        table = columns("model", "kind", "architecture", "parameters", "size", "used by", right=(3, 4))
        for row in result["models"]:
            parameters = row.get("parameters")
            table.add_row(
                row["name"],
                _state(row),
                _what(row),
                amount(parameters) if parameters else NONE,
                amount(row["bytes"], "B"),
                _some(row["used_by"]),
            )
        OUT.print(table)
        for row in result["models"]:
            if "damage" in row:
                OUT.print(f"{escape(row['name'])}: {escape(row['damage'])}", style="bold red", soft_wrap=True)
    else:
        OUT.print("no models yet")
    table = columns("\ncan be fetched", "size", "what it is", "licence", right=(1,))
    offers = [row for row in result["offers"] if not row["here"]]
    for row in offers:
        table.add_row(row["name"], amount(row["bytes"], "B"), say(row["about"]), say(row["licence"]))
    if offers:
        OUT.print(table)
        OUT.print(f"\ntextmill models get {offers[0]['name']}", soft_wrap=True)
    OUT.print(f"models folder: {escape(result['folder'])}", soft_wrap=True)


def _state(row: Mapping[str, Any]) -> str:
    if "damage" in row:
        return say("damaged")
    kind = say(row["kind"])
    if "published" not in row:  # no run
        return kind
    if row["published"]:
        return say(f"{kind}, published")
    return say(f"{kind}, step {row['step']:,} of {row['steps']:,}")


def _what(row: Mapping[str, Any]) -> str:
    if "adapter" in row:
        return fill("{} over {}", row["adapter"], row["base"] or NONE)
    return row.get("architecture") or NONE


def fetched(result: Mapping[str, Any]) -> None:
    """A model that was fetched, or was there."""
    state = "fetched" if result["fetched"] else "already there"
    OUT.print(f"{result['name']}: {state}, {amount(result['bytes'], 'B')}", soft_wrap=True)
    OUT.print(f"licence    {escape(result['licence'])}", soft_wrap=True)
    OUT.print(f"model      {escape(result['path'])}", soft_wrap=True)
    if result["use"] == "chat":
        OUT.print(f"next       textmill chat {result['name']}", soft_wrap=True)
    else:
        OUT.print(f"next       textmill {result['use']} {result['name']} TEXT", soft_wrap=True)


def listing(result: Mapping[str, Any]) -> None:
    """Everything that is stored."""
    if not result["stored"]:
        OUT.print("nothing is stored here yet")
        return
    table = columns("name", "kind", "size", "used by", right=(2,))
    for row in result["stored"]:
        used = _some(row["used_by"]) if row["used_by"] or not row["unused"] else say("unused")
        table.add_row(row["name"], say(row["kind"]), amount(row["bytes"], "B"), used)
    OUT.print(table)
    OUT.print(f"\n{amount(result['bytes'], 'B')} in all", soft_wrap=True)
    if result["unused_bytes"]:
        OUT.print(
            f"{amount(result['unused_bytes'], 'B')} unused: `textmill rm --unused` removes it", soft_wrap=True
        )


def details(result: Mapping[str, Any]) -> None:
    """One thing."""
    size = amount(result["bytes"], "B")
    OUT.print(f"[bold]{escape(result['name'])}[/bold], {say(result['kind'])}, {size}", soft_wrap=True)
    about = dict(result["about"])
    if "steps" in about:
        about["step"] = fill("{} of {}", about["step"], about.pop("steps"))
    rows = {key: _value(value) for key, value in about.items()} | {
        "where": result["path"],
        "made from": ", ".join(result["made_from"]) or NONE,
        "used by": ", ".join(result["used_by"]) or NONE,
    }
    for key, value in rows.items():
        OUT.print(f"{padded(say(key), 13)}{escape(value)}", soft_wrap=True)
    table = columns("\nfile", "size", right=(1,))
    for name, size in result["files"].items():
        table.add_row(name, amount(size, "B"))
    OUT.print(table)
    if result["kind"] == "run":
        OUT.print(
            f"\nnext: textmill runs show {result['name']}; textmill lineage {result['name']}", soft_wrap=True
        )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or NONE
    if isinstance(value, bool):
        return say("yes" if value else "no")
    return f"{value:,}" if isinstance(value, int) else str(value)


def question(rows: Sequence[Mapping[str, Any]]) -> None:
    """What would go, before a person is asked."""
    for row in rows:
        print(f"  {row['kind']} {row['name']}, {amount(row['bytes'], 'B')}  {row['path']}", file=sys.stderr)
        if row["used_by"]:
            print(f"    made from it: {', '.join(row['used_by'])}", file=sys.stderr)


def removed(result: Mapping[str, Any]) -> None:
    """What was removed, or would be."""
    would = result.get("would_remove", [])
    for row in would:
        used = f" (made from it: {_some(row['used_by'])})" if row["used_by"] else ""
        OUT.print(f"would remove {row['name']}, {amount(row['bytes'], 'B')}{used}", soft_wrap=True)
    for row in result["removed"]:
        OUT.print(Text(f"removed {row['name']}, {amount(row['bytes'], 'B')}"), soft_wrap=True)
    if not would and not result["removed"]:
        OUT.print("nothing to remove")
    if result["unused_bytes"]:
        OUT.print(
            f"{amount(result['unused_bytes'], 'B')} unused: `textmill rm --unused` removes it", soft_wrap=True
        )


def _some(names: Sequence[str]) -> str:
    if len(names) <= _SHOWN:
        return ", ".join(names) or NONE
    return f"{', '.join(names[:_SHOWN])} {say(f'and {len(names) - _SHOWN} more')}"
