"""A mixture as a directory: its weights, and its parts by place and hash. The parts stay where they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from textmill.base import schema
from textmill.base.errors import DamagedError
from textmill.base.files import read_json, sha256_file, write_json
from textmill.models.mixture import Mixture
from textmill.specs.generation import GenerationSpec
from textmill.tokenization.protocol import AnyTokenizer

MODEL_TYPE = "textmill-mixture"
_GATE, _WEIGHTS = "model.safetensors", "model.safetensors"


def identity(part: Path) -> str:
    """SHA-256 of a published model's weights, or of a mixture's own."""
    return sha256_file(part / _WEIGHTS)


def write_mixture(
    directory: Path,
    mixture: Mixture,
    parts: Sequence[Path],
    tokenizer: AnyTokenizer,
    generation: GenerationSpec,
    *,
    home: Path,
    info: Mapping[str, Any],
) -> None:
    """Write into an existing directory, which whoever calls makes whole or absent. `home` is where it will stand:
    the parts' relative places start there."""
    save_file(
        {name: table.detach().contiguous() for name, table in mixture.named_parameters(recurse=False)},
        directory / _GATE,
    )
    named = [
        {"path": os.path.relpath(part.resolve(), home.resolve()), "sha256": identity(part)} for part in parts
    ]
    config = {
        "architectures": ["TextmillForCausalLM"],
        "model_type": MODEL_TYPE,
        "vocab_size": mixture.vocabulary,
        "bos_token_id": tokenizer.end,
        "eos_token_id": tokenizer.end,
        "pad_token_id": tokenizer.pad,
        "textmill": schema.write(mixture.spec),
        "parts": named,
    }
    write_json(directory / "config.json", config)
    tokenizer.save(directory / "tokenizer.json")
    write_json(directory / "textmill.json", {"generation": schema.write(generation), "info": dict(info)})


def parts_of(directory: Path) -> list[Path]:
    """Where the parts of a mixture stand. Raises DamagedError when one is gone or is another model by now."""
    parts = []
    try:
        named = [
            (str(part["path"]), str(part["sha256"])) for part in read_json(directory / "config.json")["parts"]
        ]
    except (KeyError, TypeError) as error:
        raise DamagedError(f"names no models ({error!r})", where=directory / "config.json") from error
    for path, digest in named:
        part = directory / path
        if not (part / _WEIGHTS).is_file():
            raise DamagedError(
                "is one of the models of the mixture, and no longer exists",
                where=part,
                advice="mix the models again",
            )
        if identity(part) != digest:
            raise DamagedError("is not the model that was mixed", where=part, advice="mix the models again")
        parts.append(part)
    return parts


def gate_of(directory: Path) -> dict[str, Tensor]:
    """The tables a mixture weighs its parts by."""
    try:
        return load_file(directory / _GATE)
    except (OSError, SafetensorError) as error:
        raise DamagedError(f"is not a whole safetensors file ({error})", where=directory / _GATE) from error
