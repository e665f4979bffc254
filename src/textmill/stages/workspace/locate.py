"""From what a person types (a name, or a path) to the run or the model that is meant: the one way, for every command.

A name is that of a run of the workspace, or of a model in the models folder. A path is that of a run's folder, of a
model's directory, or of a .gguf file. What means two things is an error that names both. Nothing heavy is loaded.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textmill.base.disk import disk_errors
from textmill.base.errors import TextmillError
from textmill.stages.workspace import lineage, models_folder
from textmill.stages.workspace.catalogue import CATALOGUE
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
        raise TextmillError("holds no model (no config.json, no .gguf file) and is not a run", where=target)
    raise TextmillError("no such run or model", where=target, advice=_instead(workspace, target))


def locate_run(workspace: Workspace, target: str) -> Run:
    """The run of this name, or in this folder. Raises TextmillError with the nearest name."""
    meant = _meant(workspace, target, Path(target))
    found = _one(target, [each for each in meant if each.run is not None])
    if found is not None and found.run is not None:
        return found.run
    instead = _instead(workspace, target, runs=True)
    if meant:
        raise TextmillError(
            "is a model that belongs to no run, and a run is wanted", where=target, advice=instead
        )
    raise TextmillError("no such run", where=target, advice=instead)


def locate_model(workspace: Workspace, target: str) -> Path:
    """The directory or the .gguf file a name or a path means, ready to be loaded: see `checked`.

    Raises TextmillError when there is none, or when the run has not been published.
    """
    found = locate(workspace, target)
    if found.model is not None:
        return checked(workspace, found.model)
    raise TextmillError(
        "has no published model yet",
        where=found.path,
        advice=f"`textmill publish {found.path.name}` makes it",
    )


def checked(workspace: Workspace, model: Path) -> Path:
    """A model, once its files were held against its lineage, where it has one.

    Warns when it is of a run that has seen what is to be forgotten. Raises DamagedError when a file is not what was
    published or fetched.
    """
    home = model if model.is_dir() else model.parent
    if not (home / lineage.NAME).is_file():
        return model
    written = lineage.read_lineage(home)
    if home == model or model.name in written.files:
        fetched = written.spec.get("fetched")
        advice = "`textmill publish` makes it again; a damaged copy is repaired by copying it again"
        if fetched is not None:
            advice = f"remove it (`textmill rm {fetched}`) and fetch it again"
        lineage.require(written, workspace.root, advice)
    if (run := Run(home.parent)).exists:
        from textmill.stages.workspace import remembrance  # it loads numpy, and names are checked without

        remembrance.warn(run, workspace)
    return model


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
        found = [_at(path)] if path.exists() else []
    if Path(target).name == target != "..":
        run, entry = workspace.run(target), workspace.models.entry(target)
        found += [Found(_published(run), run)] if run.exists else []
        found += [Found(models_folder.model_in(entry), None)] if entry is not None else []
    by_place = {(each.model or each.path).resolve(): each for each in found if each is not None}
    return list(by_place.values())


def _at(path: Path) -> Found | None:
    """What a path means by what stands there."""
    run, around = Run(path), Run(path.absolute().parent)
    within = around if around.exists else None
    if run.exists and not models_folder.is_model(path):
        return Found(_published(run), run)
    if (model := models_folder.model_in(path)) is not None:
        return Found(model, within)
    return Found(_published(within), within) if within is not None else None


def _published(run: Run) -> Path | None:
    return run.model if models_folder.is_model(run.model) else None


def _one(target: str, meant: Sequence[Found]) -> Found | None:
    """The only thing that is meant; None: there is none. Raises TextmillError, naming them, where there are several."""
    if len(meant) > 1:
        places = " and ".join(f"the {'model' if each.run is None else 'run'} {each.path}" for each in meant)
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
    return f"no runs yet (looked in {workspace.root})"
