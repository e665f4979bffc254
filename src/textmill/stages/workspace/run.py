"""A run directory: the only thing later verbs need (DESIGN §4)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.base.errors import TextmillError
from textmill.base.files import append_jsonl, read_json, read_jsonl, write_json, write_text
from textmill.specs import recipe_file as recipes
from textmill.specs.recipe import Recipe


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

    def recipe(self) -> Recipe:
        """The resolved recipe the run was begun with. Raises TextmillError when there is no such run."""
        if not self.exists:
            raise TextmillError(
                "there is no such run", where=self.path, advice="`textmill runs` lists what there is"
            )
        return recipes.load(self.recipe_file)

    def begin(self, recipe: Recipe, environment: dict[str, Any]) -> None:
        """Write what was asked and on what."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "environment.json", environment)
        write_text(self.recipe_file, recipes.dumps(recipe))

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
        return read_json(path) if path.is_file() else None
