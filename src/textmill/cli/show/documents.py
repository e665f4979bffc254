"""Documents of a store, what was found in them and what they answer, for a person."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from textmill.base.console import amount, counted
from textmill.base.language import fill, say
from textmill.cli.show.output import OUT, columns

_SHOWN = 10  # lines of what was skipped; the rest is counted
_EXCERPT = 300  # characters of a chunk


def added(result: Mapping[str, Any]) -> None:
    """What came of adding."""
    new, changed = len(result["new"]), len(result["changed"])
    OUT.print(say(f"{new:,} new, {changed:,} changed, {result['unchanged']:,} unchanged"))
    OUT.print(f"{counted(result['documents'], 'document')}, {counted(result['chunks'], 'chunk')}")
    if result["vectors"]:
        OUT.print(say(f"vectors of {result['vectors']:,} documents"))
    for name, what in (
        ("skipped", "skipped"),
        ("gone", "no longer on the disk (`docs remove --gone` removes them)"),
    ):
        if lines := result[name]:
            OUT.print(f"{say(what)}: {len(lines):,}", style="yellow")
            for line in lines[:_SHOWN]:
                OUT.print(f"  {escape(line)}", soft_wrap=True)
            if len(lines) > _SHOWN:
                OUT.print(f"  … {len(lines) - _SHOWN:,}")


def listing(result: Mapping[str, Any]) -> None:
    """The files of a store."""
    if not result["files"]:
        OUT.print("no documents")
        return
    table = columns("file", "documents", "chunks", "characters", "skipped", right=(1, 2, 3, 4))
    for file in result["files"]:
        skipped = str(len(file["skipped"])) if file["skipped"] else ""
        table.add_row(
            _near(file["path"]),
            f"{file['documents']:,}",
            f"{file['chunks']:,}",
            amount(file["characters"]),
            skipped,
        )
    OUT.print(table)


def chunks(result: Mapping[str, Any]) -> None:
    """A file, chunk by chunk."""
    OUT.print(escape(result["path"]), style="bold", soft_wrap=True)
    for place in result["places"]:
        OUT.print(f"\n{_where(place)}", style="cyan", soft_wrap=True)
        OUT.print(escape(place["text"]), soft_wrap=True)
    for line in result["skipped"]:
        OUT.print(f"{say('skipped')}: {escape(line)}", style="yellow", soft_wrap=True)


def removed(result: Mapping[str, Any]) -> None:
    """What is gone."""
    for path in result["removed"]:
        OUT.print(escape(_near(path)), soft_wrap=True)
    OUT.print(say(f"removed {counted(len(result['removed']), 'file')}"))


def found(result: Mapping[str, Any]) -> None:
    """Chunks, the best first."""
    for number, hit in enumerate(result["hits"], 1):
        OUT.print(f"{number}. {_where(hit)}", style="cyan", soft_wrap=True)
        text = " ".join(hit["text"].split())
        OUT.print(f"   {escape(text[:_EXCERPT])}{'…' if len(text) > _EXCERPT else ''}\n", soft_wrap=True)
    if not result["hits"]:
        OUT.print(say(f"nothing found: {result['why']}"))


def answered(result: Mapping[str, Any]) -> None:
    """An answer and what it rests on, or that there is none."""
    if result["answer"] is None:
        OUT.print(say("The documents do not say."), style="bold")
        OUT.print(say(result["why"]))
        if result["others"]:
            OUT.print(say("nearest:"))
        for other in result["others"]:
            OUT.print(
                f"  {other['p']:.0%} {escape(other['text'])}  [cyan]{_where(other)}[/cyan]", soft_wrap=True
            )
        return
    numbers: dict[str, int] = {}
    for sentence in result["sentences"]:
        marks = "".join(
            f"[{numbers.setdefault(_where(cited), len(numbers) + 1)}]" for cited in sentence["cited"]
        )
        OUT.print(
            f"{escape(sentence['text'])} [cyan]{escape(marks) or say('(not in the documents)')}[/cyan]",
            soft_wrap=True,
        )
    OUT.print()
    for where, number in numbers.items():
        OUT.print(escape(f"[{number}] {where}"), style="cyan", soft_wrap=True)


def evaluated(result: Mapping[str, Any]) -> None:
    """What was found and answered, and how many wrong answers are left at each share of right ones."""
    OUT.print(
        say(f"{result['questions']:,} questions; of {result['taken_away']:,} the passage was taken away"),
        style="bold",
    )
    if result["skipped"]:
        OUT.print(f"{say('skipped')}: {len(result['skipped']):,}", style="yellow")
    facts = columns("", "")
    if result["recall"]:
        for top, share in result["recall"].items():
            facts.add_row(say(f"passage among the first {top}"), f"{share:.3f}")
    for name, label in (
        ("answer_f1", "F1 of the answers"),
        ("answer_f1_given", "F1, the right passage given"),
        ("auroc", "AUROC, whether the documents say"),
        ("auroc_right", "AUROC, whether the answer is right"),
    ):
        if name in result:
            facts.add_row(say(label), f"{result[name]:.3f}")
    if "silent" in result:
        facts.add_row(say("silent, though they say"), f"{result['silent']['there']:.3f}")
        facts.add_row(say("silent where they do not"), f"{result['silent']['away']:.3f}")
    OUT.print(facts)
    if "risk_coverage" in result:
        table = columns("answered", "from", "wrong of the given", "wrong still given", right=(0, 1, 2, 3))
        for row in result["risk_coverage"]:
            table.add_row(*(f"{row[name]:.3f}" for name in ("coverage", "threshold", "risk", "wrong_left")))
        OUT.print(table)
    least = result["evidence"]["least"]
    OUT.print(say(f"the documents do not say, where an answer is under {least:.0%} likely"))


def checked(result: Mapping[str, Any]) -> None:
    """What is wrong with a store."""
    for problem in result["problems"]:
        OUT.print(escape(problem), style="bold red", soft_wrap=True)
    if result["ok"]:
        OUT.print("nothing is wrong")


def compacted(result: Mapping[str, Any]) -> None:
    """That nothing of what was removed is left."""
    OUT.print("nothing of what was removed is left")


def _where(place: Mapping[str, Any]) -> str:
    """File, pages or characters of a stretch."""
    source = _near(place["source"])
    if place["page"] is not None:
        return f"{source}, {pages(place['page'], place['last_page'])}"
    return f"{source}, {say('characters')} {place['start']:,}–{place['end']:,}"


def pages(first: int, last: int) -> str:
    """A page, or several."""
    return fill("page {}", first) if first == last else fill("pages {}–{}", first, last)


def _near(path: str) -> str:
    """A path as it is from here, where that is shorter."""
    relative = os.path.relpath(path) if path.startswith("/") else path
    return relative if len(relative) < len(path) and not relative.startswith("..") else path
