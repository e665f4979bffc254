"""A text in fewer words, written anew. It is learnt as a translation is, and judged otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textmill.metrics import rouge
from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.tasks.baselines import choosing
from textmill.tasks.prediction import Refused, Text
from textmill.tasks.task import Field, Record
from textmill.tasks.translate import TRANSLATE, copied, gold


def metrics(
    predictions: Sequence[Text | Refused], records: Sequence[Record], bootstrap: Bootstrap
) -> dict[str, Score]:
    """ROUGE, that of the longest common subsequence first."""
    scores = rouge.rouge(*_sides(predictions, records), bootstrap)
    return {"ROUGE-L": scores["ROUGE-L"], **scores}


def figures(predictions: Sequence[Text | Refused], records: Sequence[Record]) -> Figures:
    """What ROUGE-L is made of, text by text."""
    return rouge.figures(*_sides(predictions, records))


def _sides(
    predictions: Sequence[Text | Refused], records: Sequence[Record]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """What was written, and what is right."""
    said = [text.text if isinstance(text, Text) else "" for text in predictions]
    return said, [gold(record) or () for record in records]


SUMMARIZE = replace(
    TRANSLATE,
    name="summarize",
    summary="texts in fewer words",
    fields=(Field("source", "the text to summarise"),),
    metrics=metrics,
    figures=figures,
    baselines={
        "lead 1": choosing.lead(1),
        "lead 3": choosing.lead(3),
        "BM25": choosing.central,
        "copy": copied,
    },
    untrained=("lead 1", "lead 3", "BM25", "copy"),
    purpose="Saying in fewer words what texts of the kind it was trained on say.",
    generation={"beams": 4, "no_repeat_ngram": 3},
)
