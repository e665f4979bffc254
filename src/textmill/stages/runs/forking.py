"""A run whose first weights are another's: a fork of a run, or one whose recipe has a [start].

A fork takes a run's newest weights and their tokenizer, and nothing else. Of both, steps, optimiser, schedule and best
score begin anew, and the lineage names what they began with. What that was trained on, where it is known, must not be
what they are judged on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base import schema
from textmill.base.console import counted
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import read_json, value_id
from textmill.data.examples import ExampleStore
from textmill.specs import recipe_file as recipes
from textmill.specs.model import AtOnceSpec
from textmill.specs.recipe import Recipe
from textmill.stages.preparation.prepare import still_there, trained_on
from textmill.stages.workspace import starts
from textmill.stages.workspace.run import Run, Start
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.weights import newest_weights
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint

_KEPT = (
    "tokenizer",
    "model",
    "objective",
    "start",
)  # tables of a recipe that a fork has from the run it begins with


_NO_FORK = {
    "ngram": "is an n-gram model, which is counted, not trained: it has no weights to begin with",
    "linear": "is a linear model, which is fitted at once: it begins with no weights",
}


def check_new(old: Run, new: Run) -> None:
    """Raises RecipeError when a fork cannot have that name: something else is there."""
    if new.exists and (new.name == old.name or (start := new.start) is None or start.run != old.name):
        raise RecipeError(
            f"already exists, and is no fork of {old.name}",
            where=f"--fork {new.name}",
            advice="give the fork another name; to resume a run, name it without --fork "
            f"(--set name={new.name})",
        )


def check_fits(old: Run, recipe: Recipe) -> None:
    """Raises RecipeError, with the difference, when weights of a run cannot be what a recipe's model begins with."""
    if isinstance(recipe.model, AtOnceSpec):
        raise RecipeError(
            _NO_FORK[recipe.model.kind],
            where="--fork",
            advice="train it under another name: --set name=NAME",
        )
    before, wanted = (schema.write(each) for each in (old.recipe(), recipe))
    kept, asked = ({key: plain.get(key) for key in _KEPT} for plain in (before, wanted))
    different = recipes.difference(kept, asked)
    if different:
        lines = "".join(f"\n  {key}: {was!r} -> {now!r}" for key, was, now in different)
        raise RecipeError(
            f"a fork begins with the weights and the tokenizer of {old.name}, and these settings differ:{lines}\n",
            where="--fork",
            advice="restore them, or start again under another name: --set name=NAME",
        )


def check_labels(old: Run, data: RunData, workspace: Workspace) -> None:
    """Raises TextmillError when a fork has other labels than the run whose weights it goes on with."""
    if _labels(trained_on(old, workspace)) != _labels(data):
        raise TextmillError(
            f"has other labels than {old.name}, so its weights do not fit",
            where="--fork",
            advice="start again under another name: --set name=NAME",
        )


def run_of(data: RunData, workspace: Workspace) -> Run | None:
    """The run here that made the model another begins with; None where there is no start, or it was made elsewhere."""
    start = data.prepared.start
    return None if start is None else starts.made_by(start, workspace.root)


def started(data: RunData, workspace: Workspace) -> Start:
    """What a run that has a start begins with, for its lineage."""
    artifact, asked = data.prepared.start, data.recipe.start
    assert artifact is not None
    assert asked is not None
    named = Path(asked.model).name if recipes.is_path(asked.model) else asked.model
    run = starts.made_by(artifact, workspace.root)
    if run is None:
        return Start(None, None, artifact.spec["hash"], named)
    about = artifact.spec
    if "step" not in about:  # what was published says it itself
        info = read_json(starts.model_path(artifact.path) / "textmill.json")["info"]
        about = {"step": info["step"], "weights": info["lineage"]["weights"]}
    return Start(run.name, int(about["step"]), str(about["weights"]), named)


def check_data(old: Run, data: RunData, workspace: Workspace, *, where: str) -> None:
    """Raises TextmillError when what begins with a run's weights would be judged on what they were trained on."""
    pairs = [
        (run, before, held)
        for run, trained in _ancestors(old, workspace)
        for before in trained.all
        for held in data.all
        if before.prepared.corpus.id != held.prepared.corpus.id
    ]
    for run, before, held in pairs:
        for part in ("validation", "test"):
            if shared := _shared(before, held, part):
                raise TextmillError(
                    f"its {part} split holds {counted(len(shared), 'document')} that {run.name} was trained on, "
                    f"such as {shared[0]}",
                    where=where,
                    advice="keep that run's corpus.split, and the documents it held out; or start again under "
                    "another name: --set name=NAME",
                )


def check_replay(data: RunData) -> None:
    """Raises TextmillError when what is replayed is in what a run is judged on, or the other way round."""
    if data.general is None or data.general.prepared.corpus.id == data.prepared.corpus.id:
        return
    for before, held in ((data.general, data), (data, data.general)):
        for part in ("validation", "test"):
            if shared := _shared(before, held, part):
                raise TextmillError(
                    f"the {part} split of one corpus holds {counted(len(shared), 'document')} that the training "
                    f"split of the other holds, such as {shared[0]}",
                    where="replay.corpus",
                    advice="replay text that the recipe's own corpus does not hold",
                )


def _labels(data: RunData) -> Any:
    store = data.store("train")
    return store.labels if isinstance(store, ExampleStore) else None


def _ancestors(run: Run, workspace: Workspace) -> Iterator[tuple[Run, RunData]]:
    """A run and those it descends from, with what each was trained on."""
    while (data := still_there(run, workspace)) is not None:
        yield run, data
        start = run.start
        if start is None or start.run is None:
            return
        run = workspace.run(start.run)
        if not run.exists:
            return


def _shared(before: RunData, data: RunData, part: str) -> list[str]:
    """The documents of a part that were trained on before: of those that were cut up, where the piece is another."""
    held, trained = data.texts(part), before.texts("train")
    known = before.texts(part)
    ids, read = _sizes(held), _sizes(trained)
    same = _sizes(known)
    return [name for name, size in ids.items() if name in read and same.get(name) != size]


def _sizes(texts: Any) -> dict[str, int]:
    """document -> its tokens in a part."""
    names = np.ascontiguousarray(texts.document_ids).view("V16").ravel()
    lengths = np.diff(texts.offsets)
    unique, index = np.unique(names, return_inverse=True)
    return dict(
        zip(
            (name.tobytes().hex() for name in unique),
            np.bincount(index, lengths).astype(int).tolist(),
            strict=True,
        )
    )


def begin(old: Run, new: Run) -> Start:
    """Write the fork's checkpoint of step 0: the newest weights of a run, and nothing else of it.

    Raises TextmillError when that run has none, DamagedError when the newest were changed after they were written.
    """
    from textmill.stages.runs.session import Progress

    path = newest_weights(old)
    saved = checkpoint.load(path)
    checkpoint.save(new.checkpoints, 0, model=saved.model, optimizer={}, state=Progress().plain())
    return Start(old.name, saved.step, value_id(read_json(path / checkpoint.MANIFEST)["files"]))
