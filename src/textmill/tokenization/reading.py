"""How a model reads what its tokenizer makes of texts, said so that whoever loads the two reads the same.

A tokenizer.json's post-processor puts ids around a text; tokenizer_config.json says the rest: the longest text, where
padding stands, what a model is given beside the ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from textmill.tokenization.json_build import template
from textmill.tokenization.json_read import Around

Side = Literal["left", "right"]
_BYTE_LEVEL = "ByteLevel"


@dataclass(frozen=True)
class Reading:
    """How a model reads texts.

    before, after   ids around a text; of two texts in one row, before the first and after the second
    between         ids between two texts; None: nothing is read so
    begin           what a text is said to begin with; None: nothing is
    context         tokens the model reads at most
    padding         where the filler of a batch stands; None: as the tokenizer's files say it, and before a text, which
                    is then gone on from, where they do not
    segments        whether the model is told which of two texts a token belongs to
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    between: tuple[int, ...] | None = None
    begin: int | None = None
    context: int | None = None
    padding: Side | None = None
    segments: bool = False

    @property
    def inputs(self) -> list[str]:
        """What a model is given, as transformers names it."""
        return ["input_ids", *(["token_type_ids"] if self.segments else []), "attention_mask"]

    def settings(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """What tokenizer_config.json says of this; `said`: what the files it comes from said."""
        inputs = [name for name in said.get("model_input_names", self.inputs) if name in self.inputs]
        length = said.get("model_max_length", self.context)
        return {
            **said,
            **({} if length is None else {"model_max_length": length}),
            "padding_side": self.padding or said.get("padding_side", "left"),
            "model_input_names": inputs,
        }


def says(around: Around, reading: Reading) -> bool:
    """Whether ids around texts are those that a model reads there."""
    between = around.between if reading.between is None else reading.between
    return around == Around(reading.before, reading.after, between)


def framed(document: Mapping[str, Any], tokens: Sequence[str], reading: Reading) -> bytes:
    """The bytes of a tokenizer.json that puts around texts what a model reads there. tokens: their spellings, by id."""
    wanted = template(tokens, reading.before, reading.after, between=reading.between)
    there = document.get("post_processor") or {}
    if (
        there.get("type") == _BYTE_LEVEL
    ):  # it says which characters a token stands for, and puts nothing around them
        wanted = there if wanted is None else {"type": "Sequence", "processors": [there, wanted]}
    return json.dumps({**document, "post_processor": wanted}, ensure_ascii=False).encode("utf-8", "replace")
