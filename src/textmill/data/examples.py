"""The example store: records of supervised objectives as numbers, memory-mapped, each still knowing its document.

NAME.bin          the values of one field of all records, one after the other
NAME.offsets.npy  (R + 1,) int64: record r has values[offsets[r] : offsets[r + 1]]
bytes.npy         (R,) int64: UTF-8 bytes of what a record is to say (of its text, where that is a label)
documents.bin     (R, 16) bytes: the content id of each record's document
positions.npy     (R,) int64: which document of its split each record was made of, from 0: several may share an id
manifest.json     kind, labels, counts, what was skipped and why, size and SHA-256 of each file; written last

No special token is stored: whoever makes batches puts them around.
"""

from __future__ import annotations

import contextlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from textmill.base import renamed
from textmill.base.errors import DamagedError
from textmill.base.files import atomic_directory, read_json, sha256_file, write_json
from textmill.data import arrays
from textmill.data.tokens import Texts
from textmill.text.batches import by_size
from textmill.text.document import Document
from textmill.tokenization.protocol import AnyTokenizer

FORMAT = 2
SKIPPED = "skipped.jsonl"  # a line for each document that gave no record: where it came from, and why
_FILES = ("bytes.npy", "positions.npy", "documents.bin", SKIPPED)
_CHUNK = 1 << 22  # characters encoded at once


@dataclass(frozen=True, eq=False)
class Record:
    """fields: values by name; bytes: UTF-8 bytes of what is to be said, or of the text where that is a label."""

    fields: Mapping[str, np.ndarray]
    bytes: int


class Reader(Protocol):
    """What an objective takes from documents: objectives/records.py.

    fields: the dtype of each field, that of its text first; numbered: fields that hold numbers of labels.
    """

    spec: Any
    tokenizer: AnyTokenizer
    fields: Mapping[str, str]
    numbered: tuple[str, ...]

    def read(self, documents: list[Document]) -> Iterator[Record | str]: ...
    def labels(self) -> tuple[tuple[str, ...] | None, tuple[str, ...], np.ndarray | None]: ...


def write_examples(directory: Path | str, documents: Iterable[Document], reader: Reader) -> dict[str, Any]:
    """Records of documents, in their order, as a store that appears whole or not at all; returns its manifest.

    What cannot be used is skipped and counted by its reason, so that `read` = `records` + the sum of `skipped`;
    `skipped_first` says where the first of each reason came from.
    """
    with atomic_directory(Path(directory)) as temporary:
        fields, counts = _write_records(temporary, documents, reader)
        known, unseen, ranks = reader.labels()
        if ranks is not None:
            for name in reader.numbered:
                fields[name].renumber(ranks)
        files = [f"{name}{end}" for name in fields for end in (".bin", ".offsets.npy")]
        manifest = {
            "format": FORMAT,
            "kind": reader.spec.kind,
            "tokenizer": reader.tokenizer.id,
            "vocabulary": reader.tokenizer.vocabulary,
            "labels": None if known is None else list(known),
            "unseen": list(unseen),
            **counts,
            "fields": {
                name: {"dtype": field.dtype.name, "values": field.count} for name, field in fields.items()
            },
            "files": {
                name: {"bytes": (temporary / name).stat().st_size, "sha256": sha256_file(temporary / name)}
                for name in [*files, *_FILES]
            },
        }
        write_json(temporary / "manifest.json", manifest)
    return manifest


def _write_records(
    directory: Path, documents: Iterable[Document], reader: Reader
) -> tuple[dict[str, _Field], dict[str, Any]]:
    """The fields of all records, written, and what was counted."""
    reasons: Counter[str] = Counter()
    first: dict[str, str] = {}
    read, positions, lengths, names = 0, array("q"), array("q"), bytearray()
    with contextlib.ExitStack() as stack:
        fields = {
            name: stack.enter_context(_Field(directory, name, np.dtype(dtype)))
            for name, dtype in reader.fields.items()
        }
        skipped = stack.enter_context(open(directory / SKIPPED, "w", encoding="utf-8", newline="\n"))
        for chunk in by_size(documents, _CHUNK):
            for position, (document, made) in enumerate(zip(chunk, reader.read(chunk), strict=True), read):
                if not isinstance(made, Record):
                    reasons[made] += 1
                    first.setdefault(made, document.source)
                    line = {"source": document.source, "reason": made}
                    skipped.write(json.dumps(line, ensure_ascii=False) + "\n")
                    continue
                for name, values in made.fields.items():
                    fields[name].append(values)
                positions.append(position)
                lengths.append(made.bytes)
                names += bytes.fromhex(document.id)
            read += len(chunk)
    np.save(directory / "bytes.npy", np.frombuffer(lengths, dtype=np.int64))
    np.save(directory / "positions.npy", np.frombuffer(positions, dtype=np.int64))
    (directory / "documents.bin").write_bytes(names)
    counts = {
        "read": read,
        "records": len(lengths),
        "skipped": dict(reasons.most_common()),
        "skipped_first": first,
        "bytes": sum(lengths),
    }
    return fields, counts


class _Field:
    """One field on its way to disk: only its offsets are held in memory."""

    def __init__(self, directory: Path, name: str, dtype: np.dtype) -> None:
        self.dtype, self._path, self._offsets = dtype, directory / f"{name}.bin", array("q", [0])
        self._offsets_path = directory / f"{name}.offsets.npy"

    def __enter__(self) -> _Field:
        self._handle = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()
        np.save(self._offsets_path, np.frombuffer(self._offsets, dtype=np.int64))

    @property
    def count(self) -> int:
        """Values written."""
        return self._offsets[-1]

    def append(self, values: np.ndarray) -> None:
        """The values of the next record."""
        self._handle.write(values.astype(self.dtype).tobytes())
        self._offsets.append(self._offsets[-1] + len(values))

    def renumber(self, ranks: np.ndarray) -> None:
        """Labels were numbered as they came; now that all are known, by their order. Negative ones stay."""
        if not self.count:
            return
        values = np.memmap(self._path, dtype=self.dtype, mode="r+")
        values[:] = np.where(values >= 0, ranks[np.maximum(values, 0)], values)
        values.flush()


class EndedTexts(Texts):
    """Texts, each with the id `end` after it."""

    def __init__(
        self, ids: np.ndarray, offsets: np.ndarray, document_ids: np.ndarray, vocabulary: int, end: int
    ) -> None:
        super().__init__(ids, offsets, document_ids)
        self.vocabulary, self.end = vocabulary, end


class ExampleStore:
    """A store opened for reading; its files are mapped, not loaded.

    fields       name -> (values, offsets (R + 1,)); `field(name, r)` gives those of one record
    bytes        (R,) int64
    document_ids (R, 16) uint8; `document_id(r)` gives 32 hex digits
    positions    (R,) int64, rising: the document of the split each record was made of
    labels       of the training split, in the order of their numbers; None where records hold numbers, spans or targets
    unseen       labels of this split that the training split lacks; their numbers come after those
    """

    def __init__(self, directory: Path | str) -> None:
        """Raises DamagedError when a file is missing or is not as long as the manifest says."""
        self.directory = Path(directory)
        where = self.directory / "manifest.json"
        manifest = read_json(where)
        try:
            if manifest["format"] != FORMAT:
                raise DamagedError(
                    f"is an example store of format {manifest['format']}; this Textmill reads {FORMAT}",
                    where=self.directory,
                    advice=arrays.AGAIN,
                )
            arrays.check_sizes(self.directory, manifest["files"], manifest["files"])
            self.kind: str = manifest["kind"]
            self.tokenizer: str = manifest["tokenizer"]
            self.vocabulary: int = manifest["vocabulary"]
            self.labels = None if manifest["labels"] is None else tuple(manifest["labels"])
            self.unseen: tuple[str, ...] = tuple(manifest["unseen"])
            self._records: int = manifest["records"]
            self.manifest: dict[str, Any] = renamed.current(manifest)
            self.fields = {
                name: self._field(name, field["dtype"], field["values"])
                for name, field in manifest["fields"].items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"is not the manifest of an example store ({error!r})", where=where) from error
        self.bytes = arrays.loaded(self.directory / "bytes.npy", self._records)
        self.positions = arrays.loaded(self.directory / "positions.npy", self._records)
        self.document_ids = arrays.mapped(self.directory / "documents.bin", "u1", (self._records, 16))

    def _field(self, name: str, dtype: str, values: int) -> tuple[np.ndarray, np.ndarray]:
        offsets = arrays.loaded(self.directory / f"{name}.offsets.npy", self._records + 1)
        if offsets[0] != 0 or offsets[-1] != values or (np.diff(offsets) < 0).any():
            raise DamagedError(
                f"does not fit {name}.bin", where=self.directory / f"{name}.offsets.npy", advice=arrays.AGAIN
            )
        return arrays.mapped(self.directory / f"{name}.bin", dtype, (values,)), offsets

    def verify(self) -> None:
        """Read every byte and compare hashes. Raises DamagedError naming the file that changed."""
        files = self.manifest["files"]
        arrays.check_hashes(self.directory, files, files)

    def __len__(self) -> int:
        """Number of records, R."""
        return self._records

    def field(self, name: str, record: int) -> np.ndarray:
        """The values of one field of one record."""
        values, offsets = self.fields[name]
        return values[offsets[record] : offsets[record + 1]]

    def lengths(self, name: str) -> np.ndarray:
        """(R,) values of a field in each record."""
        return np.diff(self.fields[name][1])

    def document_id(self, record: int) -> str:
        """Content id of one record's document, 32 hex digits."""
        return self.document_ids[record].tobytes().hex()

    @property
    def text_fields(self) -> list[str]:
        """The fields that hold ids: the text of a record first, then what else is read or written of it."""
        return [name for name, (values, _) in self.fields.items() if values.dtype.kind == "u"]

    def texts(self) -> Texts:
        """The text of each record, the source of pairs: to be compared with other texts."""
        loss = self.fields["loss"][0] if "loss" in self.fields else None
        return Texts(*self.fields[self.text_fields[0]], self.document_ids, loss)

    def ended_texts(self, end: int) -> EndedTexts:
        """Every text of each record, R · F of them for F fields, each with end-of-text after it: to be indexed.

        Those of a record stand together and share its content id, as pieces of a document do.
        """
        columns = [self.fields[name] for name in self.text_fields]
        ends = np.cumsum(np.stack([np.diff(offsets) + 1 for _, offsets in columns], axis=1)).reshape(-1)
        offsets = np.concatenate([[0], ends]).astype(np.int64)
        ids = np.full(int(offsets[-1]), end, dtype=columns[0][0].dtype)
        for column, (values, starts) in enumerate(columns):
            moved = np.repeat(offsets[column : -1 : len(columns)] - starts[:-1], np.diff(starts))
            ids[np.arange(len(values)) + moved] = values
        names = np.repeat(self.document_ids, len(columns), axis=0)
        return EndedTexts(ids, offsets, names, self.vocabulary, end)
