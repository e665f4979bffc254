"""`textmill train`: begin a run, go on with it exactly where it was, or begin a new one with its weights."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from textmill.base import files, locks, schema
from textmill.base.console import Reporter, Silent, counted
from textmill.base.errors import DamagedError, Interrupted, RecipeError, TextmillError
from textmill.base.language import say
from textmill.specs import recipe_file as recipes
from textmill.specs.recipe import Recipe
from textmill.stages.preparation.prepare import prepare, trained_on
from textmill.stages.runs import forking
from textmill.stages.runs.board import board
from textmill.stages.runs.session import Session
from textmill.stages.workspace import interrupt, lineage, remembrance
from textmill.stages.workspace.environment import environment
from textmill.stages.workspace.run import Run, Start
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.models.model import Model

# Keys that may change between two sessions of one run: they do not touch the weights.
_NAMED = 4  # tensors
_FREE = ("name", "task", "evaluation", "generation", "training.save", "training.nonfinite", "start.model")


def train(recipe: Recipe, workspace: Workspace, *, fork: str | None = None) -> Run:
    """Train the model of a recipe to the end of its steps.

    A run that exists is resumed with what it was begun with; its sources are not looked at. Raises RecipeError, with
    the difference, when it was begun with another recipe; `fork` then begins a new run of that name with the old one's
    newest weights. Another process that trains the same run is waited for. Raises Interrupted when asked to stop, after
    saving.
    """
    from textmill.training import device, distributed

    compute = device.choose(recipe.training)
    device.prepare(compute, recipe.training)
    with distributed.join(compute.device, recipe.training.parallel) as world:
        if not world.first:  # the first rank makes what is missing; the others then find it
            world.barrier()
        workspace = Workspace(workspace.root, workspace.reporter if world.first else Silent())
        old = workspace.run(recipe.name)
        if fork is not None:
            recipe = dataclasses.replace(recipe, name=fork)
        run = workspace.run(recipe.name)
        data = _data(run, recipe, workspace, old if fork is not None else None)
        known = run.exists
        with _locked(run, workspace) if world.first else contextlib.nullcontext():
            if run.exists and not known:  # somebody else began it while it was waited for
                data = _data(run, recipe, workspace, old if fork is not None else None)
            if world.first:
                for folder in (run.path, run.checkpoints):
                    files.remove_partial(folder)
                if not run.exists:
                    _begin_new(run, data, workspace, old if fork is not None else None)
                world.barrier()
            with interrupt.listening() as stop:
                session = _at_once if recipe.at_once else _trained
                session(run, data, world, compute, workspace, stop)
    return run


def _locked(run: Run, workspace: Workspace) -> contextlib.AbstractContextManager[None]:
    def waiting(holder: str) -> None:
        workspace.reporter.stage("train", "waiting", f"{holder}, is training it; Ctrl-C stops waiting")

    return locks.lock(run.path, f"textmill train {run.name}", waiting=waiting)


def _data(run: Run, recipe: Recipe, workspace: Workspace, old: Run | None) -> RunData:
    """What a run goes on with, or what is prepared for a new one; `old`: it is a fork of that.

    Raises RecipeError when it was begun with another recipe, TextmillError when it would go on with what is to be
    forgotten, or when a fork does not fit.
    """
    if old is not None:
        if not old.exists:
            raise TextmillError(
                "no such run to fork", where=old.name, advice="`textmill runs` lists what there is"
            )
        forking.check_new(old, run)
    if run.exists:
        _same_recipe(run, recipe)
        data = dataclasses.replace(trained_on(run, workspace), recipe=recipe)
        if left := remembrance.held(run, workspace):
            _refuse_forgotten(run, left, workspace)
        return data
    if old is None:
        data = prepare(recipe, workspace)
        if (started := forking.run_of(data, workspace)) is not None:
            forking.check_data(started, data, workspace, where="start.model")
            _warn_of_forgotten(started, workspace)
        forking.check_replay(data)
        return data
    forking.check_fits(old, recipe)
    data = prepare(recipe, workspace, tokenizer=trained_on(old, workspace).prepared.tokenizer)
    forking.check_labels(old, data, workspace)
    forking.check_data(old, data, workspace, where="--fork")
    _warn_of_forgotten(old, workspace)
    return data


def _warn_of_forgotten(old: Run, workspace: Workspace) -> None:
    """Of a run whose weights another begins with."""
    if left := remembrance.held(old, workspace):
        workspace.reporter.warn(f"the weights of {old.name} have seen {left.said()}")


def _refuse_forgotten(run: Run, left: remembrance.Held, workspace: Workspace) -> None:
    """A run that is done is left as it is, with a warning; one that would train on is not."""
    from textmill.training import checkpoint

    done = checkpoint.listed(run.checkpoints)
    if done and checkpoint.step_of(done[-1]) >= run.steps:
        workspace.reporter.warn(f"{run.name} was trained on {left.said()}")
        return
    raise TextmillError(
        f"was begun with {left.said()}",
        where=f"run {run.name}",
        advice="a model cannot unlearn: train again without it under another name, --set name=NAME "
        "(`textmill prepare` leaves it out), or take it off the list by `textmill forget --undo`; "
        f"{run.name} is left as it is",
    )


def _begin_new(run: Run, data: RunData, workspace: Workspace, old: Run | None) -> None:
    """Write what a run is begun with; of a fork, its first weights before."""
    from textmill.training import checkpoint

    left = checkpoint.listed(run.checkpoints)
    if left and checkpoint.step_of(left[-1]) > 0:
        raise DamagedError(
            "is missing, and the run has checkpoints",
            where=run.recipe_file,
            advice="put it back, or move the run's folder away",
        )
    for path in left:  # a fork that was killed before it was begun
        files.discard(path)
    start = None
    if old is not None:
        start = forking.begin(old, run)
        run.event("forked", run=start.run, step=start.step, weights=start.weights)
    elif data.prepared.start is not None:
        start = forking.started(data, workspace)
        run.event("started from", **dataclasses.asdict(start))
    if start is not None:
        workspace.reporter.note(f"{run.name} starts from {start.named}")
    _begin(run, data, workspace, start)


def _at_once(run: Run, data: RunData, world: Any, compute: Any, workspace: Workspace, stop: Any) -> None:
    """One step on one rank: there is nothing to go on with, it is done or it is not."""
    from textmill.stages.runs.counting import count_run
    from textmill.stages.runs.fitting import fit_run
    from textmill.stages.runs.prompting import prompt_run
    from textmill.training import checkpoint

    if not world.first:
        return
    done = checkpoint.newest_whole(run.checkpoints).path is not None
    _begin(run, data, workspace, run.start)
    if done:
        workspace.reporter.stage("train", "up to date")
        return
    make, *words = {
        "ngram": (count_run, "being counted", "a single pass over the text"),
        "linear": (fit_run, "being fitted", "all texts at once"),
    }.get(data.recipe.model.kind, (prompt_run, "being prompted", "nothing is trained"))
    workspace.reporter.stage("train", *words)
    run.event("started", step=0)
    loss = make(run, data, workspace)
    run.event("finished", step=1)
    workspace.reporter.stage("train", "done", "" if loss is None else f"best validation loss {loss}")


def _trained(run: Run, data: RunData, world: Any, compute: Any, workspace: Workspace, stop: Any) -> None:
    reporter, training = workspace.reporter, data.recipe.training
    session = open_session(run, data, world, compute, reporter, stop)
    resumed = session.restore()
    if world.first:
        _begin(run, data, workspace, run.start)
        where = f"from step {session.progress.step:,}" if resumed else "from the beginning"
        length = (
            counted(training.steps, "step") if training.minutes is None else f"{training.minutes:g} minutes"
        )
        reporter.stage("train", length, where)
        run.event("resumed" if resumed else "started", step=session.progress.step)
    if session.progress.micro_batch is None:
        fit = fitting(data, compute, world.size)
        session.progress.micro_batch, session.progress.loss_chunk = fit.micro_batch, fit.loss_chunk
        if training.nonfinite == "skip":  # there must be something to go back to
            session.save()
    if world.first:
        session.board = board(run, session.progress.step)
    try:
        session.go()
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped at once: {session.lost()}",
            where=run.name,
            advice="the same command resumes there",
        ) from None
    finally:
        session.board.close()
    if world.first:
        run.event("finished", step=session.progress.step)
        reporter.stage(
            "train",
            "done",
            f"{counted(session.progress.step, 'step')}, best validation loss {_loss(session)}",
        )


def fitting(data: RunData, compute: Any, ranks: int = 1) -> Any:
    """The micro-batch and the chunk of the loss that fit this machine's memory (training.memory.Fit)."""
    from textmill.training import memory

    recipe, vocabulary, longest = data.recipe, data.vocabulary, data.longest
    training, most = recipe.training, recipe.objective.batch_tokens
    if (groups := recipe.objective.groups(training.batch)) is not None:
        return _fitting_groups(data, compute, ranks, groups)
    if most is None:
        return memory.fit(
            recipe.trained, training, vocabulary, longest, compute, ranks=ranks, tuning=recipe.tuning
        )
    # A batch of so many tokens is at its largest as rows of the longest; where those fit, any of its batches does.
    rows = max(1, most // longest)
    training = dataclasses.replace(training, batch=rows * ranks)
    fit = memory.fit(
        recipe.trained, training, vocabulary, longest, compute, ranks=ranks, tuning=recipe.tuning
    )
    return fit if fit.micro_batch < rows else dataclasses.replace(fit, micro_batch=most)


def _fitting_groups(data: RunData, compute: Any, ranks: int, groups: int) -> Any:
    """The same where an update is groups of texts that are never cut: the micro-batch is a number of groups, one at
    least."""
    from textmill.training import memory

    recipe, view = data.recipe, data.loader().view  # type: ignore[attr-defined]  # of a GroupLoader
    given = recipe.training.micro_batch
    scaled = dataclasses.replace(
        recipe.training,
        batch=groups * view.texts,
        micro_batch=None if given is None else given // view.group * view.texts,
    )

    def fit(training: Any) -> Any:
        return memory.fit(
            recipe.trained,
            training,
            data.vocabulary,
            data.longest,
            compute,
            ranks=ranks,
            tuning=recipe.tuning,
        )

    found = fit(scaled)
    whole = max(1, found.micro_batch // view.texts)
    if whole * view.texts != found.micro_batch:
        found = fit(dataclasses.replace(scaled, micro_batch=whole * view.texts))
    return dataclasses.replace(found, micro_batch=whole)


def _loss(session: Session) -> str:
    best = session.progress.best
    return "not measured" if best is None else f"{best:.4f} {say(session.data.objective.loss_unit)}"


def open_session(run: Run, data: RunData, world: Any, compute: Any, reporter: Reporter, stop: Any) -> Session:
    """The model, optimiser and data of a run, as they are before step 0."""
    from textmill.models import cost, names
    from textmill.training import optimizer
    from textmill.training.average import WeightAverage

    recipe = data.recipe
    model = _first_model(run, data, reporter if world.first else Silent())
    names.freeze(model, recipe.training.freeze)
    model = _placed(model, recipe, world, compute)
    average = recipe.training.average
    return Session(
        run=run,
        data=data,
        world=world,
        compute=compute,
        model=model,
        flops_per_token=cost.flops_per_token(
            recipe.trained, data.vocabulary, recipe.sequence, frozen=recipe.tuning is not None
        ),
        optimizer=optimizer.build(model, recipe.training.optimizer, layer_decay=recipe.training.layer_decay),
        average=WeightAverage(model, average.decay) if average is not None else None,
        reporter=reporter,
        stop=stop,
    )


def _first_model(run: Run, data: RunData, reporter: Reporter) -> Model:
    """The model before the newest checkpoint is taken up, where there is one. Says what its start did not fill."""
    from textmill.training import checkpoint

    if checkpoint.newest_whole(run.checkpoints).path is not None:
        return data.fresh()
    model, taken = data.begun()
    if taken is not None and taken.new:
        reporter.note(f"initialized at random: {_in_short(taken.new)}")
    if taken is not None and taken.left:
        reporter.note(f"not taken from the start: {_in_short(taken.left)}")
    return model


def _in_short(names: tuple[str, ...]) -> str:
    """A few names as they are, many by the first of them."""
    return ", ".join(names) if len(names) <= _NAMED else f"{', '.join(names[:_NAMED])}, … ({len(names)})"


def _placed(model: Any, recipe: Recipe, world: Any, compute: Any) -> Any:
    """The model on its device, compiled or cut up over the ranks as the recipe says."""
    from textmill.training import device, distributed

    model = model.to(world.device)
    if compute.compile:
        device.compile_blocks(model)
    if world.sharded:
        distributed.shard(model, world, bf16=compute.precision == "bf16")
    return model


def _begin(run: Run, data: RunData, workspace: Workspace, start: Start | None) -> None:
    """Write the recipe of a session, where it is another than the last one's, and where the run comes from."""
    recipe, prepared = data.recipe, data.prepared
    bound = _bound(recipes.as_written(recipe))
    spec: dict[str, Any] = {"tokens": prepared.tokens.id, "tokenizer": prepared.tokenizer.id}
    parents = [prepared.tokens]
    if prepared.reference is not None:
        spec["reference"] = prepared.reference.id
        parents.append(prepared.reference)
    if prepared.replay is not None:
        spec["replay"] = prepared.replay[1].id
        parents.append(prepared.replay[1])
    if start is not None:
        spec["start"] = dataclasses.asdict(start)
        if start.model and prepared.start is not None:
            parents.append(prepared.start)
        elif start.run is not None and not start.model:
            with contextlib.suppress(TextmillError):  # it may be gone by now
                parents.append(lineage.read_lineage(workspace.run(start.run).path))
    lineage.write_lineage(
        run.path,
        kind="run",
        key=files.value_id(bound),
        spec=spec,
        parents=parents,
        names=(),  # each of its files says itself whether it is as written
        identity=files.value_id({"recipe": bound, **spec}),
    )
    # Last, for a run is there once its recipe is: killed before, it was never begun.
    if not (run.exists and (run.path / "environment.json").is_file()) or run.recipe() != recipe:
        run.begin(recipe, environment())


def _bound(recipe: Recipe) -> dict[str, Any]:
    """The plain recipe without the keys that may change freely."""
    plain = schema.write(recipe)
    for key in _FREE:
        *path, last = key.split(".")
        table = plain
        for part in path:
            table = table.get(part) or {}
        table.pop(last, None)
    return plain


def changes(run: Run, recipe: Recipe) -> list[tuple[str, Any, Any]]:
    """(key, run's value, recipe's value) for every difference that would change the weights.

    Where sources stand makes none, if the workspace has moved since, or if they are gone: a run goes on without them.
    """
    old, then = run.recipe(), run.recipe_then()
    if recipes.same_places(then, recipe) or recipes.same_but_gone(old, recipe):
        recipe = recipes.placed(recipe, old)
    return recipes.difference(_bound(old), _bound(recipe))


def _same_recipe(run: Run, recipe: Recipe) -> None:
    different = changes(run, recipe)
    if different:
        lines = "".join(f"\n  {key}: {_said(old)} -> {_said(new)}" for key, old, new in different)
        raise RecipeError(
            f"was begun with another recipe:{lines}\n",
            where=f"run {run.name}",
            advice="put the recipe back, give the new one another name, or begin a new run with its weights by "
            "--fork NAME",
        )


def _said(value: Any) -> str:
    return "not set" if value is None else repr(value)


def summary(run: Run) -> dict[str, Any]:
    """What a person wants to know when training is over."""
    from textmill.stages.runs.history import details

    workspace = Workspace(run.path.parent.parent, Silent())
    return details(workspace, run.name)
