"""`textmill predict`: rows from wherever they are, and beside each what a model says of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from textmill.base import schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.stages.use.outputs import Output, flat
from textmill.text.document import Rejected
from textmill.text.sources import rows
from textmill.text.sources.formats.lines import sound
from textmill.text.sources.formats.records import unread
from textmill.text.sources.rows import KINDS, LINE, Row

if TYPE_CHECKING:
    from textmill.inference.predictor import Predictor
    from textmill.stages.use.model import LanguageModel
    from textmill.tasks.prediction import Prediction, Refused
    from textmill.tasks.task import Options, Record

PREDICTION = "prediction"  # what is put beside a row
_NAMES_A_FILE = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".txt")
_LONGEST_NAME = 4096  # characters of a path


@dataclass(frozen=True)
class Inputs:
    """What is to be predicted: texts, stdin and files, in this order; kind: what the files are, whatever their names
    say; header: whether the first row of a table names its columns. columns: role -> the column that holds it;
    constant: role -> the same text for every row."""

    texts: Sequence[str] = ()
    files: Sequence[Path] = ()
    stdin: BinaryIO | None = None
    kind: str | None = None
    header: bool = True
    columns: Mapping[str, str] = field(default_factory=dict)
    constant: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises RecipeError for a kind there is not."""
        if self.kind is not None and self.kind not in KINDS:
            raise RecipeError(f"{self.kind!r} is none of {', '.join(KINDS)}", where="--format")

    def rows(self) -> Iterator[Row | Rejected]:
        """The rows, in order, each read when it is asked for. Raises TextmillError for a file that cannot be opened."""
        for number, text in enumerate(self.texts, 1):
            place = f"text {number}"
            yield Row({LINE: text}, place) if sound(text) else unread(place, "is not valid UTF-8")
        if self.stdin is not None:
            yield from rows.of_stream(self.stdin, "stdin", kind=self.kind, header=self.header)
        for path in self.files:
            try:
                yield from rows.of_file(path, self.kind, header=self.header)
            except OSError as error:
                raise TextmillError(f"cannot be read ({error.strerror})", where=path) from error


def sorted_out(given: Sequence[str]) -> tuple[list[str], list[Path], bool]:
    """Arguments as texts, files that are there, and whether one is `-`, stdin.

    Raises TextmillError for what is named like a file and is none: it would be taken for a text.
    """
    texts: list[str] = []
    files: list[Path] = []
    for text in given:
        if text == "-":
            continue
        may_be = len(text) < _LONGEST_NAME and "\n" not in text and "\0" not in text
        if may_be and Path(text).is_file():
            files.append(Path(text))
        elif " " not in text and text.startswith((os.sep, f".{os.sep}")) | text.lower().endswith(
            _NAMES_A_FILE
        ):
            raise TextmillError("no such file", where=text)
        else:
            texts.append(text)
    return texts, files, "-" in given


@dataclass(frozen=True)
class Predicted:
    """A row (None where it could not even be read), where it stands, and what is said of it; None: that was written
    before this went on."""

    row: Mapping[str, Any] | None
    place: str
    said: Prediction | Refused | None

    def plain(self, name: str) -> dict[str, Any]:
        """The row with the prediction beside it."""
        assert self.said is not None
        return {**(self.row or {}), name: self.said.row()}


def predict(
    predictor: Predictor, inputs: Inputs, *, name: str = PREDICTION, known: int = 0
) -> Iterator[Predicted]:
    """What a model says of each row, in their order, as it is found; known: of so many of the first it is known.

    Raises RecipeError for a role that the task does not read, TextmillError for a row that has a column `name`.
    """
    from textmill.tasks.prediction import Refused
    from textmill.tasks.records import record_of

    task, fields = predictor.task, predictor.task.reads(predictor.pretrained)
    roles = [one.role for one in task.fields]
    for role in inputs.constant:
        if role not in roles:
            raise RecipeError(
                f"{role!r} is no text that {task.name} reads",
                where="--with",
                advice=f"there are {', '.join(roles)}",
            )
    wanted = [one for one in fields if one.role not in inputs.constant]
    line = (wanted or fields)[0].role  # what a row of one line is
    taken: list[tuple[Mapping[str, Any] | None, str]] = []

    def records() -> Iterator[Record | Refused]:
        for row in inputs.rows():
            if isinstance(row, Rejected):
                taken.append((None, row.source))
                yield Refused(row.reason, row.detail, place=row.source)
                continue
            values = {line: row.values[LINE]} if list(row.values) == [LINE] else row.values
            if name in values:
                raise TextmillError(
                    f"has a column {name!r} already",
                    where=row.place,
                    advice="--as NAME puts the prediction under another name",
                )
            taken.append((values, row.place))
            record = record_of(row.values, wanted, inputs.columns, row.place)
            yield record if isinstance(record, Refused) else {**record, **inputs.constant}

    for number, said in enumerate(predictor.predict(records(), known=known)):
        row, place = taken[number]
        taken[number] = None, place
        yield Predicted(row, place, replace(said, place=place) if isinstance(said, Refused) else said)


def decided(predictor: Predictor, inputs: Inputs, name: str) -> dict[str, Any]:
    """What predictions depend on beside the rows themselves: rows that were begun with something else are not gone on
    with."""
    from textmill.models.adapters import weights_id

    options: Options = predictor.options
    generation = options.generation or predictor.pretrained.generation
    return {
        "model": weights_id(predictor.pretrained.model),
        "task": predictor.task.name,
        "calibration": predictor.pretrained.info.get("calibration", {}),
        "generation": schema.write(generation),
        "options": [
            options.top,
            options.truncate,
            options.threshold,
            str(options.sentences),
            *(["why"] if options.why else []),
        ],
        "columns": dict(inputs.columns),
        "with": dict(inputs.constant),
        "name": name,
    }


def written(
    predictor: Predictor, inputs: Inputs, output: Output, name: str = PREDICTION
) -> Iterator[Predicted]:
    """The same, each written as it is found, and those that were written before passed over.

    Raises TextmillError where one of these is not what the input holds in its place.
    """
    known = iter(output.done)
    for found in predict(predictor, inputs, name=name, known=len(output.done)):
        if found.said is None:
            before, now = next(known), found.row or {}
            if name not in before:  # a table
                same = {column: before.get(column) for column in now} == flat({**now, name: {}}, name)
            else:
                same = {column: value for column, value in before.items() if column != name} == now
            if not same:
                raise TextmillError(
                    "is not the row that was written of it before",
                    where=found.place,
                    advice="the input has changed: remove the output, and begin anew",
                )
        elif found.row is not None and not _refused(found.said):
            output.write(found.plain(name), name)
        yield found
    if next(known, None) is not None:
        raise TextmillError(
            "has fewer rows than were written of it before",
            where="input",
            advice="the input has changed: remove the output, and begin anew",
        )


def _refused(said: Any) -> bool:
    from textmill.tasks.prediction import Refused

    return isinstance(said, Refused)


def predictor_of(model: LanguageModel, options: Options, task: str | None = None) -> Predictor:
    """What predicts: by the model's task, or by one of this name that it can do as well.

    Raises TextmillError where it cannot.
    """
    from textmill.tasks.table import serves, task_named

    predictor = model.predictor(options)
    if task is None or task == predictor.task.name:
        return predictor
    asked = task_named(task)
    if not serves(predictor.pretrained, asked):
        raise TextmillError(
            f"is a model for another task, {predictor.task.name}",
            where=str(model.path),
            advice="`textmill predict` does what a model's own task says",
        )
    return type(predictor)(predictor.pretrained, predictor.options, task=asked)
