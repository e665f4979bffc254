"""`textmill train`: begin a run, or go on with it exactly where it was; fork it when the recipe has changed."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from textmill.base import files, schema
from textmill.base.console import Reporter, Silent
from textmill.base.errors import RecipeError, TextmillError
from textmill.specs import recipe_file as recipes
from textmill.specs.model import TRAINED
from textmill.specs.recipe import Recipe
from textmill.stages.preparation.prepare import prepare
from textmill.stages.runs.board import board
from textmill.stages.runs.session import Session
from textmill.stages.workspace import interrupt, lineage
from textmill.stages.workspace.environment import environment
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.workspace import Workspace

# Keys that may change between two sessions of one run: they do not touch the weights.
_FREE = ("name", "evaluation", "generation", "training.save", "training.nonfinite")


def train(recipe: Recipe, workspace: Workspace, *, fork: str | None = None) -> Run:
    """Train the model of a recipe to the end of its steps.

    A run that exists is resumed. Raises RecipeError, with the difference, when it was begun with another
    recipe; `fork` then goes on under a new name, from the old run's newest checkpoint if the model is the
    same. Raises Interrupted when asked to stop, after saving.
    """
    from textmill.training import device, distributed

    compute = device.choose(recipe.training)
    device.prepare(compute, recipe.training)
    with distributed.join(compute.device, recipe.training.parallel) as world, interrupt.listening() as stop:
        if not world.first:  # the first rank makes what is missing; the others then find it
            world.barrier()
        reporter: Reporter = workspace.reporter if world.first else Silent()
        workspace = Workspace(workspace.root, reporter)
        data = prepare(recipe, workspace)
        run = workspace.run(recipe.name)
        if fork is not None:
            run, recipe = _fork(run, recipe, fork, workspace, world.first)
            data = dataclasses.replace(data, recipe=recipe)
        elif run.exists:
            _same_recipe(run, recipe)
            _same_text(run, data)
        if world.first:
            world.barrier()
        with files.lock(run.path, f"textmill train {run.name}") if world.first else contextlib.nullcontext():
            _SESSIONS[recipe.model.kind](run, data, world, compute, workspace, stop)
    return run


def _counted(run: Run, data: RunData, world: Any, compute: Any, workspace: Workspace, stop: Any) -> None:
    """One step on one rank: there is nothing to go on with, it is done or it is not."""
    from textmill.stages.runs.counting import count_run
    from textmill.training import checkpoint

    if not world.first:
        return
    for folder in (run.path, run.checkpoints):
        files.remove_partial(folder)
    done = checkpoint.newest_whole(run.checkpoints).path is not None
    _begin(run, data, done)
    if done:
        workspace.reporter.stage("train", "up to date")
        return
    workspace.reporter.stage("train", "being counted", "a single pass over the text")
    run.event("started", step=0)
    count_run(run, data, workspace)
    run.event("finished", step=1)
    workspace.reporter.stage("train", "done")


def _trained(run: Run, data: RunData, world: Any, compute: Any, workspace: Workspace, stop: Any) -> None:
    reporter, training = workspace.reporter, data.recipe.training
    session = open_session(run, data, world, compute, reporter, stop)
    if world.first:
        for folder in (run.path, run.checkpoints):
            files.remove_partial(folder)
    resumed = session.restore()
    if world.first:
        _begin(run, data, resumed)
        where = f"from step {session.progress.step:,}" if resumed else "from the beginning"
        reporter.stage("train", f"{training.steps:,} steps", where)
        run.event("resumed" if resumed else "started", step=session.progress.step)
    if not resumed:
        fit = fitting(data, compute, world.size)
        session.progress.micro_batch, session.progress.loss_chunk = fit.micro_batch, fit.loss_chunk
        if training.nonfinite == "skip":  # there must be something to go back to
            session.save()
    if world.first:
        session.board = board(run, session.progress.step)
    try:
        session.go()
    finally:
        session.board.close()
    if world.first:
        run.event("finished", step=session.progress.step)
        reporter.stage(
            "train", "done", f"{session.progress.step:,} steps, best validation loss {_loss(session)}"
        )


# How a run of each kind of model is trained.
_SESSIONS = {**dict.fromkeys(TRAINED, _trained), "ngram": _counted}


def fitting(data: RunData, compute: Any, ranks: int = 1) -> Any:
    """The micro-batch and the chunk of the loss that fit this machine's memory (training.memory.Fit)."""
    from textmill.training import memory

    recipe, vocabulary, longest = data.recipe, data.vocabulary, data.longest
    training, most = recipe.training, recipe.objective.batch_tokens
    if most is None:
        return memory.fit(recipe.trained, training, vocabulary, longest, compute, ranks=ranks)
    # A batch of so many tokens is at its largest as rows of the longest; where those fit, any of its batches does.
    rows = max(1, most // longest)
    training = dataclasses.replace(training, batch=rows * ranks)
    fit = memory.fit(recipe.trained, training, vocabulary, longest, compute, ranks=ranks)
    return fit if fit.micro_batch < rows else dataclasses.replace(fit, micro_batch=most)


def _loss(session: Session) -> str:
    best = session.progress.best
    return "not measured" if best is None else f"{best:.4f} {session.data.objective.loss_unit}"


def open_session(run: Run, data: RunData, world: Any, compute: Any, reporter: Reporter, stop: Any) -> Session:
    """The model, optimiser and data of a run, as they are before step 0."""
    from textmill.models import cost
    from textmill.training import optimizer
    from textmill.training.average import WeightAverage

    recipe = data.recipe
    model = _placed(data.model(), recipe, world, compute)
    average = recipe.training.average
    return Session(
        run=run,
        data=data,
        world=world,
        compute=compute,
        model=model,
        flops_per_token=cost.flops_per_token(recipe.trained, data.vocabulary, recipe.sequence),
        optimizer=optimizer.build(model, recipe.training.optimizer),
        average=WeightAverage(model, average.decay) if average is not None else None,
        reporter=reporter,
        stop=stop,
    )


def _placed(model: Any, recipe: Recipe, world: Any, compute: Any) -> Any:
    """The model on its device, compiled or cut up over the ranks as the recipe says."""
    from textmill.training import device, distributed

    model = model.to(world.device)
    if compute.compile:
        device.compile_blocks(model)
    if world.sharded:
        distributed.shard(model, world, bf16=compute.precision == "bf16")
    return model


def _begin(run: Run, data: RunData, resumed: bool) -> None:
    recipe, prepared = data.recipe, data.prepared
    if not run.exists or run.recipe() != recipe:
        run.begin(recipe, environment())
    lineage.write_lineage(
        run.path,
        kind="run",
        key=files.value_id(_bound(recipe)),
        spec={"tokens": prepared.tokens.id, "tokenizer": prepared.tokenizer.id},
        parents=(prepared.tokens,),
        names=("recipe.toml",),
    )


def _bound(recipe: Recipe) -> dict[str, Any]:
    """The plain recipe without the keys that may change freely."""
    plain = schema.write(recipe)
    for key in _FREE:
        *path, last = key.split(".")
        table = plain
        for part in path:
            table = table[part]
        table.pop(last, None)
    return plain


def changes(run: Run, recipe: Recipe) -> list[tuple[str, Any, Any]]:
    """(key, run's value, recipe's value) for every difference that would change the weights."""
    return recipes.difference(_bound(run.recipe()), _bound(recipe))


def _same_recipe(run: Run, recipe: Recipe) -> None:
    different = changes(run, recipe)
    if different:
        lines = "".join(f"\n  {key}: {_said(old)} -> {_said(new)}" for key, old, new in different)
        raise RecipeError(
            f"was begun with another recipe:{lines}\n",
            where=f"run {run.name}",
            advice="put the recipe back, give the new one another name, or go on from here as a new run "
            "with --fork NAME",
        )


def _same_text(run: Run, data: RunData) -> None:
    """Raises RecipeError when the sources have changed since the run was begun: it would go on with other batches."""
    if (run.path / lineage.NAME).is_file() and lineage.read_lineage(run.path).spec[
        "tokens"
    ] != data.prepared.tokens.id:
        raise RecipeError(
            "was begun with other text: its sources have changed since",
            where=f"run {run.name}",
            advice="put them back, give the recipe another name, or go on with the new text by --fork NAME",
        )


def _said(value: Any) -> str:
    return "not set" if value is None else repr(value)


def _fork(old: Run, recipe: Recipe, name: str, workspace: Workspace, first: bool) -> tuple[Run, Recipe]:
    """A new run of the changed recipe; its first weights are the old run's newest, if they fit."""
    import shutil

    from textmill.training import checkpoint

    recipe = dataclasses.replace(recipe, name=name)
    run = workspace.run(name)
    if run.exists:
        _same_recipe(run, recipe)
        return run, recipe
    if not old.exists:
        raise TextmillError("there is no such run to fork", where=old.name)
    if not first:
        return run, recipe
    before = old.recipe()
    fits = before.model == recipe.model and before.tokenizer == recipe.tokenizer
    fits = fits and before.training.optimizer.kind == recipe.training.optimizer.kind
    newest = checkpoint.newest_whole(old.checkpoints) if fits else None
    if newest is not None and newest.path is not None:
        with files.atomic_directory(run.checkpoints / newest.path.name) as partial:
            shutil.copytree(newest.path, partial, dirs_exist_ok=True)
        workspace.reporter.note(f"{name}: goes on from {old.name}, {newest.path.name}")
        run.event("forked", run=old.name, checkpoint=newest.path.name)
    else:
        workspace.reporter.note(f"{name}: begins anew, since the model or the optimiser is another one")
    return run, recipe


def summary(run: Run) -> dict[str, Any]:
    """What a person wants to know when training is over."""
    from textmill.stages.runs.history import details

    workspace = Workspace(run.path.parent.parent, Silent())
    return details(workspace, run.name)
