"""The training of a linear model: all texts at once, then it is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from textmill.base.language import say
from textmill.specs.model import LinearSpec
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import Document
from textmill.tokenization.characters import without_surrogates

if TYPE_CHECKING:
    from textmill.models.linear.features import Row
    from textmill.models.linear.fit import Labelled

_ROWS = 64  # validated at once


def fit_run(run: Run, data: RunData, workspace: Workspace) -> str:
    """Fit, look at the validation split, and save: the whole training of such a run, its first step and last. How it
    went, in words.

    Raises RecipeError for a tokenizer that loses something of a text, or where there is nothing to learn from.
    """
    from textmill.models import build
    from textmill.models.linear.fit import fit
    from textmill.models.linear.model import check_tokenizer, outputs, tables
    from textmill.objectives.loss import evaluate_loss
    from textmill.stages.runs.session import Progress
    from textmill.training import checkpoint

    spec, head = data.recipe.model, data.head
    assert isinstance(spec, LinearSpec)
    assert head is not None
    # 1. The weights.
    check_tokenizer(data.tokenizer)
    data.not_empty("train")
    started = time.perf_counter()
    held = labelled(data, "validation") if len(data.store("validation")) else None
    fitted = fit(spec, labelled(data, "train"), outputs(head), held)
    seconds, tokens = time.perf_counter() - started, data.texts("train").tokens
    # 2. What is written down of them, and how well they do on the validation split.
    speed = round(tokens / seconds, 1)
    run.log({"step": 1, "tokens": tokens, "tokens_per_second": speed, "seconds": round(seconds, 4)})
    tried = {f"{penalty:g}": round(loss, 5) for penalty, loss in fitted.tried.items()}
    run.event("fitted", penalty=fitted.penalty, tried=tried, ngrams=len(fitted.keys))
    progress, state = Progress(step=1, tokens=tokens), tables(fitted, data.tokenizer)
    model = build.empty(spec, data.vocabulary, head)
    model.load_state_dict(state, assign=True)
    said = "not measured"
    if held is not None:
        batches = (item.batch for item in data.loader("validation").evaluation(_ROWS))
        losses = data.objective.losses(data.recipe.objective, sequence=data.recipe.sequence)
        nats, targets = evaluate_loss(model, batches, losses.validation)
        if targets:
            progress.best, progress.best_step = nats / targets, 1
            run.log({"step": 1, "validation": progress.best})
            said = f"{progress.best:.4f} {say(data.objective.loss_unit)}"
    checkpoint.save(run.checkpoints, 1, model=state, optimizer={}, state=progress.plain())
    run.event("saved", step=1)
    return said


def labelled(data: RunData, part: str) -> Labelled:
    """The texts of a part, and what is to be said of them."""
    from textmill.data.replay import ReplayLoader
    from textmill.models.linear.fit import Labelled

    loader = data.loader(part)
    view = (loader.first if isinstance(loader, ReplayLoader) else loader).view  # type: ignore[attr-defined]
    targets = view.targets(np.arange(len(data.store(part))), 0)[0].numpy()
    several = getattr(data.recipe.objective, "multiple", False)
    roles = data.recipe.objective.roles
    rows = [_row(document, roles) for document in data.documents(part)]
    return Labelled(rows, targets > 0 if several else targets)


def _row(document: Document, roles: tuple[str, ...]) -> Row:
    """What the objective reads of a document, as its tokenizer has it."""
    return tuple(without_surrogates(document.texts[role]) for role in roles)
