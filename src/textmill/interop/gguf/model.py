"""A model as one GGUF file that llama.cpp reads: F16 or Q8_0 matrices, its tokenizer and its chat template."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from textmill.base import schema, start
from textmill.base.errors import RecipeError, TextmillError
from textmill.interop.gguf import architectures, reader, tokenizer, weights, writer
from textmill.interop.gguf.quants import pack
from textmill.interop.gguf.writer import Outgoing
from textmill.models import build
from textmill.models.model import Form, as_it_is
from textmill.models.pretrained import Pretrained, check_vocabulary
from textmill.nn.eight_bits import holding
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec
from textmill.specs.position import Llama3Scaling, RotaryPositions


def read_gguf(
    path: Path | str, dtype: torch.dtype | None = torch.float32, form: Form = as_it_is
) -> Pretrained:
    """Load a GGUF file: weights unpacked into `dtype`, and the tokenizer and chat template inside it.

    dtype, form: see `interop.load.load`.
    Raises TextmillError for an architecture, a tokenizer or a packing that is not read here, and DamagedError for a
    file that is cut short, lies, or does not hold what its architecture needs. All that is found out before memory is
    taken for weights, but for what is wrong with a tokenizer, which is read while they are unpacked.
    """
    path = Path(path)
    file = reader.read_file(path)
    spec = architectures.read(file.metadata, file.tensors, lambda: weights.frequencies(file), path)
    architecture = architectures.architecture_of(file.metadata, path)
    model = build.empty(spec, weights.vocabulary(file))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    plan = weights.plan_of(file, architecture, spec, shapes)
    read = None
    if dtype is not None:
        model = form(model)
        read = start.ahead(weights.ours, file, plan, shapes, dtype, holding(model))
    words = tokenizer.read_tokenizer(file.metadata, path)
    check_vocabulary(words, model.vocabulary, path)
    if read is not None:
        words.encode("")  # what turns text into ids is made ready meanwhile
        model.load_state_dict(read.result(), assign=True)
        if type(model.embedding) is nn.Embedding:
            model.embedding = weights.packed_embedding(file, model.embedding)
    name = file.metadata.get("general.name")
    said = tokenizer.assumed(file.metadata, architecture.name)
    return Pretrained(
        model=model.eval(),
        tokenizer=words,
        spec=spec,
        generation=_generation(file.metadata, path),
        info={"name": name} if isinstance(name, str) else {},
        template=tokenizer.template(file.metadata),
        warnings=() if said is None else (said,),
    )


_SAMPLING = {  # theirs: ours, where both mean the same
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}


def _generation(metadata: Mapping[str, Any], path: Path) -> GenerationSpec:
    """How a file says its model is sampled; most say nothing, and then it is as usual here.

    Raises RecipeError for a value that is out of range.
    """
    given = {ours: metadata.get(f"general.sampling.{theirs}") for theirs, ours in _SAMPLING.items()}
    given = {name: _short(value) for name, value in given.items() if value is not None}
    if "top_k" in given and given["top_k"] <= 0:  # all of them
        given["top_k"] = None
    return schema.read(GenerationSpec, given, str(path))


def _short(number: Any) -> Any:
    """The shortest number that is this float32; a whole number as it is."""
    return float(str(np.float32(number))) if isinstance(number, float) else number


Kind = Literal["f16", "q8_0"]
KINDS: Mapping[str, tuple[str, int]] = {  # type of matrices, and general.file_type
    "f16": ("F16", 1),
    "q8_0": ("Q8_0", 7),
}
_ALWAYS_F32 = ("position_embd.weight", architectures.FREQUENCIES)


def write_gguf(
    path: Path | str, pretrained: Pretrained, kind: str = "f16", *, name: str = ""
) -> dict[str, Any]:
    """Write a model's GGUF file, whole or not at all; an older one of that name is replaced.

    Args:
        kind: of matrices, one of `KINDS`; what has one dimension stays float32. A matrix whose rows are no multiple
            of 32 long is written as F16 where Q8_0 is asked for.
        name: what the model is called; left out, what its info calls it.

    Returns what was written: architecture, kind, bytes, tensors, and `notes` for a person.
    Raises RecipeError for an unknown kind, TextmillError for a model or a tokenizer that no GGUF architecture has.
    """
    path = Path(path)
    if kind not in KINDS:
        raise RecipeError(f"{kind!r} is not one of {', '.join(KINDS)}", where="kind")
    spec = pretrained.spec
    if not isinstance(spec, DecoderSpec):
        raise TextmillError(
            f"a model of kind {spec.kind} has no GGUF architecture here", where=path, advice="decoders have"
        )
    state = pretrained.model.state_dict()
    architecture, metadata = architectures.write(spec, state)
    notes = []
    if spec.window is not None and architecture.name == "llama" and spec.context > spec.window:
        # llama.cpp gives a llama no window; up to the window's length both compute the same.
        metadata["llama.context_length"] = spec.window
        notes.append(
            f"llama.cpp has no sliding window here, so the context is the window's length, {spec.window} tokens"
        )
    rows = state["embedding.weight"].shape[0]
    words = tokenizer.write_tokenizer(pretrained.tokenizer, rows, pretrained.template)
    notes += [words.note] if words.note else []
    tensors = list(_tensors(architecture, spec, state, kind, path))
    about = {
        "general.type": "model",
        "general.name": name or str(pretrained.info.get("name") or path.stem),
        "general.file_type": KINDS[kind][1],
        "general.quantization_version": 2,
        f"{architecture.name}.vocab_size": rows,
    }
    size = writer.write_file(path, metadata | about | dict(words.metadata), tensors)
    return {
        "path": str(path),
        "architecture": architecture.name,
        "kind": kind,
        "bytes": size,
        "tensors": len(tensors),
        "notes": notes,
    }


def _tensors(
    architecture: architectures.Architecture,
    spec: DecoderSpec,
    state: Mapping[str, Tensor],
    kind: str,
    path: Path,
) -> list[Outgoing]:
    tensors = dict(weights.theirs(architecture, spec, state))
    if isinstance(spec.position, RotaryPositions) and isinstance(spec.position.scaling, Llama3Scaling):
        tensors[architectures.FREQUENCIES] = architectures.frequencies_of(spec)
    return [
        Outgoing(name, tuple(tensor.shape), packing, partial(pack, tensor, packing, path))
        for name, tensor in tensors.items()
        for packing in [_packing(name, tensor, KINDS[kind][0])]
    ]


def _packing(name: str, tensor: torch.Tensor, matrices: str) -> str:
    if tensor.dim() < 2 or name in _ALWAYS_F32:
        return "F32"
    return "F16" if matrices == "Q8_0" and tensor.shape[-1] % 32 else matrices
