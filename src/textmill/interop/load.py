"""A model from wherever it lies: a standard directory, or one GGUF file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from textmill.interop.gguf import model
from textmill.interop.huggingface import directory
from textmill.models.pretrained import Pretrained

GGUF = ".gguf"
_FILES: Mapping[str, Callable[[Path, torch.dtype], Pretrained]] = {GGUF: model.read_gguf}  # by the ending


def load(path: Path | str, dtype: torch.dtype = torch.float32) -> Pretrained:
    """Load a model's directory, or a file of a format that is one model; which, its ending says.

    Raises TextmillError when it is neither, or not supported, and DamagedError when it is not whole.
    """
    path = Path(path)
    reader = _FILES.get(path.suffix.lower()) if not path.is_dir() else None
    return directory.read_directory(path, dtype) if reader is None else reader(path, dtype)
