"""How a text becomes one vector, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pooling = Literal["first", "mean", "last", "max"]


@dataclass(frozen=True)
class Sentences:
    """How a text becomes one vector. `tokens`: at most so many are read, with what the tokenizer puts around them."""

    pooling: Pooling = "mean"
    normalised: bool = True
    tokens: int | None = None
    before: str = ""  # put before each text
    pools_before: bool = (
        True  # whether the states of `before`, and of what stands before that, are pooled too
    )
    lower: bool = False  # whether letters are made small first

    def read(self, text: str) -> str:
        """A text as it is tokenised."""
        text = self.before + text
        return "".join(map(str.lower, text)) if self.lower else text  # each by itself, as tokenizers do
