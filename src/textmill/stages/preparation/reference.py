"""What the model a run begins as says of its records, worked out once: what some objectives compare with.

{part}.npy    (R, 2) float64, for each row of the part's loader

It is an artifact, found by the records and the model, so that runs with other settings share it, and no second model is
in memory while one trains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base import schema
from textmill.stages.workspace import starts
from textmill.stages.workspace.run_data import PARTS, RunData
from textmill.stages.workspace.workspace import Workspace

_POSITIONS = 4096  # read at once
_FREE = ("dropout", "base_width")  # fields of a model that what a start says does not depend on


@dataclass
class Reference:
    """The log-probabilities of both texts of every row."""

    data: RunData
    workspace: Workspace
    kind = "reference"
    version = 1

    @property
    def parents(self) -> tuple[str, ...]:
        """The records, and the start, where there is one."""
        return ("tokens",) if self.data.recipe.start is None else ("tokens", starts.KIND)

    def decides(self) -> dict[str, Any]:
        """How long rows are, which of them there are, and the model."""
        recipe = self.data.recipe
        decided: dict[str, Any] = {"sequence": recipe.sequence, "rows": recipe.objective.compared}
        if recipe.start is None:
            decided |= {"seed": recipe.seed}
        else:
            decided |= {"added": list(recipe.start.added)}
        if recipe.tuning is not None:
            decided |= {"base": recipe.tuning.base}
        model = {name: value for name, value in schema.write(recipe.model).items() if name not in _FREE}
        return decided | {"model": model}

    def make(self, directory: Path, parents: Any) -> None:
        """Read every row of every part."""
        model = self.data.reference_model()
        for part in PARTS:
            found = np.zeros((0, 2))
            if len(self.data.store(part)):
                assert self.data.objective.reference is not None
                found = self.data.objective.reference(model, self._batches(part))
            np.save(directory / f"{part}.npy", found)

    def _batches(self, part: str) -> Iterator[Any]:
        """The rows of a part in order, some at a time."""
        loader: Any = self.data.loader(part)
        view, key = loader.view, np.uint64(0)
        some = max(1, _POSITIONS // max(1, int(view.lengths()[0].max())))
        for first in range(0, len(view), some):
            rows = np.arange(first, min(first + some, len(view)))
            yield view.make(rows, np.full(len(rows), key)).batch
            self.workspace.reporter.progress(
                f"{part}: what the start says", int(rows[-1]) + 1, len(view), "rows"
            )
