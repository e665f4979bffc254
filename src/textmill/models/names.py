"""Weights chosen by name, and the layer each belongs to: what is frozen, what learns at which rate, what is adapted.

A pattern is how a name begins: `embedding`, `blocks.0-3`, `decoder.blocks.*.attention`, `head`. A part is matched as in
a shell (`*`, `?`), and a range of numbers stands for each of them. `blocks.0` are those of encoder and decoder alike.
What a head puts before the names of its body is no part, and layers of recurrent models are `layers.0`, `layers.1`, …
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from textmill.base.errors import RecipeError
from textmill.models.output import OutputLayer

_RANGE = re.compile(r"(\d+)-(\d+)")
_CELL = re.compile(r"\bcore\.(\w+?)_l(\d+)(_reverse)?$")  # as PyTorch names the weights of recurrent layers
_STACKS = ("encoder", "decoder", "recurrent")  # a pattern may leave these out
_LAYER = re.compile(r"((?:^|.*\.))(?:blocks|layers)\.(\d+)\.")


def plain(name: str) -> str:
    """A weight's name as a pattern sees it.

    >>> plain("body.blocks.0.attention.qkv.weight"), plain("encoder.core.weight_ih_l1_reverse")
    ('blocks.0.attention.qkv.weight', 'encoder.layers.1.weight_ih_reverse')
    """
    return _CELL.sub(r"layers.\2.\1\3", name.removeprefix("body."))


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern chooses a weight, or a module, of this name.

    >>> matches("decoder.blocks.2.feedforward.up.weight", "blocks.0-3"), matches("blocks.12.norm.weight", "blocks.1")
    (True, False)
    """
    parts, wanted = plain(name).split("."), pattern.split(".")
    return any(
        len(wanted) <= len(some) and all(map(_part, some, wanted))
        for some in (parts, parts[1:] if parts[0] in _STACKS else ())
    )


def _part(part: str, wanted: str) -> bool:
    if (numbers := _RANGE.fullmatch(wanted)) and part.isdigit():
        return int(numbers[1]) <= int(part) <= int(numbers[2])
    return fnmatchcase(part, wanted)


def chosen(names: Iterable[str], patterns: Iterable[str], where: str, tied: bool = False) -> set[str]:
    """The names that any of the patterns chooses.

    Raises RecipeError for a pattern that chooses none, with what there is. tied: the output layer is the embedding.
    """
    names, found = list(names), set()
    for pattern in patterns:
        some = {name for name in names if matches(name, pattern)}
        if not some:
            raise RecipeError(
                f"{pattern!r} matches no weight of the model",
                where=where,
                advice=f"there is {_what(names)}; the output layer is the embedding (tied)"
                if tied
                else f"there is {_what(names)}",
            )
        found |= some
    return found


def _what(names: Iterable[str]) -> str:
    """Names in short: their first parts, numbered layers as ranges."""
    groups: dict[str, list[int]] = {}
    for name in map(plain, names):
        layer = _LAYER.match(name)
        key = name[: layer.start(2)] if layer else name.split(".")[0]
        groups.setdefault(key, []).extend([int(layer[2])] if layer else [])
    return ", ".join(f"{key}{min(of)}-{max(of)}" if of else key for key, of in groups.items())


def frozen(model: nn.Module, patterns: Iterable[str]) -> set[str]:
    """The weights of a model that patterns freeze, by name. A matrix that is two things (tied) is one weight.

    Raises RecipeError for a pattern that chooses nothing, and where nothing would be left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    found = chosen(names, patterns, "training.freeze", tied=_tied(model))
    if names and len(found) == len(names):
        raise RecipeError(
            "freezes the whole model", where="training.freeze", advice="freeze less of the model"
        )
    return found


def freeze(model: nn.Module, patterns: Iterable[str]) -> None:
    """Take what patterns choose out of training: it gets neither gradients nor a state of the optimiser."""
    some = frozen(model, patterns)
    for name, weight in model.named_parameters():
        if name in some:
            weight.requires_grad_(False)


def _tied(model: nn.Module) -> bool:
    return any(isinstance(part, OutputLayer) and part.output is None for part in model.modules())


def rate_by_layer(model: nn.Module, decay: float) -> dict[str, float]:
    """What each weight's learning rate is multiplied by: decay to the number of layers above it.

    Of a stack of L layers, layer i (from 0) has decay^(L - i), what is below the first (embeddings) decay^(L + 1), and
    what is above the last (norm, output layer, pooler, head) 1 (Clark et al. 2020, appendix; Bao et al. 2022). An
    encoder and a decoder are two stacks, and a tied matrix is an embedding.
    """
    heights: dict[str, int] = {}
    layers = {name: _LAYER.match(plain(name)) for name, _ in model.named_parameters()}
    for layer in layers.values():
        if layer:
            heights[layer[1]] = max(heights.get(layer[1], 0), int(layer[2]) + 1)
    tallest = max(heights.values(), default=0)
    return {
        name: decay ** (heights[layer[1]] - int(layer[2]) if layer else tallest + 1 if _below(name) else 0)
        for name, layer in layers.items()
    }


def _below(name: str) -> bool:
    """Whether a weight stands below the first layer: embeddings of tokens, positions, segments and their norm."""
    return any(
        part == "embedding" or part.endswith("_embedding") or part == "embedding_norm"
        for part in plain(name).split(".")
    )
