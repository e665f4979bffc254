"""A model from wherever it lies: a standard directory, one GGUF file, or an adapter beside its base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from textmill.base.errors import TextmillError
from textmill.interop.gguf import model
from textmill.interop.huggingface import directory
from textmill.interop.huggingface.peft import directory as peft
from textmill.models.pretrained import Pretrained

GGUF = ".gguf"
_FILES: Mapping[str, Callable[[Path, torch.dtype], Pretrained]] = {GGUF: model.read_gguf}  # by the ending


def load(
    path: Path | str, dtype: torch.dtype = torch.float32, *, base: Pretrained | None = None
) -> Pretrained:
    """Load a model's directory, or a file of a format that is one model; which, its ending says.

    base: what an adapter stands on; left out, what it names, where that is a path that is there.
    Raises TextmillError when it is neither, or not supported, and DamagedError when it is not whole.
    """
    path = Path(path)
    if path.is_dir() and peft.is_adapter(path):
        return peft.load(path, base or load(_base_of(path), dtype))
    reader = _FILES.get(path.suffix.lower()) if not path.is_dir() else None
    return directory.read_directory(path, dtype) if reader is None else reader(path, dtype)


def _base_of(path: Path) -> Path:
    """Where an adapter says that its base is."""
    named = peft.read_about(path).base.name
    for place in (Path(named), path / named):
        if (named and (place / "config.json").is_file()) or (place.suffix == GGUF and place.is_file()):
            return place
    raise TextmillError(
        f"is an adapter, and its base {named or '(it names none)'} is not here",
        where=path,
        advice="name the base beside it",
    )
