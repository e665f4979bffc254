"""The weights of a run's checkpoints, averaged where it kept an average: it is judged and published by its best."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.base import locks
from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.base.files import read_json, value_id
from textmill.models.model import Model
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.training import checkpoint

BEST, LATEST = "best", "latest"
_TRIES = 3  # a run that trains may replace its best checkpoint at any moment


@dataclass(frozen=True)
class Weights:
    """A checkpoint that was chosen, and the id of what is in it."""

    path: Path
    step: int
    id: str

    def build(self, data: RunData) -> Model:
        """The model with these weights, in evaluation mode. Raises DamagedError when they are not as written."""
        saved = checkpoint.load(self.path)
        if data.recipe.tuning is not None:
            return data.adapted({**saved.model, **(saved.average or {})})
        model = data.empty()
        tensors: dict[str, Any] = {**saved.model, **(saved.average or {})}
        model.load_state_dict(tensors, assign=True)
        return model.eval()


def newest_weights(run: Run) -> Path:
    """A run's newest checkpoint, whole.

    Raises TextmillError when it has none with a step of its own, DamagedError when the newest was changed after
    it was written: an older one is never taken in its place without a word.
    """
    newest = checkpoint.newest_whole(run.checkpoints)
    if newest.damaged:
        raise _refused(newest.damaged[0], newest.path)
    if newest.path is None or checkpoint.step_of(newest.path) == 0:
        raise TextmillError("has no checkpoint yet", where=run.path, advice="train it first")
    return newest.path


def best_weights(run: Run) -> Weights:
    """The checkpoint of the lowest validation loss, or the newest where nothing was validated.

    Raises as `newest_weights`, and DamagedError too when the best is gone or was changed after it was written.
    """
    newest = newest_weights(run)
    path = newest
    best = read_json(newest / "state.json").get("best_step")  # every byte of it was just read
    if best is not None and best != checkpoint.step_of(newest):
        path = checkpoint.path_of(run.checkpoints, best)
        try:
            checkpoint.verify(path)
        except DamagedError as error:
            raise _refused(error, newest) from error
    return _weights(path)


def weights_of(run: Run, which: str = BEST) -> Weights:
    """The checkpoint a person names: `best`, `latest`, or its step.

    Raises as `best_weights` and `newest_weights`; RecipeError for what is no step, and with the steps there are for one
    of which no checkpoint is kept.
    """
    if which == BEST:
        return best_weights(run)
    if which == LATEST:
        return _weights(newest_weights(run))
    kept = {checkpoint.step_of(path): path for path in checkpoint.listed(run.checkpoints)}
    if not which.isdecimal() or int(which) not in kept:
        steps = ", ".join(str(step) for step in sorted(kept)) or "none"
        raise RecipeError(
            f"{run.name} keeps no checkpoint {which!r}",
            where="checkpoint",
            advice=f"give {LATEST}, {BEST} or one of these steps: {steps}",
        )
    checkpoint.verify(kept[int(which)])
    return _weights(kept[int(which)])


def _weights(path: Path) -> Weights:
    manifest = read_json(path / checkpoint.MANIFEST)
    return Weights(path, manifest["step"], value_id(manifest["files"]))


@contextlib.contextmanager
def held(run: Run, which: str = BEST) -> Iterator[Weights]:
    """Weights (see `weights_of`), kept for as long as the block lasts from a training run that would remove them."""
    for left in range(_TRIES - 1, -1, -1):
        try:
            weights = weights_of(run, which)
        except TextmillError:
            if not left or not _is_training(run):
                raise
            continue
        with locks.shared(weights.path) as there:
            if there:
                yield weights
                return
    raise TextmillError("its checkpoints are replaced faster than they can be read", where=run.path)


def _is_training(run: Run) -> bool:
    return bool(
        (run.path / locks.NAME).is_file() and (run.path / locks.NAME).read_text(encoding="utf-8").strip()
    )


def _refused(error: DamagedError, older: Path | None) -> DamagedError:
    advice = (
        f"`textmill train` goes back to {older.name} and repeats the later steps; without this folder, "
        f"{older.name} is used"
        if older is not None
        else "there is no other checkpoint: train it again"
    )
    return DamagedError(error.what, where=error.where, advice=advice)
