from __future__ import annotations

from typing import get_args, get_type_hints

import numpy as np
import pytest

from textmill.base.errors import TextmillError
from textmill.specs.recipe import TaskSpec
from textmill.tasks.table import TASKS


class Letters:
    """A tokenizer of one id a byte; 256 ends a text."""

    end = 256

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint32)


def test_every_task_a_recipe_may_name_is_in_the_table():
    names = get_args(get_type_hints(TaskSpec)["name"])
    assert set(names) == set(TASKS)
    assert all(name == task.name for name, task in TASKS.items())


def test_generation_learns_every_token_and_the_end():
    rendered = TASKS["generation"].render({"text": "né"}, Letters())
    assert rendered.ids.tolist() == [*"né".encode(), 256]
    assert rendered.ids.dtype == np.uint32
    assert rendered.loss.tolist() == [True] * 4


def test_a_record_without_its_field_is_told_what_the_field_is():
    with pytest.raises(TextmillError, match="text is missing; text is the text to learn from"):
        TASKS["generation"].render({"prose": "a"}, Letters())
    with pytest.raises(TextmillError, match="text is not text"):
        TASKS["generation"].check({"text": 3})


def test_the_headline_is_a_metric_of_the_task():
    task = TASKS["generation"]
    assert task.headline in task.metrics([1.0, 2.0], [1, 2], [1, 2], resamples=10)
