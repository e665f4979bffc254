"""What the corpus index answers, for a person. Machines take `--json`, which prints the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.text import Text

from textmill.base.console import amount, counted
from textmill.base.language import fill, say
from textmill.cli.show.output import OUT, columns

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_COMMONS = 8  # common spans shown
_SHOWN = 3  # places named of each evaluation set


def built(result: Mapping[str, Any]) -> None:
    """What `index build` made."""
    OUT.print(
        f"{counted(result['tokens'], 'token')} of {counted(result['documents'], 'document')} ({result['split']}), "
        f"{counted(result['shards'], 'shard')}, {amount(result['bytes'], 'B')}"
    )
    OUT.print(f"index      {escape(result['index'])}", soft_wrap=True)


def counts(result: Mapping[str, Any]) -> None:
    """How often each text occurs."""
    table = columns("count", "text", right=(0,))
    for row in result["counts"]:
        table.add_row(f"{row['count']:,}", Text(_line(row["text"])))
    OUT.print(table)


def places(result: Mapping[str, Any]) -> None:
    """Where a text occurs."""
    times = "once" if result["count"] == 1 else f"{result['count']:,} times"
    documents = counted(result["documents"], "document")
    first = f", the first {len(result['places'])}:" if result["places"] else ""
    OUT.print(fill("{} in {}{}", times, documents, first))
    for row in result["places"]:
        OUT.print(f"\n[dim]{row['document']}[/dim]  {escape(row['source'])}", soft_wrap=True)
        line = Text.assemble(_line(row["before"]), (_line(row["text"]), "bold cyan"), _line(row["after"]))
        OUT.print(Text("  ") + line, soft_wrap=True)


def traces(result: Mapping[str, Any]) -> None:
    """Texts with their spans coloured and numbered, and below each the documents."""
    for number, row in enumerate(result["texts"]):
        if number:
            OUT.rule(style="dim")
        _trace(row, result["shortest"])


def answer(result: Mapping[str, Any]) -> None:
    """An answer: what of it stands in the documents that were retrieved, then what in the training text."""
    OUT.print("In the documents that were retrieved:", style="bold")
    for run in result["retrieved"]:
        for place in run["places"]:
            number = place["page"]
            page = "" if number is None else f", {fill('page {}', number)}"
            OUT.print(
                Text.assemble(f"  {run['text']}", (f"  {place['source']}{page}", "cyan")), soft_wrap=True
            )
    if not result["retrieved"]:
        OUT.print("  nothing of it")
    OUT.print("\nIn the training text:", style="bold")
    traces(result)
    words = result["words"]
    OUT.print(
        f"\nwords of the answer: {words['documents']:,} in the documents only, {words['training']:,} in the training "
        f"text only, {words['both']:,} in both, {words['neither']:,} in neither"
    )


def sample(prompt: str, traced: Mapping[str, Any]) -> None:
    """A generated text after its prompt, its longest spans coloured, and below it the documents they stand in."""
    OUT.print(Text.assemble((prompt, "bold"), _coloured(traced["text"], traced["spans"])), soft_wrap=True)
    share = traced["covered"] / max(1, traced["tokens"])
    OUT.print(
        f"[dim]{share:.0%} of it occurs in the corpus word for word; the longest spans are marked[/dim]"
    )
    for number, span in enumerate(traced["spans"]):
        sources = ", ".join(holder["source"] for holder in span["found_in"])
        more = span["documents"] - len(span["found_in"])
        line = Text(f"[{number + 1}] ", style=f"bold {_colour(number)}")
        others = f" and {more:,} more" if more > 0 else ""
        line.append(say(f"{counted(span['tokens'], 'token')} from {sources}{others}"), style="dim")
        OUT.print(line, soft_wrap=True)


def _trace(result: Mapping[str, Any], shortest: int) -> None:
    spans = result["spans"]
    OUT.print(_coloured(result["text"], spans))
    if not spans:
        looked = f"spans of {shortest} tokens and more"
        if result["tokens"] < shortest:
            looked = (
                f"all {result['tokens']} tokens of the text"
                if result["tokens"] > 1
                else "the text's one token"
            )
        OUT.print(
            f"\n[dim]searched for {looked}: none that is not common occurs in the corpus word for word[/dim]"
        )
        _commons(result["common"])
        if not result["common"] and result["tokens"] >= shortest > 1:
            OUT.print("[dim]--shortest 3 searches for shorter ones[/dim]")
        return
    share = result["covered"] / result["tokens"]
    OUT.print(f"\n{share:.0%} of {counted(result['tokens'], 'token')} occur in the corpus word for word:\n")
    for number, span in enumerate(spans):
        times = "once" if span["count"] == 1 else f"{span['count']:,} times"
        documents = counted(span["documents"], "document")
        head = Text(f"[{number + 1}] ", style=f"bold {_colour(number)}")
        head.append(say(f"{counted(span['tokens'], 'token')}, {times}, in {documents}: "), style="default")
        head.append(_short(_line(span["text"])), style=_colour(number))
        OUT.print(head, soft_wrap=True)
        for holder in span["found_in"]:
            OUT.print(f"    [dim]{holder['document']}[/dim]  {escape(holder['source'])}", soft_wrap=True)
        if (more := span["documents"] - len(span["found_in"])) > 0:
            OUT.print(f"    [dim]and {more:,} more[/dim]")
    _commons(result["common"])


def _commons(spans: Sequence[Mapping[str, Any]]) -> None:
    """Spans that stand in the corpus and say nothing of where a text is from."""
    if not spans:
        return
    OUT.print("\n[dim]common phrases, which say nothing of where the text is from:[/dim]")
    for span in spans[:_COMMONS]:
        times = "once" if span["count"] == 1 else f"{span['count']:,} times"
        shown = _short(_line(span["text"]))
        line = say(f"    {times}, {counted(span['tokens'], 'token')}: {shown}")
        OUT.print(Text(line, style="dim"), soft_wrap=True)
    if len(spans) > _COMMONS:
        OUT.print(f"    [dim]and {len(spans) - _COMMONS:,} more[/dim]")


def contamination(result: Mapping[str, Any]) -> None:
    """How much of each evaluation set a corpus holds."""
    headers = ("set", "examples", "found completely", f"{result['ngram']} words", "nearly", "documents")
    table = columns(*headers, right=range(1, 6))
    for name, row in result["sets"].items():
        figures = (row[key] for key in ("examples", "exact", "run", "near", "documents"))
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    OUT.print(f"examples found in the {result['split']} split of {escape(result['name'])}\n", soft_wrap=True)
    OUT.print(table)
    for row in result["sets"].values():
        for sample in row["samples"][:_SHOWN]:
            line = f"{sample['example']} ({sample['kind']}) in {sample['source']}, character {sample['character']:,}"
            OUT.print(f"  [dim]{escape(say(line))}[/dim]", soft_wrap=True)


def _coloured(text: str, spans: list[Mapping[str, Any]]) -> Text:
    """The text; each character in the colour of the longest span around it, and for whoever sees no colours each span
    between numbers: `[1]so[/1]`."""
    owner = [-1] * len(text)
    for number in sorted(range(len(spans)), key=lambda n: spans[n]["tokens"]):
        span = spans[number]
        owner[span["start"] : span["end"]] = [number] * (span["end"] - span["start"])
    painted, start = Text(), 0
    for end in range(1, len(text) + 1):
        if end == len(text) or owner[end] != owner[start]:
            if owner[start] >= 0:
                painted.append(f"[{owner[start] + 1}]", style=f"bold {_colour(owner[start])}")
            painted.append(text[start:end], style=_colour(owner[start]) if owner[start] >= 0 else "")
            if owner[start] >= 0:
                painted.append(f"[/{owner[start] + 1}]", style=f"bold {_colour(owner[start])}")
            start = end
    return painted


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _line(text: str) -> str:
    """A text on one line."""
    return text.replace("\n", "⏎").replace("\t", "→")


def _short(text: str, most: int = 70) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"
