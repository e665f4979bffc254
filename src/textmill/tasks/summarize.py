"""A text in fewer words, written anew. It is learnt as a translation is, and judged otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textmill.metrics import rouge
from textmill.metrics.score import Bootstrap, Score
from textmill.tasks.prediction import Refused, Text
from textmill.tasks.task import Field, Record
from textmill.tasks.translate import TRANSLATE, gold


def metrics(
    predictions: Sequence[Text | Refused], records: Sequence[Record], bootstrap: Bootstrap
) -> dict[str, Score]:
    """ROUGE, that of the longest common subsequence first."""
    said = [text.text if isinstance(text, Text) else "" for text in predictions]
    scores = rouge.rouge(said, [gold(record) or () for record in records], bootstrap)
    return {"ROUGE-L": scores["ROUGE-L"], **scores}


SUMMARIZE = replace(
    TRANSLATE,
    name="summarize",
    summary="texts in fewer words",
    fields=(Field("source", "the text to summarise"),),
    metrics=metrics,
    baselines={},
    purpose="Saying in fewer words what texts of the kind it was trained on say.",
    generation={"beams": 4, "no_repeat_ngram": 3},
)
