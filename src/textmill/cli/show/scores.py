"""An evaluation as tables on stdout, for a person. Machines take `--json`, which prints the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.text import Text

from textmill.base.console import amount, counted
from textmill.base.language import bracketed, fill, padded, say
from textmill.cli.show.output import NONE as _NONE
from textmill.cli.show.output import OUT as _OUT
from textmill.cli.show.output import columns

_SHOWN = 3  # examples
_MISTAKES = 8


def scores(result: Mapping[str, Any]) -> None:
    """The model, its baselines beside it, and whatever else was measured."""
    _OUT.print(fill("{} on {}", escape(result["model"]), escape(say(result["on"]))) + "\n", soft_wrap=True)
    headline = result["headline"]
    table = columns("", headline, "95 % interval", right=(1,))
    for row in result["table"]:
        table.add_row(say(row["name"]), f"{row['value']:.3f}", interval(row))
    _OUT.print(table)
    _general(result)
    if "perplexity" in result["scores"]:
        _OUT.print(_text_line(result))
        if "starts_with" in result:
            _OUT.print(_read_line(result), soft_wrap=True)
        _left_out(result)
        return
    _others(result)
    _OUT.print(_sizes(result, counted(result["targets"], "target")))
    _left_out(result)
    _mistakes(result.get("confusion", {}))
    _weak(result.get("slices", ()))
    _examples(result.get("examples", ()))
    _beside(result.get("beside"))
    _next(result)


def interval(row: Mapping[str, Any]) -> str:
    """`low to high`, or nothing where there is none."""
    low, high = row.get("low"), row.get("high")
    return "" if low is None or high is None else fill("{} to {}", f"{low:.3f}", f"{high:.3f}")


def of_run(row: Mapping[str, Any], *, named: bool) -> str:
    """A run's score in a table of runs, with its name where runs were scored in different ways."""
    if row["score"] is None:
        return _NONE
    score = f"{row['score']:.3f}"
    return fill("{} {}", score, say(row["headline"])) if named else score


def _text_line(result: Mapping[str, Any]) -> str:
    more = result["scores"]
    return (
        f"{more['nats_per_token']:.4f} nats per token, perplexity {more['perplexity']:.2f}, "
        f"{_sizes(result, counted(result['targets'], 'token'))}"
    )


def _sizes(result: Mapping[str, Any], what: str) -> str:
    """How much was scored. what: the targets, counted."""
    documents = counted(result["documents"], "document")
    return fill("{}, {}, {}", say(documents), say(what), amount(result["bytes"], "B"))


def _read_line(result: Mapping[str, Any]) -> str:
    """What stood around a text while it was scored, and how much of it was read at once."""
    end = f"the end {result['ends_with']} scored" if result["ends_with"] else "end-of-text not scored"
    return escape(
        f"each text after {result['starts_with']}, {end}, in windows of at most {result['context']:,} tokens, "
        f"one every {result['stride']:,}"
    )


def _others(result: Mapping[str, Any]) -> None:
    """The scores beside the headline, and the same of each baseline."""
    rest = {name: score for name, score in result["details"].items() if name != result["headline"]}
    if not rest:
        return
    beside = result["baselines"]
    table = columns("", "this model", "95 % interval", *beside, right=(1, *range(3, 3 + len(beside))))
    for name, score in rest.items():
        cells = [f"{other[name]['value']:.3f}" if name in other else _NONE for other in beside.values()]
        table.add_row(say(name), f"{score['value']:.3f}", interval(score), *cells)
    _OUT.print()
    _OUT.print(table)


def _general(result: Mapping[str, Any]) -> None:
    """How well the general text is known, before and after."""
    if (general := result.get("general")) is None:
        return
    before, after = general["before"], general["after"]
    figures = [fill("after {}", _figure(after))]
    if before is not None:
        figures.insert(0, fill("before {}", _figure(before)))
    line = fill("{}, {}: {}", say(general["on"]), say(after["name"]), say(", ").join(figures))
    _OUT.print(f"\n{line}", soft_wrap=True)


def _figure(score: Mapping[str, Any]) -> str:
    return f"{score['value']:.3f}{bracketed(interval(score))}"


def _left_out(result: Mapping[str, Any]) -> None:
    """What was not scored, and what could not be right."""
    if skipped := result.get("skipped"):
        reasons = ", ".join(f"{say(reason)}{bracketed(f'{number:,}')}" for reason, number in skipped.items())
        _OUT.print(f"not scored: {counted(sum(skipped.values()), 'record')}: {escape(reasons)}")
    if unseen := result.get("unseen_labels"):
        labels = ", ".join(f"{label} ({number:,})" for label, number in unseen.items())
        _OUT.print(f"labels that no training record has, always counted as errors: {escape(labels)}")


def _mistakes(confusion: Mapping[str, Mapping[str, int]]) -> None:
    """What was most often taken for something else."""
    wrong = [
        (number, true, called)
        for true, row in confusion.items()
        for called, number in row.items()
        if called != true
    ]
    if not wrong:
        return
    table = columns("is", "predicted as", "times", right=(2,))
    for number, true, called in sorted(wrong, key=lambda mistake: -mistake[0])[:_MISTAKES]:
        table.add_row(true, called, f"{number:,}")
    _OUT.print()
    _OUT.print(table)


def _weak(rows: Sequence[Mapping[str, Any]]) -> None:
    """Parts of the texts in which the model does worse than in all of them, beyond chance."""
    weak = [row for row in rows if row["worse"]]
    if not weak:
        return
    table = columns("worse where", "is", "rows", "score", "95 % interval", right=(2, 3))
    for row in weak[:_MISTAKES]:
        table.add_row(
            say(row["by"]), say(str(row["slice"])), f"{row['n']:,}", f"{row['value']:.3f}", interval(row)
        )
    _OUT.print()
    _OUT.print(table)


def _beside(compared: Mapping[str, Any] | None) -> None:
    """Whether the difference to another system is real, and how far both agree."""
    if compared is None:
        return
    _OUT.print(f"\n{escape(say(compared['sentence']))}", soft_wrap=True)
    for name, score in compared.get("agreement", {}).items():
        _OUT.print(f"{say(name)} {score['value']:.3f}{bracketed(interval(score))}")


def _next(result: Mapping[str, Any]) -> None:
    """What to do next, and where the page is."""
    for number, line in enumerate(result.get("next", ()), 1):
        _OUT.print(f"{'' if number > 1 else chr(10)}{number}. {escape(say(line))}", soft_wrap=True)
    if page := result.get("page"):
        _OUT.print(f"\n{padded(say('page'), 10)} {escape(page)}", soft_wrap=True)


def _examples(rows: Sequence[Mapping[str, str]]) -> None:
    for row in rows[:_SHOWN]:
        _OUT.rule(style="dim")
        for label, text in row.items():
            _OUT.print(Text.assemble((f"{padded(say(label), 10)} ", "dim"), " ".join(text.split())))


def mixture(result: Mapping[str, Any]) -> None:
    """Models and their mixtures side by side, and what mixing gains."""
    _OUT.print(f"on {escape(say(result['on']))}, {result['judged_on_tokens']:,} tokens\n")
    table = columns("", "bits per byte", "95 % interval", "perplexity", "weight", right=(1, 2, 3, 4))
    for row in result["table"]:
        weight = result["weights"].get(row["name"])
        shown = "" if weight is None else f"{weight:.2f}"
        style = "bold" if row["name"] == result["better"] else None
        figures = (f"{row['value']:.3f}", interval(row), f"{row['perplexity']:.2f}", shown)
        table.add_row(say(row["name"]), *figures, style=style)
    _OUT.print(table)
    for name, gain in result["gain"].items():
        between = bracketed(interval(gain))
        _OUT.print(
            f"{say(name)}: {gain['value']:.4f} bits per byte less than {escape(say(gain['over']))} alone{between}"
        )
    _OUT.print(f"\nmixture    {escape(result['mixture'])}", soft_wrap=True)
