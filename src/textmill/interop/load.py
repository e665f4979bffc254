"""A model from wherever it lies: a standard directory, one GGUF file, or an adapter beside its base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from textmill.base.errors import TextmillError
from textmill.interop.gguf import model
from textmill.interop.huggingface import directory
from textmill.interop.huggingface.peft import directory as peft
from textmill.models.model import Form, as_it_is
from textmill.models.pretrained import Pretrained

GGUF = ".gguf"
_FILES: Mapping[str, Callable[[Path, torch.dtype | None, Form], Pretrained]] = {
    GGUF: model.read_gguf
}  # by the ending


def load(
    path: Path | str,
    dtype: torch.dtype | None = torch.float32,
    *,
    base: Pretrained | None = None,
    form: Form = as_it_is,
) -> Pretrained:
    """Load a model's directory, or a file of a format that is one model; which, its ending says.

    dtype: of the weights. None: they are not read, and the model has no storage; an adapter's is read all the same.
    base: what an adapter stands on; left out, what it names, where that is a path that is there.
    form: what the model is made into before it has weights, which are then read straight into that, so that no more of
    them exist at once (`adapters.in_eight_bits`); an adapter's base is read as it is.
    Raises TextmillError when it is neither, or not supported, and DamagedError when it is not whole.
    """
    path = Path(path)
    if path.is_dir() and peft.is_adapter(path):
        return peft.load(path, base or load(_base_of(path), dtype or torch.float32))
    reader = _FILES.get(path.suffix.lower()) if not path.is_dir() else None
    return directory.read_directory(path, dtype, form) if reader is None else reader(path, dtype, form)


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
