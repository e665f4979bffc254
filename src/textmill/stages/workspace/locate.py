"""From what a person types (a run's name, a run's folder, a model's folder) to what is meant."""

from __future__ import annotations

import difflib
from pathlib import Path

from textmill.base.errors import TextmillError
from textmill.base.files import disk_errors
from textmill.stages.workspace import lineage, remembrance
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace

_SHOWN = 60  # characters of a name that is too long


def check_named(workspace: Workspace, target: str) -> None:
    """Raises TextmillError when there is neither a run of this name nor anything at this path: a command asks before it
    loads what it works with, which may take seconds."""
    with disk_errors(Path(target[:_SHOWN])):
        if Path(target).exists():
            return
    locate_run(workspace, target)


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
    """The standard directory meant by a path, or by a run's name or folder; or a .gguf file.

    Warns when it is of a run that has seen what is to be forgotten. Raises TextmillError when there is none, or when
    the run has not been published, DamagedError when a file of a model of ours is not what was published.
    """
    path = _model(workspace, target)
    if (path / lineage.NAME).is_file():
        published = lineage.read_lineage(path)
        advice = "`textmill publish` makes it again; a damaged copy is repaired by copying it again"
        lineage.require(published, workspace.root, advice)
        if (run := Run(path.parent)).exists:
            remembrance.warn(run, workspace)
    return path


def _model(workspace: Workspace, target: str) -> Path:
    path = Path(target)
    with disk_errors(Path(target[:_SHOWN])):
        path.exists()
    if (path / "config.json").is_file() or (path.is_file() and path.suffix.lower() == ".gguf"):
        return path
    if path.is_dir() and not Run(path).exists:
        raise TextmillError("holds no model (no config.json) and is not a run", where=path)
    run = locate_run(workspace, target)
    if not (run.model / "config.json").is_file():
        raise TextmillError(
            "has no published model yet", where=run.path, advice=f"`textmill publish {run.name}` makes it"
        )
    return run.model
