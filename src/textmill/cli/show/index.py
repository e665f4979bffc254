"""What the corpus index answers, for a person. Machines take `--json`, which prints the same data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from textmill.base.console import amount

_OUT = Console(highlight=False, soft_wrap=False)
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_SHOWN = 3  # places named of each evaluation set


def built(result: Mapping[str, Any]) -> None:
    """What `index build` made."""
    _OUT.print(
        f"{result['tokens']:,} tokens of {result['documents']:,} documents ({result['part']}), "
        f"{result['shards']} shard{'s' if result['shards'] > 1 else ''}, {amount(result['bytes'], 'B')}"
    )
    _OUT.print(f"index      {escape(result['index'])}", soft_wrap=True)


def counts(result: Mapping[str, Any]) -> None:
    """How often each text occurs."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header, side in (("count", "right"), ("text", "left")):
        table.add_column(header, justify=side)
    for row in result["counts"]:
        table.add_row(f"{row['count']:,}", Text(_line(row["text"])))
    _OUT.print(table)


def places(result: Mapping[str, Any]) -> None:
    """Where a text occurs."""
    times = "once" if result["count"] == 1 else f"{result['count']:,} times"
    documents = f"{result['documents']:,} document{'' if result['documents'] == 1 else 's'}"
    _OUT.print(
        f"{times} in {documents}" + (f", the first {len(result['places'])}:" if result["places"] else "")
    )
    for row in result["places"]:
        _OUT.print(f"\n[dim]{row['document']}[/dim]  {escape(row['source'])}", soft_wrap=True)
        line = Text.assemble(_line(row["before"]), (_line(row["text"]), "bold cyan"), _line(row["after"]))
        _OUT.print(Text("  ") + line, soft_wrap=True)


def traces(result: Mapping[str, Any]) -> None:
    """Texts with their spans coloured and numbered, and below each the documents."""
    for number, row in enumerate(result["texts"]):
        if number:
            _OUT.rule(style="dim")
        _trace(row)


def sample(prompt: str, traced: Mapping[str, Any]) -> None:
    """A generated text after its prompt, its longest spans coloured, and below it the documents they stand in."""
    _OUT.print(Text.assemble((prompt, "bold"), _coloured(traced["text"], traced["spans"])), soft_wrap=True)
    share = traced["covered"] / max(1, traced["tokens"])
    _OUT.print(
        f"[dim]{share:.0%} of it stands in the corpus word for word; the longest spans are marked[/dim]"
    )
    for number, span in enumerate(traced["spans"]):
        found = ", ".join(place["source"] for place in span["found_in"])
        more = span["documents"] - len(span["found_in"])
        line = Text(f"[{number + 1}] ", style=f"bold {_colour(number)}")
        line.append(
            f"{span['tokens']} tokens from {found}" + (f" and {more:,} more" if more > 0 else ""), style="dim"
        )
        _OUT.print(line, soft_wrap=True)


def _trace(result: Mapping[str, Any]) -> None:
    spans = result["spans"]
    _OUT.print(_coloured(result["text"], spans))
    if not spans:
        _OUT.print("\n[dim]no span of it stands in the corpus word for word[/dim]")
        return
    share = result["covered"] / result["tokens"]
    _OUT.print(f"\n{share:.0%} of {result['tokens']:,} tokens stand in the corpus word for word:\n")
    for number, span in enumerate(spans):
        times = "once" if span["count"] == 1 else f"{span['count']:,} times"
        documents = f"{span['documents']:,} document{'s' if span['documents'] > 1 else ''}"
        head = Text(f"[{number + 1}] ", style=f"bold {_colour(number)}")
        head.append(f"{span['tokens']} tokens, {times}, in {documents}: ", style="default")
        head.append(_short(_line(span["text"])), style=_colour(number))
        _OUT.print(head, soft_wrap=True)
        for found in span["found_in"]:
            _OUT.print(f"    [dim]{found['document']}[/dim]  {escape(found['source'])}", soft_wrap=True)
        if (more := span["documents"] - len(span["found_in"])) > 0:
            _OUT.print(f"    [dim]and {more:,} more[/dim]")


def contamination(result: Mapping[str, Any]) -> None:
    """How much of each evaluation set a corpus holds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("set", "examples", "found whole", f"{result['ngram']} words", "nearly", "documents"):
        table.add_column(header, justify="left" if header == "set" else "right")
    for name, row in result["sets"].items():
        figures = (row[key] for key in ("examples", "exact", "run", "near", "documents"))
        table.add_row(escape(name), *(f"{figure:,}" for figure in figures))
    _OUT.print(f"examples found in the {result['part']} part of {escape(result['name'])}\n", soft_wrap=True)
    _OUT.print(table)
    for row in result["sets"].values():
        for sample in row["samples"][:_SHOWN]:
            line = f"{sample['example']} ({sample['kind']}) in {sample['source']}, character {sample['character']:,}"
            _OUT.print(f"  [dim]{escape(line)}[/dim]", soft_wrap=True)


def _coloured(text: str, spans: list[Mapping[str, Any]]) -> Text:
    """The text; each character in the colour of the longest span around it, each span begun by its number."""
    owner = [-1] * len(text)
    for number in sorted(range(len(spans)), key=lambda n: spans[n]["tokens"]):
        span = spans[number]
        owner[span["start"] : span["end"]] = [number] * (span["end"] - span["start"])
    painted, start = Text(), 0
    for place in range(1, len(text) + 1):
        if place == len(text) or owner[place] != owner[start]:
            if owner[start] >= 0:
                painted.append(f"[{owner[start] + 1}]", style=f"bold {_colour(owner[start])}")
            painted.append(text[start:place], style=_colour(owner[start]) if owner[start] >= 0 else "")
            start = place
    return painted


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _line(text: str) -> str:
    """A text on one line."""
    return text.replace("\n", "⏎").replace("\t", "→")


def _short(text: str, most: int = 70) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"
