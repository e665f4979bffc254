"""Where artifacts stand, and the one rule by which they are made: content-addressed, whole, explained.

`work/<kind>/<key>` holds an artifact that was decided by `key`, the hash of its stage, its part of the recipe
and its parents. What is there and whole is used again; what is not is made in a directory of another name that
takes its own only at the end. Of several processes that want the same at once, one makes it and the others wait.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from textmill.base import files, locks
from textmill.base.console import Reporter
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.language import fill
from textmill.stages.workspace import lineage, verified
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.models_folder import ModelsFolder, default_folder
from textmill.stages.workspace.run import Run
from textmill.text.document import printable


@dataclass(frozen=True)
class Workspace:
    """The directory all work happens in, whom to tell about it, and where other people's models are kept."""

    root: Path
    reporter: Reporter = field(default_factory=Reporter)
    models: ModelsFolder = field(default_factory=lambda: ModelsFolder(default_folder()))

    def __post_init__(self) -> None:
        try:
            str(self.root).encode()
        except UnicodeEncodeError as error:  # not every library that writes here could write there
            raise RecipeError(
                "a workspace cannot be at a path that is not UTF-8",
                where=printable(str(self.root)),
                advice="choose another path with --work",
            ) from error

    @property
    def project(self) -> Path:
        """The folder around the workspace: places within it are told from there, so that all of it can be moved."""
        return self.root.absolute().parent

    def run(self, name: str) -> Run:
        return Run(self.root / "runs" / name)

    def runs(self) -> list[Run]:
        """Every run here, by name."""
        return [run for run in map(Run, sorted((self.root / "runs").glob("[!.]*"))) if run.exists]

    def artifact(
        self,
        kind: str,
        *,
        version: int,
        spec: Any,
        parents: Sequence[Artifact],
        make: Callable[[Path], None],
        name: str,
    ) -> Artifact:
        """The artifact of `kind` decided by (version, spec, parents): found, or made by `make(directory)`.

        `name` is the recipe's name: what was made for it last time tells why it must be made again.
        """
        decided = {"stage": f"{kind}/{version}", "spec": spec, "parents": [parent.id for parent in parents]}
        key = files.value_id(decided)
        directory = self.root / kind / key[:16]
        memory = self.root / kind / f".last-{files.content_id(name)[:16]}.json"
        if artifact := lineage.find(directory, key, self.root):
            self.reporter.stage(kind, "up to date")
        else:
            hold = self.root / kind / f".{key[:16]}"
            with locks.lock(hold, f"textmill making {kind}", waiting=partial(self._waited_for, kind)):
                files.remove_partial(directory.parent)
                if artifact := lineage.find(directory, key, self.root):
                    self.reporter.stage(kind, "up to date")
                else:
                    why = _damage(directory, key, self.root) or self._reason(memory, decided)
                    self.reporter.stage(kind, "being made", why)
                    artifact = self._make(directory, kind, key, spec, parents, make)
        _remember(memory, decided)
        return artifact

    def _waited_for(self, kind: str, holder: str) -> None:
        self.reporter.stage(kind, "waiting", f"{holder}, is making it")

    def _make(
        self, directory: Path, kind: str, key: str, spec: Any, parents: Sequence[Artifact], make: Any
    ) -> Artifact:
        with files.atomic_directory(directory) as partial:
            make(partial)
            lineage.write_lineage(partial, kind=kind, key=key, spec=spec, parents=parents, home=directory)
        artifact = lineage.read_lineage(directory)
        verified.remember(directory, artifact.files, self.root)
        return artifact

    @staticmethod
    def _reason(memory: Path, decided: dict[str, Any]) -> str:
        from textmill.specs import recipe_file  # who only uses a model reads none

        try:
            before = files.read_sealed(memory)
        except (OSError, TextmillError):
            return "nothing there yet"
        changes = recipe_file.difference(before, decided)
        return "; ".join(_change(*change) for change in changes[:3]) or "its files were missing or truncated"


def _remember(memory: Path, decided: dict[str, Any]) -> None:
    """Keep what decided an artifact, to say next time what changed. Nothing else reads it, so it may be lost."""
    with contextlib.suppress(TextmillError):
        if files.read_sealed(memory) == json.loads(json.dumps(decided)):
            return
    files.write_sealed(memory, decided)


def _damage(directory: Path, key: str, root: Path) -> str:
    """Which files of an artifact were changed since they were made, as a reason to make it again; empty: none."""
    try:
        artifact = lineage.read_lineage(directory)
    except TextmillError as error:
        return f"its {lineage.NAME} {error.what}" if (directory / lineage.NAME).is_file() else ""
    bad = verified.damage(directory, artifact.files, root) if artifact.key == key else []
    return f"damaged: {', '.join(bad[:3])}{', …' if len(bad) > 3 else ''}" if bad else ""


def _change(path: str, old: Any, new: Any) -> str:
    if path == "parents":
        return "its inputs changed"
    if path == "stage":
        return f"the version of this stage changed, {old} to {new}"
    if isinstance(old, (dict, list)) or isinstance(new, (dict, list)):
        return fill("{} changed", path.removeprefix("spec."))
    return fill("{} was {}, is {}", path.removeprefix("spec."), old, new)
