"""The tasks there are, by name."""

from __future__ import annotations

from textmill.tasks import generation
from textmill.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (generation.TASK,)}
