"""A GGUF file, read by its specification (versions 2 and 3, little endian): metadata, and where each tensor lies.

The file is mapped, never loaded. Every count, length and offset in it is held against the bytes that are there
before anything is made of it, so a lying file is refused in the time it takes to read its header, and takes no
more memory than that. Numbers are turned into weights by interop/gguf/quants.py.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from textmill.base.errors import DamagedError, TextmillError

MAGIC = b"GGUF"
VERSION = 3  # what is written; 2 says the same in the same bytes
ALIGNMENT = 32  # of tensors, where the metadata says nothing else
_KEYS = 1 << 16  # most metadata keys, and most tensors
_ITEMS = 1 << 24  # most items of all arrays together; the largest vocabularies have 2^18
_TEXT = 1 << 26  # longest text, bytes
_NAME = 256  # longest name, bytes; llama.cpp allows 64 to tensors
_DEPTH = 3  # arrays of arrays of arrays
_DIMENSIONS = 4
_SPLIT = "split."  # what metadata say of a model in several files begins with
_PART = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_PARTS = 1000  # files of one model at most
_TEXT_TYPE, _ARRAY_TYPE, _BOOL_TYPE = 8, 9, 7
SCALARS = {  # number of a metadata type: how NumPy spells it
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "|b1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}


@dataclass(frozen=True, slots=True)
class TensorType:
    """How numbers are packed: blocks of `elements` numbers in `bytes` bytes."""

    name: str
    elements: int
    bytes: int


TYPES = {  # number of a tensor type; all that are in use, whether or not they can be turned into weights here
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 36),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor: its shape as PyTorch says it (the last dimension is contiguous), and its bytes in the file."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    start: int
    stop: int
    part: int = 0  # which of several files


@dataclass(frozen=True)
class Gguf:
    """A file whose header has been read and found to be true, or several that are one model.

    metadata    key -> bool, int, float, str, (n,) NumPy array of numbers, or list (of texts, of arrays)
    tensors     name -> entry
    data        for each file (its bytes,) uint8, mapped
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorEntry]
    data: tuple[np.ndarray, ...]

    def bytes_of(self, name: str) -> np.ndarray:
        """(n,) uint8: the packed bytes of a tensor, mapped. Raises DamagedError when there is none of that name."""
        if name not in self.tensors:
            raise DamagedError(
                f"holds no tensor {name}", where=self.path, advice="the file is incomplete; fetch it again"
            )
        entry = self.tensors[name]
        return self.data[entry.part][entry.start : entry.stop]


def read_file(path: Path | str) -> Gguf:
    """Map a file and read its header; of a model that was split into several (NAME-00001-of-00003.gguf), whichever is
    named, all of them, whose metadata stand in the first.

    Raises TextmillError for a version or byte order that is not read here, and DamagedError for a file that is no
    GGUF, is cut short, or whose counts, names, shapes, types or offsets cannot be true, and for one that is missing.
    """
    path = Path(path)
    one = _read_one(path)
    count = one.metadata.get(f"{_SPLIT}count", 1)
    if count == 1:
        return one
    name = _PART.fullmatch(path.name)
    if not isinstance(count, int) or not 1 < count <= _PARTS or name is None or int(name["count"]) != count:
        raise DamagedError(
            f"says it is one of {str(count)[:20]} files, and its name does not",
            where=path,
            advice="give back the name it was published with, such as model-00001-of-00003.gguf",
        )
    paths = [path.with_name(f"{name['stem']}-{part:05}-of-{count:05}.gguf") for part in range(1, count + 1)]
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        raise DamagedError(
            f"is one of {count} files, and {missing[0]} is not beside it",
            where=path,
            advice="fetch the missing files into the same folder",
        )
    return _joined([one if part == path else _read_one(part) for part in paths])


def _joined(files: list[Gguf]) -> Gguf:
    """The files of one model as one. Raises DamagedError where they do not belong together."""
    first, tensors = files[0], {}
    for part, file in enumerate(files):
        if (number := file.metadata.get(f"{_SPLIT}no")) != part:
            raise DamagedError(
                f"says it is number {str(number)[:20]}, counted from 0, of its files; its name says {part}",
                where=file.path,
                advice="fetch it again",
            )
        for name, entry in file.tensors.items():
            if name in tensors:
                raise DamagedError(f"holds the tensor {name}, which another file holds too", where=file.path)
            tensors[name] = replace(entry, part=part)
    if (count := first.metadata.get(f"{_SPLIT}tensors.count", len(tensors))) != len(tensors):
        raise DamagedError(f"says there are {count} tensors; its files hold {len(tensors)}", where=first.path)
    return Gguf(first.path, first.metadata, tensors, tuple(data for file in files for data in file.data))


def _read_one(path: Path) -> Gguf:
    """One file."""
    try:
        size = path.stat().st_size
        data = np.memmap(path, dtype=np.uint8, mode="c") if size else np.zeros(0, np.uint8)
    except OSError as error:
        raise TextmillError(f"cannot be read ({error.strerror})", where=path) from error
    header = _Header(path, data)
    header.magic()
    tensors, keys = header.count("tensors"), header.count("metadata keys")
    metadata = {}
    for _ in range(keys):
        key = header.name("metadata key")
        if key in metadata:
            header.fail(f"has the metadata key {key!r} twice")
        metadata[key] = header.value(header.number("<I"), _DEPTH)
    entries = [header.tensor() for _ in range(tensors)]
    return Gguf(path, metadata, _placed(header, entries, _alignment(header, metadata)), (data,))


class _Header:
    """A place in the file, moving forward. Nothing is taken before it is known to be there."""

    def __init__(self, path: Path, data: np.ndarray) -> None:
        self.path, self.bytes, self.at = path, memoryview(data), 0  # pyrefly: ignore[bad-argument-type]
        self.items = 0  # of all arrays so far

    def fail(self, what: str) -> NoReturn:
        raise DamagedError(what, where=self.path, advice="fetch the file again, from where it was whole")

    def take(self, count: int, what: str) -> memoryview:
        """The next `count` bytes."""
        if count > len(self.bytes) - self.at:
            self.fail(f"is truncated or inconsistent: {what} at byte {self.at} asks for {count} bytes")
        self.at += count
        return self.bytes[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form), "a number"))[0]

    def magic(self) -> None:
        if bytes(self.take(4, "the magic number")) != MAGIC:
            self.fail("is not a GGUF file")
        version = self.number("<I")
        if version in (2, VERSION):
            return
        swapped = version & 0xFFFF == 0 and version != 0
        what = "is a big-endian GGUF" if swapped else f"is a GGUF of version {version}"
        raise TextmillError(what, where=self.path, advice="versions 2 and 3, little endian, are read")

    def count(self, what: str) -> int:
        count = self.number("<Q")
        if count > _KEYS:
            self.fail(f"says it has {count} {what}; {_KEYS} is the limit")
        return count

    def text(self, what: str) -> bytes:
        length = self.number("<Q")
        if length > _TEXT:
            self.fail(f"is inconsistent: {what} at byte {self.at} is {length} bytes long")
        return bytes(self.take(length, what))

    def name(self, what: str) -> str:
        data = self.text(what)
        try:
            name = data.decode("utf-8")
        except UnicodeDecodeError:
            name = "\0"
        if not name.isprintable() or not 0 < len(data) <= _NAME:
            self.fail(f"has a {what} that is not a valid name: {data[:40]!r}")
        return name

    def value(self, kind: int, depth: int) -> Any:
        if kind == _TEXT_TYPE:
            return self.text("a text").decode("utf-8", "replace")
        if kind == _ARRAY_TYPE:
            return self._array(depth)
        if kind not in SCALARS:
            self.fail(f"has a metadata value of the type {kind}, which does not exist")
        dtype = np.dtype(SCALARS[kind])
        data = self.take(dtype.itemsize, "a metadata value")
        return data[0] != 0 if kind == _BOOL_TYPE else np.frombuffer(data, dtype)[0].item()

    def _array(self, depth: int) -> Any:
        kind, length = self.number("<I"), self.number("<Q")
        self.items += length
        if self.items > _ITEMS:
            self.fail(f"is inconsistent: an array at byte {self.at} has {length} items")
        if kind in SCALARS:
            dtype = np.dtype(SCALARS[kind])
            data = self.take(length * dtype.itemsize, f"an array of {length} numbers")
            plain = np.frombuffer(data, np.uint8 if kind == _BOOL_TYPE else dtype)
            return plain != 0 if kind == _BOOL_TYPE else plain.copy()
        least = 8 if kind == _TEXT_TYPE else 12  # bytes of an empty text, of an empty array
        if length * least > len(self.bytes) - self.at:
            self.fail(f"is truncated or inconsistent: an array at byte {self.at} has {length} items")
        if kind == _TEXT_TYPE:
            return self._texts(length)
        if depth == 0:
            self.fail("has arrays in arrays, deeper than there can be")
        return [self.value(kind, depth - 1) for _ in range(length)]

    def _texts(self, count: int) -> list[str]:
        """Many texts: a vocabulary. The same as `text` for each, but without a call for every number."""
        data, at, size = self.bytes, self.at, len(self.bytes)
        read = struct.Struct("<Q").unpack_from
        texts = []
        for _ in range(count):
            if at + 8 > size:
                self.fail(f"is cut short inside an array of {count} texts")
            stop = at + 8 + read(data, at)[0]
            if stop > size or stop - at > _TEXT:
                self.fail(f"is truncated or inconsistent: a text at byte {at} is {stop - at - 8} bytes long")
            texts.append(str(data[at + 8 : stop], "utf-8", "replace"))
            at = stop
        self.at = at
        return texts

    def tensor(self) -> tuple[str, tuple[int, ...], TensorType, int]:
        """Name, shape (last dimension contiguous), type, and offset into the tensor data."""
        name = self.name("tensor name")
        dimensions = self.number("<I")
        if dimensions > _DIMENSIONS:
            self.fail(f"says that {name} has {dimensions} dimensions")
        shape = tuple(self.number("<Q") for _ in range(dimensions))[::-1]
        number, offset = self.number("<I"), self.number("<Q")
        if number not in TYPES:
            self.fail(f"has the tensor {name} of the type {number}, which does not exist")
        kind = TYPES[number]
        if 0 in shape or (shape[-1] if shape else 1) % kind.elements:
            self.fail(f"has the tensor {name} of the impossible shape {shape} in blocks of {kind.elements}")
        return name, shape, kind, offset


def _alignment(header: _Header, metadata: Mapping[str, Any]) -> int:
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if (
        not isinstance(alignment, int)
        or isinstance(alignment, bool)
        or not 1 <= alignment <= 1 << 20
        or alignment & alignment - 1
    ):
        header.fail(f"says that tensors are aligned to {str(alignment)[:40]}, which is not a power of two")
    return alignment


def _placed(header: _Header, entries: list, alignment: int) -> dict[str, TensorEntry]:
    """Where each tensor lies, in the order of the file: inside it, aligned, none in another's place."""
    start = -(-header.at // alignment) * alignment
    tensors: dict[str, TensorEntry] = {}
    for name, shape, kind, offset in entries:
        if name in tensors:
            header.fail(f"has the tensor {name} twice")
        count = 1
        for dimension in shape:
            count *= dimension
        stop = start + offset + count // kind.elements * kind.bytes
        if offset % alignment or stop > len(header.bytes):
            header.fail(
                f"is truncated or inconsistent: the tensor {name} of the shape {shape} ({kind.name}) "
                f"would be bytes {start + offset} to {stop} of {len(header.bytes)}"
            )
        tensors[name] = TensorEntry(name, shape, kind, start + offset, stop)
    last = None
    for entry in sorted(tensors.values(), key=lambda entry: entry.start):
        if last is not None and entry.start < last.stop:
            header.fail(f"is inconsistent: the tensors {last.name} and {entry.name} share bytes")
        last = entry
    return tensors
