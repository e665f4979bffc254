"""The tensors of a directory, over one safetensors file or several; what they are is known before one is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.huggingface import headers
from textmill.interop.huggingface.headers import Entry

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_LONGEST_JSON = 64_000_000  # bytes: a configuration has thousands, an index of shards some millions


@dataclass(frozen=True)
class Stored:
    """Tensors by their published names; `first` is the file an error may name."""

    entries: Mapping[str, Entry]
    first: Path
    handles: Mapping[str, Any]

    def load(self, name: str) -> Tensor:
        """The tensor of a name there is, mapped from its file."""
        return self.handles[name].get_tensor(name)


@contextmanager
def opened(directory: Path) -> Iterator[Stored]:
    """The tensors of a directory, open for reading.

    Raises DamagedError where a file is missing, not whole, or lies about what it holds, and TextmillError where the
    weights are a pickle.
    """
    files = _files(directory)
    entries: dict[str, Entry] = {}
    handles: dict[str, Any] = {}
    with ExitStack() as stack:
        for path in files:
            held = headers.read(path)
            both = held.keys() & entries.keys()
            if both:
                raise DamagedError(f"holds {min(both)}, which another file holds too", where=path)
            try:
                handle = stack.enter_context(safetensors.safe_open(path, framework="pt"))
            except (safetensors.SafetensorError, OSError) as error:
                raise DamagedError(
                    f"is not a whole safetensors file ({error})",
                    where=path,
                    advice="copy or publish it again",
                ) from error
            entries.update(held)
            handles.update(dict.fromkeys(held, handle))
        yield Stored(entries, files[0], handles)


def read_table(path: Path, kind: type = dict) -> Any:
    """A JSON file that holds a table (or a list). Raises DamagedError when it is missing, absurdly long, or something
    else."""
    try:
        if path.exists() and not path.is_file():
            raise DamagedError("is not a file", where=path)
        if path.exists() and path.stat().st_size > _LONGEST_JSON:
            raise DamagedError(
                f"is {path.stat().st_size} bytes long: no configuration is",
                where=path,
                advice="fetch it again",
            )
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError("is missing", where=path) from error
    except (ValueError, RecursionError, OSError) as error:
        raise DamagedError(f"is not readable JSON ({str(error)[:200]})", where=path) from error
    if not isinstance(table, kind):
        what = "table" if kind is dict else "list"
        raise DamagedError(f"is not a configuration: it holds no {what}", where=path)
    return table


def _files(directory: Path) -> list[Path]:
    if (directory / WEIGHTS).exists():
        return [directory / WEIGHTS]
    if (directory / INDEX).exists():
        names = _shards(directory / INDEX)
        if not names or any(Path(name).name != name or name in (".", "..") for name in names):
            shown = json.dumps(sorted(names)[:3])
            raise DamagedError(f"names files outside its directory: {shown}", where=directory / INDEX)
        return [directory / name for name in sorted(names)]
    pickles = sorted(path.name for ending in ("bin", "pt", "pth") for path in directory.glob(f"*.{ending}"))
    if pickles:
        raise TextmillError(
            f"{pickles[0]} is a pickle, which can run any program when read, so Textmill does not read it",
            where=directory,
            advice="fetch the model's .safetensors files, or convert it in a sandboxed process: "
            f"`textmill import {directory} NEW_DIRECTORY --convert-pickle`",
        )
    raise DamagedError(f"holds no {WEIGHTS}", where=directory, advice="copy or publish the model again")


def _shards(index: Path) -> set[str]:
    table = read_table(index).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise DamagedError("holds no weight_map", where=index)
    return set(table.values())
