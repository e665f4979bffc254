"""The weights a run is judged and published by: its best checkpoint's, averaged where it kept an average."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.base.errors import TextmillError
from textmill.base.files import read_json, value_id
from textmill.models import build as table
from textmill.models.model import Model
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.training import checkpoint


@dataclass(frozen=True)
class Weights:
    """A checkpoint that was chosen, and the id of what is in it."""

    path: Path
    step: int
    id: str

    def build(self, data: RunData) -> Model:
        """The model with these weights, in evaluation mode. Raises DamagedError when they are not as written."""
        saved = checkpoint.load(self.path)
        model = table.empty(data.recipe.model, data.vocabulary, data.head)
        tensors: dict[str, Any] = {**saved.model, **(saved.average or {})}
        model.load_state_dict(tensors, assign=True)
        return model.eval()


def best_weights(run: Run) -> Weights:
    """The checkpoint of the lowest validation loss, or the newest where nothing was validated.

    Raises TextmillError when the run has no whole checkpoint yet.
    """
    newest = checkpoint.newest_whole(run.checkpoints)
    if newest.path is None:
        raise TextmillError("has no checkpoint yet", where=run.path, advice="train it first")
    path = newest.path
    best = checkpoint.load(path).state.get("best_step")
    if best is not None and (checkpoint.path_of(run.checkpoints, best) / checkpoint.MANIFEST).is_file():
        path = checkpoint.path_of(run.checkpoints, best)
    manifest = read_json(path / checkpoint.MANIFEST)
    return Weights(path, manifest["step"], value_id(manifest["files"]))
