"""What every measure of an evaluation is given, and what it gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from textmill.base.console import Reporter
from textmill.base.errors import DamagedError, TextmillError
from textmill.data.loader import Scored
from textmill.data.order import key
from textmill.data.view import sample
from textmill.metrics.score import Score
from textmill.specs.recipe import EvaluationSpec, Recipe
from textmill.stages.workspace import inputs
from textmill.stages.workspace.prepared import Prepared
from textmill.text.document import Document

POSITIONS = 8192  # read by the model at once
EXAMPLES = 5  # of what was read, should have been said, and was
_LOWER = ("bits per byte", "nats per", "perplexity", "mean squared error", "mean absolute error")


@dataclass(frozen=True, eq=False)
class Asked:
    """A model of a run, the data it is to be scored on, and how."""

    model: Any
    recipe: Recipe
    prepared: Prepared
    reporter: Reporter

    @property
    def spec(self) -> EvaluationSpec:
        """How it is to be scored."""
        return self.recipe.evaluation

    @property
    def options(self) -> dict[str, Any]:
        """What scores are told of their intervals."""
        return {"resamples": self.spec.bootstrap}

    @property
    def rows(self) -> int:
        """Rows read at once."""
        return max(1, POSITIONS // self.recipe.sequence)

    @cached_property
    def tokenizer(self) -> Any:
        """What its ids mean."""
        return self.prepared.open_tokenizer()

    @cached_property
    def loader(self) -> Any:
        """The loader of the part that is scored. Raises TextmillError when it is empty."""
        return self.loader_of(self.spec.part)

    def loader_of(self, part: str) -> Any:
        """The loader of any part."""
        some(inputs.store_of(self.recipe, self.prepared, part), part)
        return inputs.loader_of(self.recipe, self.prepared, part)

    def documents(self, records: np.ndarray) -> list[Document]:
        """The documents that records (n,), rising, of the part that is scored were made of.

        Records are in the order of the corpus, with what was set aside left out. Raises DamagedError when they are not.
        """
        store, wanted, place = self.loader.store, set(records.tolist()), 0
        found = []
        for document in self.prepared.open_corpus().documents(self.spec.part):
            if place < len(store) and store.document_id(place) == document.id:
                if place in wanted:
                    found.append(document)
                place += 1
        if len(found) < len(wanted):
            raise DamagedError(
                "holds records of documents that the corpus does not hold", where=store.directory
            )
        return found


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found.

    scores     of the model, by name; the first one is the headline
    baselines  of what it should beat: name -> scores by the same names, as many as make sense
    more       what else the report says, by key
    """

    scores: Mapping[str, Score]
    baselines: Mapping[str, Mapping[str, Score]]
    documents: int
    targets: int
    bytes: int
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The name of the score that decides."""
        return next(iter(self.scores))

    def with_baselines(self, found: Mapping[str, Mapping[str, Score]]) -> Measured:
        """The same with these baselines."""
        return dataclasses.replace(self, baselines=found)

    def plain(self) -> dict[str, Any]:
        """For report.json: `table` holds the headline of the model and of its baselines, `details` every score."""
        name = self.headline
        table = {"this model": self.scores[name]}
        table |= {label: scores[name] for label, scores in self.baselines.items() if name in scores}
        return {
            "headline": name,
            "better": "lower" if name.startswith(_LOWER) else "higher",
            "scores": {name.replace(" ", "_"): score.value for name, score in self.scores.items()},
            "details": {name: score.plain() for name, score in self.scores.items()},
            "baselines": {
                label: {name: score.plain() for name, score in scores.items()}
                for label, scores in self.baselines.items()
            },
            "table": [{"name": label, **score.plain()} for label, score in table.items()],
            "documents": self.documents,
            "targets": self.targets,
            "bytes": self.bytes,
            **self.more,
        }


def some(store: Any, part: str) -> Any:
    """A store that holds something. Raises TextmillError when it does not."""
    if not len(store):
        raise TextmillError(
            f"the {part} part is empty", where="corpus.split", advice="give it a larger share, or more text"
        )
    return store


@dataclass(frozen=True, eq=False)
class Rows(Scored):
    """A batch of rows of records. rows: (B,) their numbers in the loader's view, rising within a record."""

    rows: np.ndarray


def record_batches(asked: Asked) -> Iterator[Rows]:
    """The records that are scored in batches of rows of nearly equal length, the same on every call.

    A sample (`evaluation.tokens`) is of whole records: those that are cut into several rows want all of them.
    """
    view = asked.loader.view
    sizes = np.bincount(view.record, view.sizes(), len(view.store)).astype(np.int64)
    rows = np.flatnonzero(np.isin(view.record, sample(sizes, asked.spec.tokens)))
    targets, sources = view.lengths()
    rows = rows[np.lexsort((sources[rows], targets[rows]))]
    fixed = np.uint64(key("evaluation"))
    for start in range(0, len(rows), asked.rows):
        numbers = rows[start : start + asked.rows]
        made = view.make(numbers, np.full(len(numbers), fixed, dtype=np.uint64))
        yield Rows(made.batch, torch.from_numpy(made.owners), numbers)
        asked.reporter.progress("scoring", min(start + asked.rows, len(rows)), len(rows), "rows")
