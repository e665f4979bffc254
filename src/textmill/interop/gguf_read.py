"""A GGUF file as a model to generate with, to score, or to train on."""

from __future__ import annotations

from pathlib import Path

import torch

from textmill.base.spec import GenerationSpec
from textmill.interop import gguf, gguf_rules, gguf_tokenizer, gguf_weights
from textmill.interop.huggingface import Published
from textmill.models import table


def read(path: Path | str, dtype: torch.dtype = torch.float32) -> Published:
    """Load a GGUF file: weights unpacked into `dtype`, and the tokenizer and chat template inside it.

    Raises TextmillError for an architecture, a tokenizer or a packing that is not read here, and DamagedError for a
    file that is cut short, lies, or does not hold what its architecture needs. All that is found out before memory is
    taken for weights.
    """
    path = Path(path)
    file = gguf.read(path)
    spec = gguf_rules.read(file.metadata, file.tensors, lambda: gguf_weights.frequencies(file), path)
    architecture = gguf_rules.architecture_of(file.metadata, path)
    model = table.empty(spec, gguf_weights.vocabulary(file))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    plan = gguf_weights.plan(file, architecture, spec, shapes)
    tokenizer = gguf_tokenizer.read(file.metadata, path)
    model.load_state_dict(gguf_weights.ours(file, plan, shapes, dtype), assign=True)
    name = file.metadata.get("general.name")
    return Published(
        model=model.eval(),
        tokenizer=tokenizer,
        spec=spec,
        generation=GenerationSpec(),
        info={"name": name} if isinstance(name, str) else {},
        template=gguf_tokenizer.template(file.metadata),
    )
