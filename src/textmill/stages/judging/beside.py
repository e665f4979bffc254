"""Two systems on the same rows: whether the difference between them is real, and how far they agree.

The other one is a model, or a file with what another system, or a person, said of each row, in the order of the rows:
what `textmill predict` writes, or rows with the answer alone, under the name of what is right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textmill.base.errors import TextmillError
from textmill.metrics import agreement, paired
from textmill.metrics.score import LOWER, Bootstrap
from textmill.tasks.prediction import Answer, Label, Labels, Number, Refused, Span, Spans, Text
from textmill.tasks.task import Record, Task
from textmill.text.document import Rejected
from textmill.text.sources import rows as files

_PREDICTION = "prediction"  # the column that `textmill predict` writes
# What a row may call what was said of it, by task; the first that it has counts.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "classify": ("label", "labels"),
    "tag": ("tags", "spans"),
    "answer": ("answer",),
    "regress": ("number", "label"),
}
_WRITTEN = ("text", "target", "output", "hypothesis", "summary", "translation")


def compare(
    task: Task,
    records: Sequence[Record],
    one: Sequence[Any],
    other: Sequence[Any],
    name: str,
    resamples: int,
) -> dict[str, Any]:
    """The first system's headline less the other's, and whether chance alone would bring such a difference.

    Right or wrong answers are tested by McNemar's exact test, anything else by approximate randomisation. Of single
    labels also how far the two agree with each other.
    """
    assert task.figures is not None
    bootstrap = Bootstrap(resamples)
    left, right = task.figures(one, records), task.figures(other, records)
    if left.binary and right.binary:
        difference = paired.mcnemar(left.columns[:, 0] > 0, right.columns[:, 0] > 0, bootstrap)
    else:
        difference = paired.randomised(left.columns, right.columns, left.value, bootstrap)
    scores = {
        side: figures.score(bootstrap).plain() for side, figures in (("model", left), ("other_score", right))
    }
    made = {
        "other": name,
        "score": left.name,
        **scores,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p,
        "real": difference.real,
        "n": difference.n,
        "signature": difference.signature,
        "sentence": sentence(left.name, difference, name, better=left.better),
    }
    labels = [_labels_of(side) for side in (one, other)]
    if all(labels):
        made["agreement"] = _agreement(labels[0], labels[1], bootstrap)  # type: ignore[arg-type]
    return made


def sentence(score: str, difference: paired.Difference, name: str, *, better: str) -> str:
    """In one plain sentence, whether the difference is real."""
    size = f"{abs(difference.value):.4g}"
    p = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.3f}"
    if difference.value == 0:
        return f"both have the same {score} on these {difference.n} rows ({p})"
    ahead = (difference.value > 0) == (better != LOWER)
    which = f"the model is better than {name}" if ahead else f"the model is worse than {name}"
    if difference.real:
        return f"{which} by {size} in {score}, and the difference is real: chance alone would seldom bring it ({p})"
    return f"{which} by {size} in {score}, but that may be chance: on {difference.n} rows it proves nothing ({p})"


def _labels_of(said: Sequence[Any]) -> list[str] | None:
    """Single labels; None where anything else was said."""
    labels = [each.label for each in said if isinstance(each, Label)]
    return labels if len(labels) == len(said) else None


def _agreement(one: Sequence[str], other: Sequence[str], bootstrap: Bootstrap) -> dict[str, Any]:
    made = {name: score.plain() for name, score in agreement.agreement(one, other, bootstrap).items()}
    with contextlib.suppress(TextmillError):  # all say the same
        made["Krippendorff's alpha"] = {"value": agreement.alpha(list(zip(one, other, strict=True)))}
    return made


def of_file(path: Path, task: Task, records: Sequence[Record]) -> list[Any]:
    """What another system said of each of these records, in their order. Raises TextmillError where the file holds
    another number of rows, one that cannot be read, or one of another text."""
    said = []
    try:
        for number, row in enumerate(files.of_file(path)):
            if isinstance(row, Rejected):
                raise TextmillError(f"holds a row that cannot be read: {row.reason}", where=row.source)
            record = records[number] if number < len(records) else {}
            said.append(_prediction(row.values, task, record, row.place))
    except OSError as error:
        raise TextmillError(f"cannot be read ({error.strerror})", where=path) from error
    if len(said) != len(records):
        raise TextmillError(
            f"holds {len(said)} rows, and {len(records)} are scored",
            where=path,
            advice="it wants a row for each scored row, in the same order",
        )
    return said


def _prediction(row: Mapping[str, Any], task: Task, record: Record, place: str) -> Any:
    """What a row says. Raises TextmillError where it says nothing, or is of another text."""
    names, role = _NAMES.get(task.name, _WRITTEN), task.fields[0].role
    there, wanted = row.get(role), record.get(role)
    beside = _PREDICTION in row or role not in names  # else the role is what was said
    if beside and isinstance(there, str) and wanted is not None and there.split() != wanted.split():
        raise TextmillError(
            f"is of another {role} than the row scored",
            where=place,
            advice="rows stand in the same order as those of --data",
        )
    said: Any = row.get(_PREDICTION, row)
    if not isinstance(said, Mapping):
        return _read(task, names[0], {names[0]: said}, record)
    if "refused" in said:
        return Refused(str(said["refused"]))
    name = next((name for name in names if name in said), None)
    if name is None and len(said) == 1:
        return _read(task, names[0], {names[0]: next(iter(said.values()))}, record)
    if name is None:
        raise TextmillError(f"does not say what the other system said ({', '.join(names)})", where=place)
    return _read(task, name, said, record)


def _read(task: Task, name: str, said: Mapping[str, Any], record: Record) -> Any:
    """A value under one of the names, as a prediction of this task."""
    value = said[name]
    if task.name == "classify":
        if isinstance(value, list):
            return Labels(tuple((str(label), 1.0) for label in value))
        return Label(str(value), float(said["p"]) if isinstance(said.get("p"), (int, float)) else 1.0)
    if task.name == "regress":
        return Number(tuple(map(float, value if isinstance(value, list) else [value])))
    if task.name == "answer":
        return Answer(None if value in (None, "") else str(value))
    if task.name == "tag":
        return _spans(value, record)
    return Text("" if value is None else str(value))


def _spans(value: Any, record: Record) -> Spans:
    """Tags, one a word, or entities by their characters, which become tags of the words they hold (BIO)."""
    from textmill.tasks import words

    text = record.get("text", "")
    places = words.places(text, record, "spaces")
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(tag, str) for tag in value)):
        tags = value.split() if isinstance(value, str) else list(value)
    else:
        tags = ["O"] * len(places)
        for span in value:
            inside = [
                at for at, (start, end) in enumerate(places) if start < span["end"] and end > span["start"]
            ]
            for number, at in enumerate(inside):
                tags[at] = f"{'I' if number else 'B'}-{span['label']}"
    tags = (tags + ["O"] * len(places))[: len(places)]
    every = tuple(
        Span(start, end, tag, text[start:end], 1.0) for tag, (start, end) in zip(tags, places, strict=True)
    )
    return Spans(every, every)
