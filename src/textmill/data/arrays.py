"""The files of a store of numbers, held against its manifest before they are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.errors import DamagedError
from textmill.base.files import sha256_file

AGAIN = "delete the folder and prepare the data again"
_WRONG_LENGTH = "does not have the length that its counts give"


def check_sizes(directory: Path, files: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise DamagedError unless each of the names is a file with as many bytes as `files[name]["bytes"]` says."""
    for name in names:
        path, expected = directory / name, files[name]["bytes"]
        if "/" in name or not path.exists():
            raise DamagedError("is missing", where=path, advice=AGAIN)
        if (size := path.stat().st_size) != expected:
            raise DamagedError(f"has {size} bytes, not {expected}", where=path, advice=AGAIN)


def check_hashes(directory: Path, files: Mapping[str, Any], names: Iterable[str]) -> None:
    """Read every byte; raise DamagedError naming the first file whose SHA-256 is not `files[name]["sha256"]`."""
    for name in names:
        if sha256_file(directory / name) != files[name]["sha256"]:
            raise DamagedError(
                "was changed after it was written (its SHA-256 differs)", where=directory / name, advice=AGAIN
            )


def mapped(path: Path, dtype: np.dtype | str, shape: tuple[int, ...]) -> np.ndarray:
    """A file of nothing but numbers, memory-mapped. Raises DamagedError where it has more or fewer."""
    kind = np.dtype(dtype)
    if path.stat().st_size != kind.itemsize * int(np.prod(shape)):
        raise DamagedError(_WRONG_LENGTH, where=path, advice=AGAIN)
    if 0 in shape:  # an empty file cannot be mapped
        return np.zeros(shape, dtype=kind)
    return np.memmap(path, dtype=kind, mode="r", shape=shape)


def loaded(path: Path, length: int) -> np.ndarray:
    """A .npy of (length,) int64, memory-mapped. Raises DamagedError where it is anything else."""
    try:
        values = np.load(path, mmap_mode="r" if length else None, allow_pickle=False)
    except ValueError as error:
        raise DamagedError(f"is not readable ({error})", where=path, advice=AGAIN) from error
    if values.shape != (length,) or values.dtype != np.int64:
        raise DamagedError(_WRONG_LENGTH, where=path, advice=AGAIN)
    return values
