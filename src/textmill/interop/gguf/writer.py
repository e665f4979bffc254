"""The bytes of a GGUF file, written: metadata, tensors, and the places of both."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.console import tracked
from textmill.base.files import atomic_file
from textmill.interop.gguf.reader import ALIGNMENT, MAGIC, TYPES, VERSION

_NUMBER_OF = {kind.name: number for number, kind in TYPES.items()}
_ARRAY = 9


@dataclass(frozen=True)
class Outgoing:
    """A tensor to be written: `pack()` gives its bytes when their turn comes, so one is in memory at a time."""

    name: str
    shape: tuple[int, ...]  # the last dimension is contiguous
    kind: str  # name of its type
    pack: Callable[[], np.ndarray]

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        kind = TYPES[_NUMBER_OF[self.kind]]
        return int(np.prod(self.shape, dtype=np.int64)) // kind.elements * kind.bytes


def write_file(path: Path, metadata: Mapping[str, Any], tensors: Sequence[Outgoing]) -> int:
    """Write a file, whole or not at all; its size in bytes.

    metadata: text, bool, int (uint32), float (float32), or a sequence of one of these (whole numbers: int32).
    """
    start = 0
    header = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        header += [_text(key), _typed(value)]
    for tensor in tensors:
        shape = tensor.shape[::-1]
        header.append(_text(tensor.name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        header.append(struct.pack("<IQ", _NUMBER_OF[tensor.kind], start))
        start += _padded(tensor.bytes)
    with atomic_file(path, private=False) as handle:
        size = _put(handle, b"".join(header))
        for tensor in tracked(tensors, "writing weights", len(tensors), "tensors"):
            packed = tensor.pack()
            assert packed.nbytes == tensor.bytes, tensor.name
            size += _put(handle, packed.data)
    return size


def _put(handle: Any, data: Any) -> int:
    """Write bytes, and zeros up to the next place where a tensor may lie."""
    size = len(data)
    handle.write(data)
    handle.write(bytes(_padded(size) - size))
    return _padded(size)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return struct.pack("<Q", len(data)) + data


_SCALARS: Sequence[tuple[type, int, Callable[[Any], bytes]]] = (  # bool first: it is an int too
    (bool, 7, lambda value: struct.pack("<?", value)),
    (str, 8, _text),
    (int, 4, lambda value: struct.pack("<I", value)),
    (float, 6, lambda value: struct.pack("<f", value)),
)


def _typed(value: Any) -> bytes:
    for kind, number, pack in _SCALARS:
        if isinstance(value, kind):
            return struct.pack("<I", number) + pack(value)
    return struct.pack("<I", _ARRAY) + _array(list(value))


def _array(items: Sequence[Any]) -> bytes:
    first = items[0] if items else ""  # of no merges: a list of no texts
    if isinstance(first, str):
        return _counted(8, len(items), (_text(item) for item in items))
    if isinstance(first, bool):
        return _counted(7, len(items), [np.array(items, "?").tobytes()])
    if isinstance(first, int):
        return _counted(5, len(items), [np.array(items, "<i4").tobytes()])
    return _counted(6, len(items), [np.array(items, "<f4").tobytes()])


def _counted(number: int, count: int, data: Iterable[bytes]) -> bytes:
    return struct.pack("<IQ", number, count) + b"".join(data)
