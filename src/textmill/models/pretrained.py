"""A model and all that comes with it, from load to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from textmill.models.heads import Headed
from textmill.specs.model import READ_AND_WRITE, EncoderDecoderSpec, EncoderSpec, MixtureSpec, ModelSpec
from textmill.specs.recipe import GenerationSpec
from textmill.tokenization.load import AnyTokenizer


@dataclass(frozen=True)
class Pretrained:
    """A directory read: ready to generate with, to score, or to train on."""

    model: nn.Module  # in eval mode, on the CPU
    tokenizer: AnyTokenizer
    spec: ModelSpec | MixtureSpec
    generation: GenerationSpec
    info: Mapping[str, Any]  # textmill.json's `info` (objective, lineage, …); empty for other people's models
    template: str | None = None  # of conversations, in Jinja
    missing: tuple[
        str, ...
    ] = ()  # parts of heads that the weights leave out, and the model then does not have
    ignored: tuple[str, ...] = ()  # what the directory holds and no part of the model is

    @property
    def writes(self) -> bool:
        """Whether it writes text: it goes on from what it read, or answers a source."""
        return not isinstance(self.spec, EncoderSpec) and not isinstance(self.model, Headed)

    @property
    def reads_source(self) -> bool:
        """Whether it reads a source and writes a target, as translators do."""
        return self.spec.kind in READ_AND_WRITE

    @property
    def target_start(self) -> int | None:
        """The id a target begins with; None of a model that goes on from its prompt."""
        if not self.reads_source:
            return None
        own = self.spec.start if isinstance(self.spec, EncoderDecoderSpec) else None
        return self.tokenizer.start if own is None else own
