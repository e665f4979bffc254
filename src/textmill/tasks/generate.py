"""What comes after a text, as the model goes on with it."""

from __future__ import annotations

from collections.abc import Sequence

from textmill.metrics import overlap
from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.models.pretrained import Pretrained
from textmill.objectives import causal, denoising
from textmill.tasks import writing
from textmill.tasks.baselines import continuing
from textmill.tasks.prediction import Prediction, Refused, Text
from textmill.tasks.task import Field, Options, Record, Task


def prepare(
    pretrained: Pretrained, records: Sequence[Record], options: Options
) -> list[writing.Asked | Refused]:
    """The prompts."""
    return writing.prompts(pretrained, records, options, "text")


def predict(pretrained: Pretrained, asked: Sequence[writing.Asked], options: Options) -> list[Prediction]:
    """What comes after each. What is drawn depends on the prompt and the seed, whatever stands beside it."""
    return writing.write(pretrained, asked, options.generation or pretrained.generation, options)


def gold(record: Record) -> str | None:
    """The text that should have come."""
    return record.get("target")


def metrics(
    predictions: Sequence[Text | Refused], records: Sequence[Record], bootstrap: Bootstrap
) -> dict[str, Score]:
    """How much what was written overlaps with what should have come."""
    return overlap.overlap(*_sides(predictions, records), bootstrap)


def figures(predictions: Sequence[Text | Refused], records: Sequence[Record]) -> Figures:
    """What BLEU is made of, text by text."""
    return overlap.figures(*_sides(predictions, records))


def _sides(
    predictions: Sequence[Text | Refused], records: Sequence[Record]
) -> tuple[list[str], list[Sequence[str]]]:
    """What was written, and what is right."""
    said = [text.text if isinstance(text, Text) else "" for text in predictions]
    return said, [[record["target"]] for record in records]


GENERATE = Task(
    name="generate",
    summary="text that goes on from a prompt",
    fields=(Field("text", "the text to go on from"),),
    objectives={
        **{
            family: objective.kind
            for objective in (denoising.CONTINUE, denoising.SPANS, denoising.INFILLING, causal.CAUSAL)
            for family in objective.spec.families
        },
    },
    prepare=prepare,
    predict=predict,
    gold=gold,
    metrics=metrics,
    figures=figures,
    baselines={"n-gram": continuing.ngram},
    plain=("n-gram",),
    purpose="Going on with texts of the kind it was trained on.",
)
