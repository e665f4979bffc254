"""The tasks there are. A new one is a file in this room, and a line here.

Where a model does not say its task, it is the first one that its objective, or what stands on it, serves.
"""

from __future__ import annotations

from textmill.base.errors import RecipeError
from textmill.models.pretrained import Pretrained
from textmill.specs.recipe import Recipe
from textmill.tasks import (
    answer,
    chat,
    choice,
    classify,
    embed,
    generate,
    regress,
    retrieve,
    summarize,
    tag,
    translate,
)
from textmill.tasks.code import task as code
from textmill.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        generate.GENERATE,
        chat.CHAT,
        translate.TRANSLATE,
        summarize.SUMMARIZE,
        answer.ANSWER,
        classify.CLASSIFY,
        tag.TAG,
        regress.REGRESS,
        embed.EMBED,
        choice.CHOICE,
        retrieve.RETRIEVE,
        code.CODE,
    )
}


def task_named(name: str) -> Task:
    """The task of this name. Raises RecipeError with the names there are."""
    if name not in TASKS:
        raise RecipeError(f"{name!r} is no task", where="task", advice=f"there are {', '.join(TASKS)}")
    return TASKS[name]


def tasks_for(family: str, objective: str) -> list[Task]:
    """The tasks that a model of this family serves when it was trained by this objective, the usual one first."""
    return [task for task in TASKS.values() if task.objectives.get(family) == objective]


def task_trained_by(recipe: Recipe) -> Task | None:
    """The task that a run of a recipe is for: what it says, else the usual one of its objective. None: it has none."""
    if recipe.task is not None:
        return task_named(recipe.task)
    return next(iter(tasks_for(recipe.model.kind, recipe.objective.kind)), None)


def serves(pretrained: Pretrained, task: Task) -> bool:
    """Whether a model can do a task: its own, or another that is learnt in the same way."""
    own = task_of(pretrained)
    return task is own or task.objectives.get(pretrained.spec.kind) in set(own.objectives.values())


def task_of(pretrained: Pretrained) -> Task:
    """The task of a model: what it says, else what its objective is for, else what it can do."""
    told, objective = pretrained.info.get("task"), pretrained.info.get("objective")
    if told in TASKS:
        return TASKS[told]
    family = pretrained.spec.kind
    if objective is not None and (found := tasks_for(family, objective)):
        return found[0]
    head = getattr(getattr(pretrained.model, "head", None), "spec", None)
    if head is not None and (
        found := [task for task in TASKS.values() if head.kind in task.objectives.values()]
    ):
        return found[0]
    if pretrained.beside:  # what says how its states become vectors
        return embed.EMBED
    if pretrained.reads_source:
        return translate.TRANSLATE
    return generate.GENERATE if pretrained.writes else embed.EMBED
