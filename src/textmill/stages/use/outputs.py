"""Rows with predictions beside them, written one by one: a run that was stopped goes on behind the last whole row.

JSONL holds each row with the prediction as an object in it; CSV and TSV a column for each of its fields; Parquet is
made of JSONL, which stands beside it until the last row; a text file holds what was written, or labelled, alone.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from textmill.base import files
from textmill.base.errors import DamagedError, RecipeError, TextmillError

_ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
}
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_PIECE = 10_000  # rows of a Parquet file in memory at once


@dataclass(frozen=True)
class Place:
    """Where rows go, and what stands beside them until the last is written: what they are made by, and with which
    options, so that nothing else goes on with them."""

    path: Path
    kind: str

    @classmethod
    def of(cls, path: Path) -> Place:
        """By a file's ending. Raises RecipeError for one of no kind that is written."""
        kind = _ENDINGS.get(path.suffix.lower())
        if kind is None:
            raise RecipeError(
                f"{path.suffix or path.name!r} says no form of rows",
                where="--out",
                advice=f"end its name in {', '.join(_ENDINGS)}",
            )
        return cls(path, kind)

    @property
    def rows(self) -> Path:
        """The file that rows are written to one by one."""
        return self.path.with_name(f".{self.path.name}.jsonl") if self.kind == "parquet" else self.path

    @property
    def state(self) -> Path:
        """What they are made by."""
        return self.path.with_name(f".{self.path.name}.predict.json")


class Output:
    """A file of rows that is being written. `done` are the rows that stood there already, in their order."""

    def __init__(self, place: Place, decided: Mapping[str, Any], *, resume: bool) -> None:
        """decided: what the predictions depend on beside the rows. Raises TextmillError where there is a file already,
        where there is nothing to go on with, and where it was begun with something else."""
        self._place = place
        self.done: list[dict[str, Any]] = []
        self._columns: list[str] = []
        there = place.path.exists() or place.rows.exists()
        if there and not resume:
            raise TextmillError(
                "exists already",
                where=place.path,
                advice="--resume goes on with what was stopped; else remove it, or choose another name",
            )
        if resume and there:
            self._go_on(decided)
        files.write_json(place.state, dict(decided))
        self._stream = open(place.rows, "a", encoding="utf-8", newline="")  # noqa: SIM115 (closed by __exit__)

    def _go_on(self, decided: Mapping[str, Any]) -> None:
        place = self._place
        if not place.state.exists() or not place.rows.exists():
            raise TextmillError("is whole: nothing is left to go on with", where=place.path)
        if place.kind == "text":
            raise TextmillError(
                "holds no rows to go on from", where=place.path, advice="write .jsonl or .csv to be able to"
            )
        before = files.read_json(place.state)
        for name in dict.fromkeys([*before, *decided]):
            if before.get(name) != json.loads(json.dumps(decided.get(name))):
                raise TextmillError(
                    f"was begun with another {name}",
                    where=place.path,
                    advice="give what was given then, or remove the file",
                )
        length = 0
        for row, end in _whole_rows(place.rows, place.kind):
            self.done.append(row)
            length = end
        if self.done and place.kind in _SEPARATORS:
            self._columns = list(self.done[0])
        with open(place.rows, "r+b") as stream:
            stream.truncate(length)

    def __enter__(self) -> Output:
        return self

    def write(self, row: Mapping[str, Any], name: str) -> None:
        """One more row, whose prediction is under `name`. Raises TextmillError where a table has no column for what it
        holds."""
        kind = self._place.kind
        if kind == "text":
            self._stream.write(f"{_alone(row[name])}\n")
        elif kind in _SEPARATORS:
            self._stream.write(self._separated(flat(row, name)))
        else:
            self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._stream.flush()

    def _separated(self, row: Mapping[str, str]) -> str:
        text = io.StringIO()
        table = csv.writer(text, delimiter=_SEPARATORS[self._place.kind], lineterminator="\n")
        if not self._columns:
            self._columns = list(row)
            table.writerow(self._columns)
        if beyond := [column for column in row if column not in self._columns]:
            raise TextmillError(
                f"a row has a column {beyond[0]!r} that the first row has not",
                where=self._place.path,
                advice="write .jsonl, where rows need not be alike",
            )
        table.writerow([row.get(column, "") for column in self._columns])
        return text.getvalue()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if error is not None:
            return
        if self._place.kind == "parquet":
            _as_parquet(self._place.rows, self._place.path)
            self._place.rows.unlink()
        self._place.state.unlink(missing_ok=True)


def flat(row: Mapping[str, Any], name: str) -> dict[str, str]:
    """A row as the cells of a table, its prediction in a column for each field: `prediction_label`."""
    said = {f"{name}_{field}": value for field, value in row[name].items()}
    return {column: cell(value) for column, value in {**row, **said}.items() if column != name}


def cell(value: Any) -> str:
    """A value as a table holds it: what is no text or number as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _alone(said: Mapping[str, Any]) -> str:
    """What is said, on a line: the text that was written, or the label."""
    value = next(iter(said.values()))
    return " ".join(value.split()) if isinstance(value, str) else cell(value)


def _whole_rows(path: Path, kind: str) -> Iterator[tuple[dict[str, Any], int]]:
    """The rows of a file that were written to their end, and where each ends, in bytes."""
    columns: list[str] = []
    with open(path, "rb") as stream:
        held, end = b"", 0
        for line in stream:
            held += line
            if not held.endswith(b"\n") or (kind in _SEPARATORS and held.count(b'"') % 2):
                continue
            end, text, held = end + len(held), held.decode("utf-8"), b""
            if kind not in _SEPARATORS:
                try:
                    yield json.loads(text), end
                except ValueError as error:
                    raise DamagedError("holds a line that is no row", where=path) from error
                continue
            [row] = csv.reader(io.StringIO(text, newline=""), delimiter=_SEPARATORS[kind])
            if columns:
                yield dict(zip(columns, row, strict=True)), end
            columns = columns or row


def _as_parquet(source: Path, path: Path) -> None:
    """JSON lines as Parquet; a column holds what all of its values can be."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def pieces() -> Iterator[list[dict[str, Any]]]:
        with open(source, encoding="utf-8") as stream:
            piece: list[dict[str, Any]] = []
            for line in stream:
                piece.append(json.loads(line))
                if len(piece) == _PIECE:
                    yield piece
                    piece = []
            if piece:
                yield piece

    schemas = [pa.Table.from_pylist(piece).schema for piece in pieces()]
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive") if schemas else pa.schema([])
    except pa.ArrowInvalid as error:
        raise TextmillError(
            f"cannot hold these rows ({error})", where=path, advice="write .jsonl instead"
        ) from error
    with files.atomic_file(path, private=False) as handle, pq.ParquetWriter(handle, schema) as writer:
        for piece in pieces():
            writer.write_table(pa.Table.from_pylist(piece, schema=schema))
