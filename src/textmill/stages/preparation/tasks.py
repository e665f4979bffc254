"""What a recipe's task says of it: the objective and the way texts are written, where the recipe itself is silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmill.base.errors import RecipeError
from textmill.specs import recipe_file
from textmill.specs.model import DecoderSpec


def written(data: recipe_file.Plain, where: str) -> recipe_file.Plain:
    """A plain recipe with what its task says of [generation]. Raises RecipeError for a task there is not."""
    from textmill.tasks.table import TASKS

    name, generation = data["task"], data.get("generation", {})
    if name not in TASKS:
        raise RecipeError(
            f"{name!r} is no task", where=f"{where}: task", advice=f"there are {', '.join(TASKS)}"
        )
    task = TASKS[name]
    if not task.generation or not isinstance(generation, Mapping):
        return data
    return {**data, "generation": {**task.generation, **generation}}


def learnt(data: recipe_file.Plain, where: str) -> recipe_file.Plain:
    """The same with the objective that a model of this kind learns the task by, and what the task says of it.

    Raises RecipeError where no model of this kind learns it, and where the recipe names another objective.
    """
    from textmill.tasks.table import TASKS

    task, model, objective = TASKS[data["task"]], data.get("model", {}), data.get("objective", {})
    if not isinstance(model, Mapping) or not isinstance(objective, Mapping):
        return data  # which whoever reads it says
    family = str(model.get("kind", DecoderSpec().kind))
    if family not in task.objectives:
        raise RecipeError(
            f"no model of kind {family!r} learns to {task.name}",
            where=f"{where}: model.kind",
            advice=f"there is {', '.join(task.objectives)}",
        )
    kind = task.objectives[family]
    if objective.get("kind", kind) not in task.objectives.values():
        raise RecipeError(
            f"{objective['kind']!r} is not how a model learns to {task.name}",
            where=f"{where}: objective.kind",
            advice=f"leave it out: it is {kind}",
        )
    filled: dict[str, Any] = {"kind": kind, **task.objective, **objective}
    return {**data, "objective": filled}
