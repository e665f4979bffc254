"""A text in fewer words: written anew, which is learnt as a translation is; or its own sentences, which are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from textmill.metrics import rouge
from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.models.pretrained import Pretrained
from textmill.tasks import extracting, translate
from textmill.tasks.baselines import choosing
from textmill.tasks.prediction import Prediction, Refused, Text
from textmill.tasks.task import Field, Options, Record
from textmill.tasks.translate import TRANSLATE, copied, gold


def prepare(pretrained: Pretrained, records: Sequence[Record], options: Options) -> list[Any]:
    """What is read of texts: as a source, or sentence by sentence."""
    way = translate if pretrained.reads_source else extracting
    return way.prepare(pretrained, records, options)


def predict(pretrained: Pretrained, reads: Sequence[Any], options: Options) -> list[Prediction]:
    """The summaries, written or chosen."""
    way = translate if pretrained.reads_source else extracting
    return way.predict(pretrained, reads, options)


def how(pretrained: Pretrained, options: Options) -> str:
    """How summaries are found, for a signature."""
    return (TRANSLATE if pretrained.reads_source else extracting).how(pretrained, options)


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
    objectives={**TRANSLATE.objectives, **extracting.OBJECTIVES},
    prepare=prepare,
    predict=predict,
    how=how,
    tells=extracting.tells,
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
