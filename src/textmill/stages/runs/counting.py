"""The training of a model that is counted: one pass over the text, then it is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.stages.workspace.run import Run
from textmill.data.loader import evaluation_batches
from textmill.data.tokens import TokenStore
from textmill.index.search import Index
from textmill.specs.model import NGramSpec
from textmill.specs.recipe import Recipe
from textmill.stages.workspace import inputs
from textmill.stages.tracing.index import index
from textmill.stages.workspace.prepared import Prepared
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.models.ngram.model import NGram

_POSITIONS = 8192  # scored at once


def count_model(spec: NGramSpec, prepared: Prepared, workspace: Workspace, *, name: str) -> NGram:
    """The model of a prepared corpus' training part, from its index, which is built where it is missing.

    Raises RecipeError or TextmillError when there is nothing to count.
    """
    from textmill.models.ngram.fit import fit, text_of

    inputs.not_empty(inputs.part(prepared, "train"))
    found = Index(index(prepared, workspace, name=name).path)
    order = None
    if len(found.shards) == 1:
        [shard] = found.shards
        ids, order = np.asarray(shard.ids, dtype=np.int32), np.asarray(shard.suffixes)
    else:  # the orders of several shards do not add up to one
        ids = text_of(inputs.part(prepared, "train").ids, found.end)
    return fit(spec, ids, found.vocabulary, found.end, order=order)


def count_run(run: Run, recipe: Recipe, prepared: Prepared, workspace: Workspace) -> None:
    """Count, look at the validation part, and save: the whole training of such a run, its first step and last."""
    from textmill.stages.runs.session import Progress
    from textmill.training import checkpoint

    assert isinstance(recipe.model, NGramSpec)
    started = time.perf_counter()
    model = count_model(recipe.model, prepared, workspace, name=recipe.name)
    seconds = time.perf_counter() - started
    train = inputs.part(prepared, "train")
    speed = round(train.tokens / seconds, 1)
    run.log({"step": 1, "tokens": train.tokens, "tokens_per_second": speed, "seconds": round(seconds, 4)})
    progress = Progress(step=1, tokens=train.tokens)
    loss = _loss(model, recipe, inputs.part(prepared, "validation"))
    if loss is not None:
        run.log({"step": 1, "validation": loss})
        progress.best, progress.best_step = loss, 1
    checkpoint.save(run.checkpoints, 1, model=model.state_dict(), optimizer={}, state=progress.plain())
    run.event("saved", step=1)


def _loss(model: Any, recipe: Recipe, store: TokenStore) -> float | None:
    """Nats a token of a part, or of a sample of `training.evaluate_tokens`; None where it is empty."""
    from textmill.training.loss import evaluate_loss

    if not len(store):
        return None
    sequence = recipe.sequence
    rows = max(1, _POSITIONS // sequence)
    batches = evaluation_batches(store, sequence, rows, tokens=recipe.training.evaluate_tokens)
    nats, targets = evaluate_loss(model, (item.batch for item in batches))
    return nats / targets
