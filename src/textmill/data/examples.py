"""The example store: records of supervised objectives as numbers, memory-mapped, each still knowing its document.

NAME.bin          the values of one field of all records, one after the other
NAME.offsets.npy  (R + 1,) int64: record r has values[offsets[r] : offsets[r + 1]]
bytes.npy         (R,) int64: UTF-8 bytes of what a record is to say (of its text, where that is a label)
documents.bin     (R, 16) bytes: the content id of each record's document
manifest.json     kind, labels, counts, what was set aside and why, size and SHA-256 of each file; written last

No special token is stored: whoever makes batches puts them around.
"""

from __future__ import annotations

import contextlib
from array import array
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import atomic_directory, read_json, sha256_file, write_json
from textmill.data import arrays, records
from textmill.data.records import Record
from textmill.data.tokens import Texts
from textmill.specs.objective import ObjectiveSpec
from textmill.text.batches import by_size
from textmill.text.document import Document
from textmill.tokenization.protocol import AnyTokenizer

FORMAT = 1
_CHUNK = 1 << 22  # characters encoded at once


def write(
    directory: Path | str,
    documents: Iterable[Document],
    objective: ObjectiveSpec,
    tokenizer: AnyTokenizer,
    *,
    labels: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Records of documents, in their order, as a store that appears whole or not at all; returns its manifest.

    labels: those of the training part, for the other parts: a record with any other is set aside there. Left out:
    the labels that occur, sorted. What cannot be used is set aside and counted by its reason, so that
    `read` = `records` + the sum of `set_aside`. Raises TextmillError for an objective that has no records.
    """
    if objective.kind not in records.READERS:
        raise TextmillError(
            f"{objective.kind!r} reads plain text, not records", advice="use data.tokens for it"
        )
    reader = records.READERS[objective.kind](objective, tokenizer, labels)
    with atomic_directory(Path(directory)) as temporary:
        fields, counts = _write_records(temporary, documents, reader)
        known, place = reader.labels()
        if place is not None:
            for name in reader.numbered:
                fields[name].renumber(place)
        files = [f"{name}{end}" for name in fields for end in (".bin", ".offsets.npy")]
        manifest = {
            "format": FORMAT,
            "kind": objective.kind,
            "tokenizer": tokenizer.id,
            "vocabulary": tokenizer.vocabulary,
            "labels": None if known is None else list(known),
            **counts,
            "fields": {
                name: {"dtype": field.dtype.name, "values": field.count} for name, field in fields.items()
            },
            "files": {
                name: {"bytes": (temporary / name).stat().st_size, "sha256": sha256_file(temporary / name)}
                for name in [*files, "bytes.npy", "documents.bin"]
            },
        }
        write_json(temporary / "manifest.json", manifest)
    return manifest


def _write_records(
    directory: Path, documents: Iterable[Document], reader: records.Reader
) -> tuple[dict[str, _Field], dict[str, Any]]:
    """The fields of all records, written, and what was counted."""
    set_aside: Counter[str] = Counter()
    read, lengths, names = 0, array("q"), bytearray()
    with contextlib.ExitStack() as stack:
        fields = {
            name: stack.enter_context(_Field(directory, name, np.dtype(dtype)))
            for name, dtype in reader.fields.items()
        }
        for chunk in by_size(documents, _CHUNK):
            read += len(chunk)
            for document, made in zip(chunk, reader.read(chunk), strict=True):
                if not isinstance(made, Record):
                    set_aside[made] += 1
                    continue
                for name, values in made.fields.items():
                    fields[name].append(values)
                lengths.append(made.bytes)
                names += bytes.fromhex(document.id)
    np.save(directory / "bytes.npy", np.frombuffer(lengths, dtype=np.int64))
    (directory / "documents.bin").write_bytes(names)
    counts = {
        "read": read,
        "records": len(lengths),
        "set_aside": dict(set_aside.most_common()),
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

    def renumber(self, place: np.ndarray) -> None:
        """Labels were numbered as they came; now that all are known, by their order. Negative ones stay."""
        if not self.count:
            return
        values = np.memmap(self._path, dtype=self.dtype, mode="r+")
        values[:] = np.where(values >= 0, place[np.maximum(values, 0)], values)
        values.flush()


class ExampleStore:
    """A store opened for reading; its files are mapped, not loaded.

    fields       name -> (values, offsets (R + 1,)); `field(name, r)` gives those of one record
    bytes        (R,) int64
    document_ids (R, 16) uint8; `document_id(r)` gives 32 hex digits
    labels       names in the order of their numbers; None where records hold numbers, spans or targets
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
            self._records: int = manifest["records"]
            self.manifest: dict[str, Any] = manifest
            self.fields = {
                name: self._field(name, field["dtype"], field["values"])
                for name, field in manifest["fields"].items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"is not the manifest of an example store ({error!r})", where=where) from error
        self.bytes = arrays.loaded(self.directory / "bytes.npy", self._records)
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

    def texts(self) -> Texts:
        """What is read of each record, the source of pairs: to be compared with other texts."""
        return Texts(*self.fields["source" if self.kind == "pairs" else "text"], self.document_ids)
