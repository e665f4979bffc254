"""What a safetensors file says it holds, checked before any of it is believed: nothing is taken from a file that lies.

    8 bytes   n, little endian
    n bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {}}
    the rest  the tensors' bytes; offsets count from here

Every byte belongs to exactly one tensor, and a tensor has as many as its shape and dtype ask for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.base.errors import DamagedError

BITS = {  # of one number
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
}
FLOATS = ("F64", "F32", "F16", "BF16")  # what weights may be stored as
LONGEST_HEADER = 100_000_000  # bytes: the limit of the format's reference implementation
_MOST_DIMENSIONS = 16
_LARGEST = 1 << 62


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read(path: Path) -> Mapping[str, Entry]:
    """The tensors of a file, by name. Raises DamagedError where the header is not whole, or is not true."""
    try:
        if not path.is_file():
            raise _damaged(path, "it is missing" if not path.exists() else "it is not a file")
        size = path.stat().st_size
        with open(path, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, LONGEST_HEADER):
                raise _damaged(path, f"a header of {length} bytes in a file of {size}")
            raw = handle.read(length)
    except OSError as error:
        raise _damaged(path, str(error)) from error
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "its __metadata__ is not made of texts")
    entries = {name: _entry(path, name, value) for name, value in header.items()}
    _check_places(path, entries, size - 8 - length)
    return entries


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in table if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return table


def _entry(path: Path, name: str, value: Any) -> Entry:
    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} <= set(value):
        raise _damaged(path, f"{name!r} has no dtype, shape or data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _damaged(path, f"{name!r} is of the unknown dtype {dtype!r}")
    if not _sizes(shape) or len(shape) > _MOST_DIMENSIONS:
        raise _damaged(path, f"{name!r} has the shape {_short(shape)}")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(path, f"{name!r} lies at {_short(offsets)}")
    asked = math.prod(shape) * BITS[dtype] // 8
    if asked != offsets[1] - offsets[0]:
        raise _damaged(
            path, f"{name!r} is {_short(shape)} of {dtype}, {asked} bytes, and has {offsets[1] - offsets[0]}"
        )
    return Entry(dtype, tuple(shape), *offsets)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size <= _LARGEST for size in value)


def _check_places(path: Path, entries: Mapping[str, Entry], size: int) -> None:
    """Every byte belongs to one tensor."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda pair: (pair[1].begin, pair[1].end)):
        if entry.begin != end:
            what = "overlaps the one before" if entry.begin < end else "leaves a gap before it"
            raise _damaged(path, f"{name!r} begins at {entry.begin} and {what}, which ends at {end}")
        end = entry.end
    if end != size:
        raise _damaged(path, f"its tensors end at {end}, and it holds {size} bytes of them")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _damaged(path: Path, why: str) -> DamagedError:
    return DamagedError(
        f"is not a whole safetensors file ({why[:300]})", where=path, advice="copy or publish it again"
    )
