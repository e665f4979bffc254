"""`textmill predict`: rows from wherever they are, and beside each what a model says of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from textmill.base.errors import RecipeError, TextmillError
from textmill.text.document import Rejected
from textmill.text.sources import rows
from textmill.text.sources.rows import LINE, Row

if TYPE_CHECKING:
    from textmill.stages.use.model import LanguageModel
    from textmill.tasks.prediction import Prediction, Refused
    from textmill.tasks.task import Options, Record

_NAMES_A_FILE = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".txt")


@dataclass(frozen=True)
class Inputs:
    """What is to be predicted: texts, `-` for stdin, and files, in this order; kind: what the files are, whatever their
    names say. columns: role -> the column that holds it; constant: role -> the same text for every row."""

    texts: Sequence[str] = ()
    files: Sequence[Path] = ()
    stdin: BinaryIO | None = None
    kind: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    constant: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> Iterator[Row | Rejected]:
        """The rows, in order, each read when it is asked for. Raises TextmillError for a file that cannot be opened."""
        for number, text in enumerate(self.texts, 1):
            yield Row({LINE: text}, f"text {number}")
        if self.stdin is not None:
            yield from rows.of_stream(self.stdin, "stdin", kind=self.kind)
        for path in self.files:
            try:
                yield from rows.of_file(path, self.kind)
            except OSError as error:
                raise TextmillError(f"cannot be read ({error.strerror})", where=path) from error


def sorted_out(given: Sequence[str]) -> tuple[list[str], list[Path], bool]:
    """Arguments as texts, files that are there, and whether one is `-`, stdin.

    Raises TextmillError for what is named like a file and is none: it would be taken for a text.
    """
    texts, files = [], []
    for text in given:
        path = Path(text)
        if text == "-":
            continue
        there = len(text) < 4096 and "\n" not in text and "\0" not in text and path.is_file()
        named = text.lower().endswith(_NAMES_A_FILE) and " " not in text
        if not there and (named or (text.startswith((os.sep, "." + os.sep)) and " " not in text)):
            raise TextmillError("no such file", where=text)
        (files if there else texts).append(path if there else text)
    return texts, files, "-" in given


@dataclass(frozen=True)
class Predicted:
    """A row, and what is said of it: `row` None where it could not even be read."""

    row: Mapping[str, Any] | None
    said: Prediction | Refused

    def plain(self, name: str = "prediction") -> dict[str, Any]:
        """The row with the prediction beside it."""
        return {**(self.row or {}), name: self.said.row()}


def predict(model: LanguageModel, inputs: Inputs, options: Options) -> Iterator[Predicted]:
    """What the model says of each row, in their order, as it is found.

    Raises RecipeError for a role that the task does not read.
    """
    from textmill.tasks.prediction import Refused
    from textmill.tasks.records import record_of

    predictor = model.predictor(options)
    fields = predictor.task.reads(predictor.pretrained)
    first = fields[0].role
    for role in inputs.constant:
        if role not in {one.role for one in predictor.task.fields}:
            raise RecipeError(
                f"{role!r} is no text that {predictor.task.name} reads",
                where="--with",
                advice=f"there are {', '.join(one.role for one in predictor.task.fields)}",
            )
    wanted = [one for one in fields if one.role not in inputs.constant]
    taken: list[Mapping[str, Any] | None] = []

    def records() -> Iterator[Record | Refused]:
        for row in inputs.rows():
            if isinstance(row, Rejected):
                taken.append(None)
                yield Refused(row.reason, row.detail, place=row.source)
                continue
            taken.append({first: row.values[LINE]} if list(row.values) == [LINE] else row.values)
            record = record_of(row.values, wanted, inputs.columns, row.place)
            yield record if isinstance(record, Refused) else {**record, **inputs.constant}

    for number, said in enumerate(predictor.predict(records())):
        yield Predicted(taken[number], said)
        taken[number] = None
