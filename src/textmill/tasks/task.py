"""What a task is: a value that training, evaluation and the server share. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from textmill.base.errors import TextmillError
from textmill.metrics.score import Score

if TYPE_CHECKING:
    from textmill.tokenization.tokenizer import Tokenizer

Objective = Literal["causal", "masked", "denoise", "seq2seq", "classify", "tag", "span", "prefer"]


@dataclass(frozen=True, eq=False)
class Rendered:
    """A record as a model reads it."""

    ids: np.ndarray  # (n,) uint32
    loss: np.ndarray  # (n,) bool: which of the ids the model is trained to predict


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task.

    `fields` says what a record must hold, in words for a person. `render` turns a record into ids, `parse` what
    the model made into what a person gets, and `metrics` counts how good it was; `headline` names the metric
    that decides.
    """

    name: str
    objective: Objective
    fields: Mapping[str, str]
    render: Callable[[Mapping[str, Any], Tokenizer], Rendered]
    parse: Callable[[str], Any]
    metrics: Callable[..., Mapping[str, Score]]
    headline: str

    def check(self, record: Mapping[str, Any], where: object = "") -> None:
        """Raise TextmillError, naming the field and its meaning, unless `record` holds every field as text."""
        for name, meaning in self.fields.items():
            if not isinstance(record.get(name), str):
                fault = "is missing" if record.get(name) is None else "is not text"
                raise TextmillError(f"{name} {fault}", where=where, advice=f"{name} is {meaning}")
