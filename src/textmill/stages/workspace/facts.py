"""What a model of a run says of itself, wherever it goes: in its directory, and before it has one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textmill.stages.workspace.run_data import RunData
from textmill.tasks.table import task_trained_by
from textmill.tasks.task import reads, record_of


def facts(data: RunData) -> dict[str, Any]:
    """What a model of a run says of itself, for who gives it records: its objective, its task, what it reads."""
    recipe = data.recipe
    told: dict[str, Any] = {"objective": recipe.objective.kind}
    if recipe.task is not None:
        told["task"] = recipe.task
    if data.objective.reader is None:
        return told
    told |= {"reads": reads(recipe.objective), "sequence": recipe.sequence}
    task = task_trained_by(recipe)
    return told | ({} if task is None else task.tells(records_of(data, "train")))


def records_of(data: RunData, part: str) -> Iterator[dict[str, str]]:
    """The records of a split, their texts and facts under the names tasks know."""
    return (record_of(document, data.recipe.objective) for document in data.documents(part))
