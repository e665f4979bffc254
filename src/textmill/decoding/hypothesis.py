"""An answer, whole, with what it is worth: what every way of decoding but streaming gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Finish = Literal["end", "stop", "length"]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One answer to a prompt.

    `ids` include the end id where it was reached. `score` is what answers were ranked by (higher is better), and
    `logprob` the natural logarithm of the answer's probability under the model itself. `finish` is how it ended,
    `cut` how many tokens of the prompt were left out (decoding.generate.Piece).
    """

    ids: tuple[int, ...]
    score: float
    logprob: float
    finish: Finish = "length"
    cut: int = 0
