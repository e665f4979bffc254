"""A model and all that comes with it, from load to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textmill.models.model import Model
from textmill.specs.model import MixtureSpec, ModelSpec
from textmill.specs.recipe import GenerationSpec
from textmill.tokenization.protocol import AnyTokenizer


@dataclass(frozen=True)
class Pretrained:
    """A directory read: ready to generate with, to score, or to train on."""

    model: Model  # in eval mode, on the CPU
    tokenizer: AnyTokenizer
    spec: ModelSpec | MixtureSpec
    generation: GenerationSpec
    info: Mapping[str, Any]  # textmill.json's `info` (task, lineage, …); empty for other people's models
    template: str | None = None  # of conversations, in Jinja
    missing: tuple[
        str, ...
    ] = ()  # parts of heads that the weights leave out, and the model then does not have
    ignored: tuple[str, ...] = ()  # what the directory holds and no part of the model is
