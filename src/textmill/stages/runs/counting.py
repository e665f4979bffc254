"""The training of a model that is counted: one pass over the text, then it is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.data.loader import evaluation_batches
from textmill.index.search import Index
from textmill.specs.model import NGramSpec
from textmill.stages.tracing.index import index
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.models.ngram.model import NGram

_POSITIONS = 8192  # scored at once


def count_model(spec: NGramSpec, data: RunData, workspace: Workspace) -> NGram:
    """The model of a prepared corpus' training part, from its index, which is built where it is missing.

    Raises RecipeError or TextmillError when there is nothing to count.
    """
    from textmill.models.ngram.fit import fit, text_of

    data.not_empty("train")
    corpus_index = Index(index(data, workspace).path)
    order = None
    if len(corpus_index.shards) == 1:
        [shard] = corpus_index.shards
        ids, order = np.asarray(shard.ids, dtype=np.int32), np.asarray(shard.suffixes)
    else:  # the orders of several shards do not add up to one
        ids = text_of(data.plain("train").ids, corpus_index.end)
    return fit(spec, ids, corpus_index.vocabulary, corpus_index.end, order=order)


def count_run(run: Run, data: RunData, workspace: Workspace) -> None:
    """Count, look at the validation split, and save: the whole training of such a run, its first step and last."""
    from textmill.stages.runs.session import Progress
    from textmill.training import checkpoint

    spec = data.recipe.model
    assert isinstance(spec, NGramSpec)
    started = time.perf_counter()
    model = count_model(spec, data, workspace)
    seconds = time.perf_counter() - started
    train = data.plain("train")
    speed = round(train.tokens / seconds, 1)
    run.log({"step": 1, "tokens": train.tokens, "tokens_per_second": speed, "seconds": round(seconds, 4)})
    progress = Progress(step=1, tokens=train.tokens)
    loss = _loss(model, data)
    if loss is not None:
        run.log({"step": 1, "validation": loss})
        progress.best, progress.best_step = loss, 1
    checkpoint.save(run.checkpoints, 1, model=model.state_dict(), optimizer={}, state=progress.plain())
    run.event("saved", step=1)


def _loss(model: Any, data: RunData) -> float | None:
    """Nats per token of the validation split, or of a sample of `training.evaluate_tokens`; None where it is empty."""
    from textmill.objectives.loss import evaluate_loss

    store, sequence = data.plain("validation"), data.recipe.sequence
    if not len(store):
        return None
    rows = max(1, _POSITIONS // sequence)
    batches = evaluation_batches(store, sequence, rows, tokens=data.recipe.training.evaluate_tokens)
    nats, targets = evaluate_loss(model, (item.batch for item in batches))
    return nats / targets
