"""What weights begin as, and how learning rates follow the width.

`initialise` is a function of (spec, seed) only: each parameter has its own generator, keyed by its name, so
the state of the global one is neither read nor changed, and adding a layer changes no other parameter.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import torch
from torch import nn

from textmill.models.model import Model
from textmill.nn import recurrent
from textmill.nn.norm import BatchNorm
from textmill.specs.model import (
    EncoderDecoderSpec,
    EncoderSpec,
    RecurrentEncoderDecoderSpec,
    RecurrentSpec,
    TrainedSpec,
    TransformerSpec,
)

Kind = Literal["embedding", "hidden", "vector", "output"]
_STD = 0.02


def spec_of(model: Model) -> TrainedSpec:
    """The spec a model was built from."""
    spec = model.spec
    assert isinstance(spec, TrainedSpec)
    return spec


def kind_of_parameter(model: nn.Module) -> dict[str, Kind]:
    """What each parameter is, by name.

    embedding  a row is looked up by a token, a position or a segment (the output layer too, when tied)
    hidden     a matrix inside a block
    vector     norms, biases, the small tables of relative positions, and virtual tokens
    output     the untied output layer, or the head that stands in its place
    """
    return {name: _kind(name, parameter) for name, parameter in model.named_parameters()}


def _kind(name: str, parameter: torch.Tensor) -> Kind:
    if name.endswith("embedding.weight"):
        return "embedding"
    if name in ("output.weight", "head.weight"):
        return "output"
    table = name.endswith(("position_bias.weight", "relative_keys", "relative_values", "crf.transitions"))
    table = table or name.endswith(("embedding.prompt", "prefix.keys", "prefix.values"))
    return "vector" if parameter.ndim < 2 or table else "hidden"


def width_multiplier(spec: TrainedSpec) -> float:
    """How many times wider the model is than the one its learning rate was tuned on; 1 without µP."""
    return spec.d_model / spec.base_width if isinstance(spec, TransformerSpec) and spec.base_width else 1.0


def learning_rate_scale(model: Model) -> dict[str, float]:
    """What Adam's learning rate is multiplied by for each parameter, so that one rate serves all widths.

    Maximal update parametrisation (Yang et al. 2022, "Tensor Programs V", table 8), m = `width_multiplier`:

    kind                    rate
    hidden                  1 / m
    the last norm           1 / m   (its gain is where the output multiplier 1 / m lives, see `initialise`)
    embedding, vector       1
    output                  1
    """
    spec = spec_of(model)
    if not isinstance(spec, TransformerSpec):  # no µP
        return {name: 1.0 for name, _ in model.named_parameters()}
    scale, last = 1 / width_multiplier(spec), last_norm(spec)
    return {
        name: scale if kind == "hidden" or name.removeprefix("body.").startswith(last + ".") else 1.0
        for name, kind in kind_of_parameter(model).items()
    }


def last_norm(spec: TrainedSpec) -> str:
    """The name of the norm whose output the output layer reads; empty where there is none."""
    if isinstance(spec, EncoderSpec):
        return "transform_norm"
    if not isinstance(spec, TransformerSpec):
        return ""
    stack = "decoder." if isinstance(spec, EncoderDecoderSpec) else ""
    layers = spec.decoder_depth if isinstance(spec, EncoderDecoderSpec) else spec.layers
    return stack + ("norm" if spec.last_norm else f"blocks.{layers - 1}.feedforward_norm")


def initialise(model: Model, seed: int) -> None:
    """Fill all parameters. With m = `width_multiplier` (1 without µP):

    parameter                                     begins as
    embeddings of tokens, positions, segments     normal, 0.02
    embeddings of n-grams                         0: one that training never met says nothing
    qkv, up (gate and up)                         normal, 0.02 / sqrt(m)
    attention.output, down (end of a residual)    normal, 0.02 / sqrt(m) / sqrt(residual sums)  (GPT-2)
    relative keys and values, T5 biases           normal, 0.02
    output (untied)                               normal, 0.02
    biases                                        0
    gains of norms                                1
    gain of the last norm                         1 / m

    µP multiplies the logits by 1/m. Here the last norm's gain begins at 1/m and learns at 1/m of the rate,
    which is the same trajectory under Adam, tied or not, and leaves `forward`, and every export, as it was.
    Heads keep their width when d_model grows, so scores stay divided by sqrt(head_dim).
    """
    spec = spec_of(model)
    if isinstance(spec, (RecurrentSpec, RecurrentEncoderDecoderSpec)):
        for name, parameter in model.named_parameters():
            recurrent.initial_values(name, parameter, spec, generator(seed, name))
        return
    scale = 1 / width_multiplier(spec)
    last = last_norm(spec)
    for name, parameter in model.named_parameters():
        if (name.endswith("bias") and parameter.ndim == 1) or name.endswith("ngram_embedding.weight"):
            parameter.data.zero_()
        elif parameter.ndim == 1:
            parameter.data.fill_(scale if name.startswith(last + ".") else 1.0)
        else:
            std = _STD * (math.sqrt(scale) if _kind(name, parameter) == "hidden" else 1.0)
            if name.endswith(("attention.output.weight", "feedforward.down.weight")):
                std /= math.sqrt(_sums(spec, name))
            parameter.data.normal_(0.0, std, generator=generator(seed, name))
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.running_mean.zero_()
            module.running_var.fill_(1.0)


def _sums(spec: TrainedSpec, name: str) -> int:
    """Residual sums in the stack a parameter belongs to: two a block, three where it attends to a source."""
    if isinstance(spec, EncoderDecoderSpec) and name.startswith("decoder."):
        return 3 * spec.decoder_depth
    return 2 * spec.layers


def generator(seed: int, name: str) -> torch.Generator:
    """The generator one parameter is drawn from."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
