"""A run directory: the only thing later commands need (DESIGN §4). Each of its files says whether it is as written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import (
    append_jsonl,
    content_id,
    make_directory,
    read_jsonl,
    read_sealed,
    write_sealed,
    write_text,
)
from textmill.stages.workspace import lineage

if TYPE_CHECKING:
    from textmill.specs.recipe import Recipe

_SEAL = (
    "# as written by Textmill: "  # the first line of a recipe kept here, before the content id of the rest
)
# What Textmill writes into the folder of a run; `textmill rm` refuses to remove anything else with it.
WRITTEN = frozenset(
    (
        "recipe.toml",
        "environment.json",
        "metrics.jsonl",
        "events.jsonl",
        "lineage.json",
        "checkpoints",
        "model",
        "model.parity.json",
        "evaluation",
        "tensorboard",
        "loss.svg",
        "report.html",
    )
)


@dataclass(frozen=True)
class Start:
    """What a run begins with: a run's checkpoint after `step` updates, or a model that was made elsewhere."""

    run: str | None  # here; None: made elsewhere
    step: int | None
    weights: str  # the id of a checkpoint's files, or the hash of a model's
    model: str = ""  # what the recipe named; empty of a fork

    @property
    def named(self) -> str:
        """In words."""
        if self.run is None or self.step is None:
            return f"{self.model or 'a model'} (made elsewhere)"
        return f"{self.run} after step {self.step:,}"


@dataclass(frozen=True)
class Run:
    """Places and records of one run."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation"

    @property
    def exists(self) -> bool:
        """Whether training was ever begun here."""
        return self.recipe_file.is_file()

    @property
    def start(self) -> Start | None:
        """What the run began with; None: with weights of its own."""
        if not (self.path / lineage.NAME).is_file():
            return None
        start = lineage.read_lineage(self.path).spec.get("start")
        return None if start is None else Start(**start)

    def recipe(self) -> Recipe:
        """The resolved recipe the run was begun with. Raises TextmillError when there is no such run, DamagedError when
        its file was changed after it was written."""
        from textmill.specs import recipe_file as recipes  # who only uses a model reads none

        if not self.exists:
            raise TextmillError("no such run", where=self.path, advice="`textmill runs` lists what there is")
        first, _, rest = self.recipe_file.read_bytes().partition(b"\n")
        if first.startswith(_SEAL.encode()) and first[len(_SEAL) :].decode("ascii", "replace") != content_id(
            rest
        ):
            raise DamagedError(
                "was changed after it was written (its checksum differs)",
                where=self.recipe_file,
                advice="change your own copy of the recipe; this one belongs to the run",
            )
        return recipes.load(self.recipe_file)

    @property
    def steps(self) -> int:
        """Steps of the whole run; with a time budget the most there may be, until its end is decided."""
        ends = [event["steps"] for event in self.events() if event["event"] == "end decided"]
        return ends[-1] if ends else self.recipe().steps

    def recipe_then(self) -> Recipe:
        """The same as it was read when the run was begun, wherever the workspace stood then."""
        from textmill.specs import recipe_file as recipes

        self.recipe()
        kept = self.path / "environment.json"
        stood = self.environment().get("run") if kept.is_file() else None
        return recipes.load(self.recipe_file, base=None if stood is None else Path(stood))

    def begin(self, recipe: Recipe, environment: dict[str, Any]) -> None:
        """Write what was asked and on what. Relative paths are told from the run's own folder, so that all of it can be
        moved."""
        from textmill.specs import recipe_file as recipes

        make_directory(self.path)
        write_sealed(self.path / "environment.json", environment | {"run": str(self.path.absolute())})
        text = recipes.dumps(recipes.seen_from(recipe, self.path.absolute()))
        write_text(self.recipe_file, f"{_SEAL}{content_id(text)}\n{text}")

    def environment(self) -> dict[str, Any]:
        """What it was made on. Raises DamagedError when that is missing or not what was written."""
        try:
            return read_sealed(self.path / "environment.json")
        except DamagedError as error:
            advice = "restore it from a copy; where it is missing, `textmill train` writes it again"
            raise DamagedError(error.what, where=error.where, advice=advice) from error

    def log(self, record: dict[str, Any]) -> None:
        """Append a line of figures to metrics.jsonl."""
        append_jsonl(self.path / "metrics.jsonl", record)

    def event(self, kind: str, /, **details: Any) -> None:
        """Append what happened, and when, to events.jsonl."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        append_jsonl(self.path / "events.jsonl", {"time": stamp, "event": kind, **details})

    def events(self) -> Iterator[dict[str, Any]]:
        return read_jsonl(self.path / "events.jsonl")

    def metrics(self) -> list[dict[str, Any]]:
        """The figures in step order; where a resumed run did a step again, its last line counts."""
        latest: dict[tuple[str, int], dict[str, Any]] = {}
        for record in read_jsonl(self.path / "metrics.jsonl"):
            latest[("validation" if "validation" in record else "training", record["step"])] = record
        return sorted(latest.values(), key=lambda record: record["step"])

    def report(self) -> dict[str, Any] | None:
        """The evaluation, if there is one."""
        path = self.evaluation / "report.json"
        return read_sealed(path) if path.is_file() else None

    def damage(self) -> list[str]:
        """The files here that were changed after they were written, each read whole: those of all checkpoints, too."""
        from textmill.training import checkpoint

        looks: list[tuple[Path, Callable[[], object]]] = [
            (self.recipe_file, self.recipe),
            (self.path / "environment.json", self.environment),
            (self.path / "metrics.jsonl", self.metrics),
            (self.path / "events.jsonl", lambda: list(self.events())),
            (self.evaluation / "report.json", self.report),
            *((path, partial(checkpoint.verify, path)) for path in sorted(self.checkpoints.glob("step-*"))),
        ]
        bad = []
        for path, look in looks:
            try:
                look()
            except TextmillError as error:
                bad.append(os.path.relpath(error.where or path, self.path))
        return bad

    def write_report(self, report: dict[str, Any]) -> None:
        """Keep an evaluation."""
        write_sealed(self.evaluation / "report.json", report)
