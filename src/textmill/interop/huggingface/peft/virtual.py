"""Soft prompts and prefixes in PEFT's layout.

    prompt   prompt_embeddings (n, D)
    prefix   prompt_embeddings (n, L · 2 · K · E): the keys of the first layer, its values, the keys of the second, …

Shapes: n virtual tokens, D features, L layers, K key heads, E features of a head.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from textmill.base.errors import DamagedError
from textmill.interop.huggingface.peft.about import WEIGHTS, About, load_tensors, spec_of
from textmill.models import adapters
from textmill.models.model import Model
from textmill.models.virtual import PromptEmbedding
from textmill.nn.attention import Prefix
from textmill.specs.position import SinusoidalPositions
from textmill.specs.tuning import PrefixTuning, PromptTuning, TuningSpec

_PROMPT = "prompt_embeddings"


def write_prompt(model: Model, tuning: TuningSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    assert isinstance(tuning, PromptTuning)
    [module] = [module for module in model.modules() if isinstance(module, PromptEmbedding)]
    vectors = module.prompt.detach() * _embedding_scale(spec_of(model))
    return {_PROMPT: vectors.contiguous()}, _virtual_config(
        "PROMPT_TUNING", model, tuning.tokens, vectors.shape[1]
    ) | {"prompt_tuning_init": "RANDOM"}


def read_prompt(about: About, base: Model) -> Model:
    stored = _only(about, _PROMPT)
    tokens = int(about.config.get("num_virtual_tokens") or len(stored))
    model = adapters.adapt(base, PromptTuning(tokens=tokens))
    vectors = stored[:tokens].float() / _embedding_scale(
        spec_of(model)
    )  # a second half, of decoders, is never read
    [name] = adapters.tensors(model)
    return adapters.load(model, {name: vectors}, about.path / WEIGHTS)


def write_prefix(model: Model, tuning: TuningSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    assert isinstance(tuning, PrefixTuning)
    layers = [module for module in model.modules() if isinstance(module, Prefix)]
    pairs = [tensor.detach() for layer in layers for tensor in (layer.keys, layer.values)]
    flat = torch.stack([tensor.transpose(0, 1).flatten(1) for tensor in pairs], dim=1).flatten(1)
    spec = spec_of(model)
    config = _virtual_config("PREFIX_TUNING", model, tuning.tokens, spec.key_heads * spec.head_width)
    more = {
        "num_attention_heads": spec.key_heads,
        "prefix_projection": False,
        "encoder_hidden_size": config["token_dim"],
    }
    return {_PROMPT: flat.contiguous()}, config | more


def read_prefix(about: About, base: Model) -> Model:
    stored = _only(about, _PROMPT)
    model = adapters.adapt(base, PrefixTuning(tokens=len(stored)))
    spec = spec_of(model)
    shape = (spec.layers, 2, spec.key_heads, spec.head_width)
    if stored.dim() != 2 or stored.shape[1] != math.prod(shape):
        raise DamagedError(
            f"{_PROMPT} has the shape {tuple(stored.shape)}, and the base asks for {math.prod(shape)} numbers a token",
            where=about.path / WEIGHTS,
            advice="it belongs to another base",
        )
    layers = stored.float().unflatten(1, shape).permute(1, 2, 3, 0, 4)  # (L, 2, K, n, E)
    names = iter(adapters.tensors(model))  # keys and values of each layer, in order
    given = {next(names): pair.contiguous() for layer in layers for pair in layer}
    return adapters.load(model, given, about.path / WEIGHTS)


def _only(about: About, name: str) -> Tensor:
    stored = load_tensors(about.path)
    for key in {name} - stored.keys():
        raise DamagedError(f"holds no {key}", where=about.path / WEIGHTS)
    for key in stored.keys() - {name}:
        raise DamagedError(f"holds {key}, which the base has no place for", where=about.path / WEIGHTS)
    return stored[name]


def _virtual_config(kind: str, model: Model, tokens: int, width: int) -> dict[str, Any]:
    spec = spec_of(model)
    return {
        "peft_type": kind,
        "num_virtual_tokens": tokens,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "num_attention_heads": spec.heads,
        "num_layers": spec.layers,
    }


def _embedding_scale(spec: Any) -> float:
    """What token vectors are multiplied by before the first layer: transformers has that in its embedding already."""
    scaled = spec.scaled_embedding or isinstance(spec.position, SinusoidalPositions)
    return math.sqrt(spec.d_model) if scaled else 1.0
