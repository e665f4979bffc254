"""A model and all that comes with it, from load to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from textmill.base.errors import TextmillError
from textmill.data.codec import Codec
from textmill.models import adapters
from textmill.models.heads import framed
from textmill.models.model import Generator, Model, SourceReader
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import MixtureSpec, ModelSpec, longest_source
from textmill.specs.tuning import TuningSpec
from textmill.tokenization.chat.template import ChatTemplate, default
from textmill.tokenization.protocol import AnyTokenizer


def check_vocabulary(tokenizer: AnyTokenizer, rows: int, where: object) -> None:
    """Whether a model of so many rows can read what a tokenizer makes of texts.

    There may be more rows than ids (padding to a round number), and special ids beyond the rows that stand in no text
    and around none (of pictures, say). Raises TextmillError for any other id without a row.
    """
    if tokenizer.vocabulary <= rows:
        return
    around = {tokenizer.end, tokenizer.start, tokenizer.pad, *tokenizer.prefix, *tokenizer.suffix}
    apart = set(tokenizer.special.values()) - around
    beyond = [token for token in range(rows, tokenizer.vocabulary) if token not in apart]
    if beyond:
        raise TextmillError(
            f"the tokenizer has {tokenizer.vocabulary:,} ids and the model has embeddings for {rows:,} of them",
            where=where,
            advice=f"they do not belong together: fetch both again, or give it a tokenizer without id {beyond[0]}",
        )


@dataclass(frozen=True)
class Adapter:
    """What stands beside a frozen base: how it was made, and the base itself as it was read.

    name, weights, content: what the adapter calls its base; the ids of its weights (models.adapters.weights_id) and of
    its files, empty where they are not known.
    """

    tuning: TuningSpec
    base: Pretrained
    name: str
    weights: str = ""
    content: str = ""


@dataclass(frozen=True)
class Pretrained:
    """A directory read: ready to generate with, to score, or to train on."""

    model: Model  # in eval mode, on the CPU
    tokenizer: AnyTokenizer
    spec: ModelSpec | MixtureSpec
    generation: GenerationSpec
    info: Mapping[str, Any]  # textmill.json's `info` (objective, lineage, …); empty for other people's models
    template: str | None = None  # of conversations, in Jinja
    beside: Mapping[str, str] = field(
        default_factory=dict
    )  # text files by name that say how its states are used
    missing: tuple[
        str, ...
    ] = ()  # parts of heads that the weights leave out, and the model then does not have
    ignored: tuple[str, ...] = ()  # what the directory holds and no part of the model is
    # Settings of generation that were published with it and have no meaning here.
    unfollowed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # what a person should know of how it was read
    adapter: Adapter | None = None  # what of `model` is an adapter; None: it is all one model

    def merged(self) -> Pretrained:
        """The same with its adapter in its matrices; itself where there is none. Raises TextmillError for virtual
        tokens, which are no part of any matrix."""
        if self.adapter is None:
            return self
        model = adapters.merged(self.model)
        return replace(self, model=model, spec=model.spec, adapter=None)

    @property
    def writes(self) -> bool:
        """Whether it writes text: it goes on from what it read, or answers a source."""
        return isinstance(self.model, Generator) and not self.model.bare

    @property
    def reads_source(self) -> bool:
        """Whether it reads a source and writes a target, as translators do."""
        return isinstance(self.model, SourceReader)

    @property
    def longest(self) -> int:
        """Most tokens of a prompt, or of a source, that the model reads."""
        return longest_source(self.spec) if self.reads_source else self.spec.context

    @cached_property
    def codec(self) -> Codec:
        """From texts to the rows that the model reads, as in training."""
        tokenizer = self.tokenizer
        around = None if framed(self.model) else (tokenizer.prefix, tokenizer.suffix)
        return Codec(tokenizer, self.spec.start, around, self.longest, self.chat)

    @cached_property
    def chat(self) -> ChatTemplate | None:
        """How it reads conversations: by its own template, or by that of tokenizers trained here; None: nobody said."""
        if self.template is not None:
            return ChatTemplate(self.template, self.tokenizer.names)
        return default(self.tokenizer)

    @property
    def target_start(self) -> int | None:
        """The id a target begins with; None of a model that goes on from its prompt."""
        if not self.reads_source:
            return None
        return self.tokenizer.start if self.spec.start is None else self.spec.start
