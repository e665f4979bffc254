"""From what a person types (a name, or a path) to the run or the model that is meant: the one way, for every command.

A name is that of a run of the workspace, or of a model in the models folder. A path is that of a run's folder, of a
model's directory, or of a .gguf file. What means two things is an error that names both. Nothing heavy is loaded.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from textmill.base.disk import disk_errors
from textmill.base.errors import TextmillError
from textmill.stages.workspace import lineage, remembrance
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace

_SHOWN = 60  # characters of a name that is too long


@dataclass(frozen=True)
class Found:
    """What a name or a path means.

    model: the directory or .gguf file that is loaded; None: the run is not published. run: the run it belongs to; None:
    a model on its own.
    """

    model: Path | None
    run: Run | None

    @property
    def path(self) -> Path:
        """Where it is: the run's folder, or the model."""
        if self.run is not None:
            return self.run.path
        assert self.model is not None
        return self.model


def locate(workspace: Workspace, target: str, *, base: Path | None = None) -> Found:
    """The run or the model of this name, or at this path.

    base: the folder a relative path starts at; None: the one you stand in. Raises TextmillError when there is none,
    with the nearest names, and when the name means two things.
    """
    path = (base or Path()) / target
    if found := _one(target, _meant(workspace, target, path)):
        return found
    if path.is_dir():
        raise TextmillError("holds no model (no config.json, no .gguf file) and is no run", where=target)
    raise TextmillError("there is no such run or model", where=target, advice=_instead(workspace, target))


def locate_run(workspace: Workspace, target: str) -> Run:
    """The run of this name, or in this folder. Raises TextmillError with the nearest name."""
    path = Path(target)
    with disk_errors(Path(target[:_SHOWN])):
        for run in (workspace.run(target) if path.name == target else None, Run(path), Run(path.parent)):
            if run is not None and run.exists:
                return run
    names = [run.name for run in workspace.runs()]
    near = difflib.get_close_matches(target, names, 1)
    known = (
        f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}" if names else "no runs yet"
    )
    raise TextmillError("no such run", where=target, advice=f"{known} (looked in {workspace.root})")


def locate_model(workspace: Workspace, target: str) -> Path:
    """The directory or the .gguf file a name or a path means, ready to be loaded: see `checked`.

    Raises TextmillError when there is none, or when the run has not been published.
    """
    path = _model(workspace, target)
    if (path / lineage.NAME).is_file():
        published = lineage.read_lineage(path)
        advice = "`textmill publish` makes it again; a damaged copy is repaired by copying it again"
        lineage.require(published, workspace.root, advice)
        if (run := Run(path.parent)).exists:
            remembrance.warn(run, workspace)
    return path


def check_named(workspace: Workspace, target: str, *, runs: bool = False) -> None:
    """Raises TextmillError when a name means neither a run nor a model (`runs`: no run), nor anything at this path: a
    command asks before it loads what it works with, which may take seconds."""
    if not _meant(workspace, target, Path(target)) and Path(target).exists():
        return  # a recipe, an artifact
    locate_run(workspace, target) if runs else locate(workspace, target)


def names(workspace: Workspace, *, runs: bool = False) -> list[str]:
    """The short names there are: of runs, and of models in the models folder unless only `runs` are asked for."""
    models = [] if runs else workspace.models.entries()
    return sorted({*(run.name for run in workspace.runs()), *models})


def _meant(workspace: Workspace, target: str, path: Path) -> list[Found]:
    """All that a name or a path means."""
    with disk_errors(Path(target[:_SHOWN])):
        path.exists()
    if (path / "config.json").is_file() or (path.is_file() and path.suffix.lower() == ".gguf"):
        return path
    if path.is_dir() and not Run(path).exists:
        raise TextmillError("holds no model (no config.json) and is not a run", where=path)
    run = locate_run(workspace, target)
    if not (run.model / "config.json").is_file():
        raise TextmillError(
            f"is the name of {places}", where=target, advice="give the path of the one you mean"
        )
    return meant[0] if meant else None


def _instead(workspace: Workspace, target: str, *, runs: bool = False) -> str:
    """What to type instead of a name that means nothing."""
    known = names(workspace, runs=runs)
    if not runs and target in CATALOGUE:
        return f"`textmill models get {target}` fetches it"
    if near := difflib.get_close_matches(target, known, 1):
        return f"did you mean {near[0]}? (looked in {workspace.root})"
    if not runs and (near := difflib.get_close_matches(target, CATALOGUE, 1)):
        return f"did you mean {near[0]}? `textmill models get {near[0]}` fetches it"
    if known:
        return f"there are {', '.join(known)} (looked in {workspace.root})"
    return f"there are no runs yet (looked in {workspace.root})"
