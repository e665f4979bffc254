"""The "training" of a model that is only asked: examples are drawn, and what the prompt leans to is worked out."""

from __future__ import annotations

import time

import numpy as np

from textmill.models.prompted import Example, Prompted, held
from textmill.objectives.loss import evaluate_loss
from textmill.specs.tuning import PromptingTuning
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.workspace import Workspace


def prompted(data: RunData) -> Prompted:
    """The start's model with the examples of a recipe. Raises RecipeError where no training record is there to draw."""
    tuning = data.recipe.tuning
    assert isinstance(tuning, PromptingTuning)
    wanted = tuning.examples if tuning.choose == "random" else tuning.pool
    model = data.prompted(_drawn(data, wanted) if tuning.examples else [])
    return model.settle().eval()


def _drawn(data: RunData, number: int) -> list[Example]:
    """Training records in an order of the seed, as many as are wanted; the first of fewer are those of more."""
    store = data.not_empty("train")
    order = np.random.default_rng(data.recipe.seed).permutation(len(store))[:number].tolist()
    role = data.recipe.objective.roles[0]
    texts = {
        place: document.texts[role]
        for place, document in enumerate(data.documents("train"))
        if place in set(order)
    }
    return [(texts[place], int(store.field("value", place)[0])) for place in order]  # type: ignore[union-attr]


def prompt_run(run: Run, data: RunData, workspace: Workspace) -> None:
    """Draw, look at the validation split, and save: all of such a run, its first step and last."""
    from textmill.stages.runs.session import Progress
    from textmill.training import checkpoint

    started = time.perf_counter()
    model = prompted(data)
    run.log({"step": 1, "seconds": round(time.perf_counter() - started, 4)})
    progress = Progress(step=1, base=data.recipe.start.hash if data.recipe.start else None)
    if len(data.store("validation")):
        recipe = data.recipe
        losses = data.objective.losses(recipe.objective, sequence=recipe.sequence)
        batches = data.loader("validation").evaluation(8, tokens=recipe.training.evaluate_tokens)
        nats, number = evaluate_loss(model, (item.batch for item in batches), losses.validation)
        progress.best, progress.best_step = nats / max(number, 1), 1
        run.log({"step": 1, "validation": progress.best})
    checkpoint.save(run.checkpoints, 1, model=held(model), optimizer={}, state=progress.plain())
    run.event("saved", step=1)
