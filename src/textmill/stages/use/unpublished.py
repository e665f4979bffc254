"""A run that is not published yet, or still being trained, as a model to be tried."""

from __future__ import annotations

from textmill.models.pretrained import Pretrained
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.weights import best_weights
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint


def usable(run: Run) -> bool:
    """Whether a run has a whole checkpoint, and nothing published yet."""
    published = (run.model / "config.json").is_file()
    return not published and checkpoint.newest_whole(run.checkpoints).path is not None


def unpublished(run: Run, workspace: Workspace) -> Pretrained:
    """The run's best checkpoint so far, as it would be published; it says itself that it is not.

    Raises TextmillError when there is no whole checkpoint yet.
    """
    weights = best_weights(run)
    data = trained_on(run, workspace)
    return Pretrained(
        model=weights.build(data),
        tokenizer=data.tokenizer,
        spec=data.recipe.model,
        generation=data.recipe.generation,
        info={"objective": data.recipe.objective.kind},
        warnings=(
            f"{run.name} is not published: this is its best checkpoint so far, "
            f"of step {weights.step:,} of {run.steps:,}",
        ),
    )
