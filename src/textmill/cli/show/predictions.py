"""Predictions on a terminal, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text as Line

from textmill.base.language import say
from textmill.cli.show.output import OUT as _OUT
from textmill.tasks.prediction import Answer, Label, Labels, Number, Prediction, Spans, Text, Vector

_SHOWN = 100  # characters of a text
_NUMBERS = 6  # of a vector


def prediction(row: Mapping[str, Any], said: Prediction) -> None:
    """What is said of a row, behind a little of the row itself."""
    first = next((value for value in row.values() if isinstance(value, str) and value.strip()), "")
    if not isinstance(said, Text):
        _line(" ".join(first.split())[:_SHOWN], "dim")
    for text in lines(said):
        _line(text)
    for ngram, weight in getattr(said, "why", ()):
        _line(f"       {weight:+.2f}  {' '.join(ngram.split())}", "dim")


def lines(said: Prediction) -> list[str]:
    """What is said, a line for each part of it.

    >>> lines(Label("good", 0.91, (("bad", 0.09),)))
    ['0.910  good', '0.090  bad']
    """
    if isinstance(said, Text):
        return [said.text, *(f"  {text}" for text, _ in said.others)]
    if isinstance(said, Label):
        return [f"{p:.3f}  {label}" for label, p in ((said.label, said.p), *said.others)]
    if isinstance(said, Labels):
        return [f"{p:.3f}  {label}" for label, p in said.labels] or [say("no label")]
    if isinstance(said, Spans):
        return [f"{span.start}-{span.end}  {span.label}  {span.text}" for span in said.spans] or [
            say("no span")
        ]
    if isinstance(said, Answer):
        return [_answer(each) for each in (said, *said.others)]
    if isinstance(said, Number):
        return [", ".join(f"{value:.4g}" for value in said.values)]
    if isinstance(said, Vector):
        shown = ", ".join(f"{value:.3f}" for value in said.values[:_NUMBERS])
        return [f"[{shown}, …] ({len(said.values)})"]
    return [str(value) for value in said.row().values()]


def _answer(said: Answer) -> str:
    p = "" if said.p is None else f"{said.p:.3f}  "
    return f"{p}{said.text}  ({said.start}-{said.end})" if said.text is not None else f"{p}{say('no answer')}"


def _line(text: str, style: str = "") -> None:
    _OUT.print(Line(text, style=style), soft_wrap=True)
