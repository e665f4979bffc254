"""What import and export did, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from textmill.base.console import amount
from textmill.base.language import bracketed, fill, padded, say
from textmill.cli.show.output import OUT, columns


def supported(result: Mapping[str, Any]) -> None:
    """What can be read and written."""
    table = columns("import", "")
    for name, about in result["read"].items():
        table.add_row(say(name), say(about))
    table.add_row(say("its model_type"), ", ".join(result["model_types"]))
    OUT.print(table)
    OUT.print()
    table = columns("export", "")
    for name, row in result["write"].items():
        needs = bracketed(f"pip install 'textmill[{row['needs']}]'" if row["needs"] else "")
        table.add_row(name, say(row["about"]) + needs)
    OUT.print(table)


def brought_in(result: Mapping[str, Any]) -> None:
    """A model that was imported."""
    _facts(result)
    left = (
        ("left out", result["missing"]),
        ("ignored", result["ignored"]),
        ("not followed", result["unfollowed"]),
    )
    for label, names in left:
        if names:
            more = say(f" and {len(names) - 3} more") if len(names) > 3 else ""
            OUT.print(f"{padded(say(label), 13)}{escape(', '.join(names[:3]))}{more}", soft_wrap=True)
    for note in result["notes"]:
        OUT.print(fill("note       {}", escape(say(note))), soft_wrap=True)
    OUT.print(f"model      {escape(result['model'])}", soft_wrap=True)
    OUT.print(f"next       textmill verify {escape(result['model'])}", soft_wrap=True)


def sent_out(result: Mapping[str, Any]) -> None:
    """A model that was exported."""
    _facts(result)
    OUT.print(
        f"{result['format']:<10} {escape(result['path'])}, {amount(result['bytes'], 'B')}", soft_wrap=True
    )
    for note in result["notes"]:
        OUT.print(fill("note       {}", escape(say(note))), soft_wrap=True)


def merged(result: Mapping[str, Any]) -> None:
    """An adapter that became one model with its base."""
    tokens, delta, kl = f"{result['tokens']:,}", f"{result['max_difference']:.2g}", f"{result['mean_kl']:.2g}"
    dtype = result["dtype"]
    OUT.print(say(f"over {tokens} tokens, max |Δ logit| {delta}, mean KL {kl} nats per token ({dtype})"))
    for note in result["notes"]:
        OUT.print(fill("note       {}", escape(say(note))), soft_wrap=True)
    OUT.print(f"model      {escape(result['model'])}", soft_wrap=True)


def _facts(result: Mapping[str, Any]) -> None:
    OUT.print(
        f"{result['kind']} of {amount(result['parameters'])} parameters, vocabulary {result['vocabulary']:,}"
    )
