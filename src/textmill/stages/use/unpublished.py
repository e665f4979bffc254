"""A checkpoint of a run, which may still be in training, as a model to be tried."""

from __future__ import annotations

import dataclasses

from textmill.models.pretrained import Pretrained
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.workspace.facts import facts
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.weights import BEST, held
from textmill.stages.workspace.workspace import Workspace


def unpublished(run: Run, workspace: Workspace, which: str = BEST) -> Pretrained:
    """A run's checkpoint (`best` so far, `latest`, or a step) as it would be published; it says itself that it is not.

    Raises TextmillError when there is no whole checkpoint yet, RecipeError for one that is not there.
    """
    with held(run, which) as weights:
        data = trained_on(run, workspace)
        model = weights.build(data)
    said = f"this is {run.name} after step {weights.step:,} of {run.steps:,}"
    if which == BEST:
        said = (
            f"{run.name} is not published: this is its best checkpoint so far, "
            f"of step {weights.step:,} of {run.steps:,}"
        )
    pretrained = data.pretrained(model, facts(data))
    return dataclasses.replace(pretrained, warnings=(said,))
