"""A LoRA adapter as one GGUF file that llama.cpp reads beside its base: `llama-cli --lora FILE.gguf`.

    general.type = "adapter", adapter.type = "lora", adapter.lora.alpha
    NAME.weight.lora_a (R, I), NAME.weight.lora_b (O, R), float32, where NAME.weight is what the base's file has

llama.cpp multiplies an addition by alpha / R. Where additions differ in more than their rank, b makes up for it.

Shapes: R rank, I inputs, O outputs.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textmill.base.errors import TextmillError
from textmill.interop.additions import Published, published
from textmill.interop.gguf import architectures, reader, writer
from textmill.interop.gguf.architectures import Rule
from textmill.interop.gguf.quants import pack, unpack
from textmill.interop.gguf.weights import paired
from textmill.interop.gguf.writer import Outgoing
from textmill.models import adapters
from textmill.models.adapters import Site
from textmill.models.model import Model
from textmill.nn.low_rank import WHOLE, LowRankLinear
from textmill.specs.model import DecoderSpec


def write_adapter(path: Path | str, model: Model, base: Model, *, name: str = "") -> dict[str, Any]:
    """Write the adapter of a model whose base is `base`, whole or not at all; an older file of that name is replaced.

    Returns what was written: architecture, bytes, tensors. Raises TextmillError for an adapter that llama.cpp cannot
    add: magnitudes (DoRA), embeddings, the output layer of a tied model, virtual tokens, and for a base that no GGUF
    architecture computes.
    """
    path, spec = Path(path), base.spec
    if not isinstance(spec, DecoderSpec) or not list(adapters.additions_of(model)):
        raise TextmillError(
            "only low-rank adapters of decoders are GGUF adapters",
            where=path,
            advice="a soft prompt or prefix stays in its directory",
        )
    architecture, _ = architectures.write(spec, base.state_dict())
    modules, heads = _layers(architecture, spec, model)
    tensors: list[tuple[str, Tensor]] = []
    alpha = None
    for layer, low in published(model, modules).items():
        _check(layer, low, path)
        alpha = low.scale * low.rank if alpha is None else alpha
        b = low.b.detach() * (low.scale * low.rank / alpha)
        if (number := heads[layer]) is not None:
            b = paired(b, number).flatten(0, 2)
        tensors += [(f"{layer}.lora_a", low.a.detach()), (f"{layer}.lora_b", b)]
    metadata = {
        "general.architecture": architecture.name,
        "general.type": "adapter",
        "general.name": name or path.stem,
        "adapter.type": "lora",
        "adapter.lora.alpha": float(alpha or 0.0),
    }
    outgoing = [
        Outgoing(each, tuple(tensor.shape), "F32", partial(pack, tensor, "F32", path))
        for each, tensor in tensors
    ]
    size = writer.write_file(path, metadata, outgoing)
    _compare(path, tensors)
    return {"path": str(path), "architecture": architecture.name, "bytes": size, "tensors": len(tensors)}


def _compare(path: Path, tensors: list[tuple[str, Tensor]]) -> None:
    """Raises TextmillError where a file read again does not hold what was written."""
    file = reader.read_file(path)
    for name, tensor in tensors:
        held = unpack(file.bytes_of(name), file.tensors[name].type, torch.empty(tensor.shape), path)
        if not torch.equal(held, tensor.float()):
            raise TextmillError(
                f"does not hold {name} as it was written", where=path, advice="export it again"
            )


def _check(layer: str, low: Published, path: Path) -> None:
    if low.embedding or low.magnitude is not None:
        what = "an embedding" if low.embedding else "magnitudes (DoRA)"
        raise TextmillError(
            f"llama.cpp adds nothing to {what} ({layer})",
            where=path,
            advice="merge the adapter, and export the merged model",
        )


def _layers(
    architecture: architectures.Architecture, spec: DecoderSpec, model: Model
) -> tuple[dict[str, list[Site]], dict[str, int | None]]:
    """What llama.cpp calls each layer: the sites it holds, and the heads whose rows it lays in pairs."""
    modules: dict[str, list[Site]] = {}
    heads: dict[str, int | None] = {}
    adapted = {site.path for site, _ in adapters.additions_of(model)}
    for site in adapters.sites(model):
        if site.path not in adapted:
            continue
        if site.path == "output" and spec.tied:
            raise TextmillError(
                "the base's output layer is its embedding, so its GGUF file has none to add to",
                advice="merge the adapter, and export the merged model",
            )
        [rule] = architectures.rules(architecture, spec, [site.path + ".weight"])
        for name, number in _named(rule, model, site):
            modules.setdefault(name, []).append(site)
            heads[name] = number
    return modules, heads


def _named(rule: Rule, model: Model, site: Site) -> list[tuple[str, int | None]]:
    pairs = list(zip(rule.theirs, rule.heads, strict=True))
    if site.section == WHOLE or len(pairs) == 1:
        return pairs
    module = model.get_submodule(site.path)
    assert isinstance(module, LowRankLinear)
    return [pairs[list(module.sections).index(site.section)]]
