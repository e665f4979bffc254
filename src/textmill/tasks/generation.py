"""Generation: a language model over plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.metrics.perplexity import language_model
from textmill.tasks.task import Rendered, Task

if TYPE_CHECKING:
    from textmill.tokenization.tokenizer import Tokenizer


def render(record: Mapping[str, Any], tokenizer: Tokenizer) -> Rendered:
    """The ids of the text and the end-of-text id after it; every one of them is learnt, the end too.

    Raises TextmillError when the record has no text.
    """
    TASK.check(record)
    ids = np.append(tokenizer.encode(record["text"]), np.uint32(tokenizer.end)).astype(np.uint32)
    return Rendered(ids, np.ones(len(ids), dtype=bool))


def parse(text: str) -> str:
    """What was generated is what a person gets."""
    return text


TASK = Task(
    name="generation",
    objective="causal",
    fields={"text": "the text to learn from"},
    render=render,
    parse=parse,
    metrics=language_model,
    headline="bits per byte",
)
