"""A text in another language, or otherwise written anew: what a model makes of its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textmill.metrics import overlap
from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.models.pretrained import Pretrained
from textmill.objectives.pairs import PAIRS
from textmill.tasks import writing
from textmill.tasks.prediction import Prediction, Refused, Text
from textmill.tasks.task import EXAMPLES, Baseline, Field, Options, Record, Task
from textmill.text.document import several


def prepare(
    pretrained: Pretrained, records: Sequence[Record], options: Options
) -> list[writing.Asked | Refused]:
    """The sources. One that is longer than the model reads is refused: a translation of half a text is none."""
    return writing.prompts(pretrained, records, options, "source")


def predict(pretrained: Pretrained, asked: Sequence[writing.Asked], options: Options) -> list[Prediction]:
    """The texts it writes, without chance."""
    spec = writing.settled(options.generation or pretrained.generation)
    return writing.write(pretrained, asked, spec, options)


def gold(record: Record) -> tuple[str, ...] | None:
    """The right texts, all of them."""
    return tuple(several(record, "target")) or None


def metrics(
    predictions: Sequence[Text | Refused], records: Sequence[Record], bootstrap: Bootstrap
) -> dict[str, Score]:
    """BLEU, chrF, TER and exact matches."""
    return overlap.overlap(*_sides(predictions, records), bootstrap)


def figures(predictions: Sequence[Text | Refused], records: Sequence[Record]) -> Figures:
    """What BLEU is made of, text by text."""
    return overlap.figures(*_sides(predictions, records))


def _sides(
    predictions: Sequence[Text | Refused], records: Sequence[Record]
) -> tuple[list[str], list[Sequence[str]]]:
    """What was written, and what is right."""
    said = [text.text if isinstance(text, Text) else "" for text in predictions]
    return said, [gold(record) or () for record in records]


def details(predictions: Sequence[Text | Refused], records: Sequence[Record]) -> dict[str, Any]:
    """A few sources, what is right and what was written."""
    said, right = _sides(predictions[:EXAMPLES], records[:EXAMPLES])
    return {
        "examples": [
            {"source": record["source"], "reference": texts[0], "output": text}
            for record, texts, text in zip(records, right, said, strict=False)
        ]
    }


def copied(records: Sequence[Record]) -> Baseline:
    """The source, handed back."""
    return Baseline("the source", lambda records: [Text(record["source"]) for record in records])


TRANSLATE = Task(
    name="translate",
    summary="texts in another language",
    fields=(Field("source", "the text to translate"),),
    objectives=dict.fromkeys(PAIRS.spec.families, PAIRS.kind),
    prepare=prepare,
    predict=predict,
    gold=gold,
    metrics=metrics,
    figures=figures,
    how=writing.how,
    details=details,
    baselines={"copy": copied},
    untrained=("copy",),
    purpose="Translating texts of the kind it was trained on.",
)
