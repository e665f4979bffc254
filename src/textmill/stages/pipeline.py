"""`textmill run`: every stage of a recipe, from the sources to the published model; what is up to date stays."""

from __future__ import annotations

from typing import Any

from textmill.specs.recipe import Recipe
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.release.publish import publish_run
from textmill.stages.runs.train import train
from textmill.stages.workspace.workspace import Workspace


def run(recipe: Recipe, workspace: Workspace, *, fork: str | None = None) -> dict[str, Any]:
    """Prepare, train, evaluate and publish whatever is out of date, saying why; the published model's report."""
    trained = train(recipe, workspace, fork=fork)
    evaluate_run(trained, workspace)
    return publish_run(trained, workspace)
