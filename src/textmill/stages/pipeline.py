"""`textmill run`: every stage of a recipe, from the sources to the published model; what is up to date stays."""

from __future__ import annotations

from typing import Any

from textmill.base.errors import RecipeError
from textmill.specs.recipe import Recipe
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.preparation.prepare import prepare
from textmill.stages.release.publish import publish_run
from textmill.stages.runs.train import train
from textmill.stages.workspace import lineage, remembrance
from textmill.stages.workspace.workspace import Workspace


def run(recipe: Recipe, workspace: Workspace, *, fork: str | None = None) -> dict[str, Any]:
    """Prepare, train, evaluate and publish whatever is out of date, saying why; the published model's report.

    Raises RecipeError when the sources have changed since the run was begun: `train` alone goes on with what it has.
    """
    if fork is None:
        _same_text(recipe, workspace)
    trained = train(recipe, workspace, fork=fork)
    evaluate_run(trained, workspace)
    return publish_run(trained, workspace)


def _same_text(recipe: Recipe, workspace: Workspace) -> None:
    run, data = workspace.run(recipe.name), prepare(recipe, workspace)
    if not (run.exists and (run.path / lineage.NAME).is_file()) or remembrance.held(run, workspace):
        return  # it is new, or `train` will say why it is not to go on
    if lineage.read_lineage(run.path).spec["tokens"] != data.prepared.tokens.id:
        raise RecipeError(
            "was begun with other text: its sources have changed since then",
            where=f"run {run.name}",
            advice="`textmill train` goes on with the text it was begun with; to train on the new text, give the "
            "recipe another name (--set name=NAME), or begin a new run with these weights by --fork NAME",
        )
