"""What every measure of an evaluation is given, and what it gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch

from textmill.base.console import Reporter
from textmill.data.codec import by_length
from textmill.data.loader import AnyLoader, Scored
from textmill.data.order import key
from textmill.data.view import sample
from textmill.metrics.score import Bootstrap, Score
from textmill.models.model import Model
from textmill.specs.recipe import EvaluationSpec, Recipe
from textmill.text.document import Document

POSITIONS = 8192  # read by the model at once
EXAMPLES = 5  # of what was read, should have been said, and was


class Data(Protocol):
    """What a measure reads of a run's data. stages/workspace/run_data.py opens it."""

    @property
    def recipe(self) -> Recipe: ...
    @property
    def tokenizer(self) -> Any: ...
    @property
    def ends(self) -> tuple[int, ...]: ...
    def store(self, part: str) -> Any: ...
    def loader(self, part: str = "train") -> AnyLoader: ...
    def documents(self, part: str) -> Iterator[Document]: ...
    def units(self, part: str) -> np.ndarray | None: ...
    def model(self) -> Model: ...
    def reference_model(self) -> Model: ...
    def base(self) -> Model | None: ...


@dataclass(frozen=True, eq=False)
class EvaluationInput:
    """A model of a run, the data it is to be scored on, and how."""

    model: Model
    data: Data
    reporter: Reporter

    @property
    def recipe(self) -> Recipe:
        """What the run was made from."""
        return self.data.recipe

    @property
    def spec(self) -> EvaluationSpec:
        """How it is to be scored."""
        return self.recipe.evaluation

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """How intervals are made over all entries of the store that is scored; `.of(records)` over some of them."""
        return Bootstrap(self.spec.bootstrap, units=self.data.units(self.spec.split))

    @property
    def rows(self) -> int:
        """Rows read at once."""
        return max(1, POSITIONS // self.recipe.sequence)

    @cached_property
    def loader(self) -> Any:
        """The loader of the part that is scored. Raises RecipeError when it is empty."""
        return self.data.loader(self.spec.split)

    def documents(self, records: np.ndarray) -> list[Document]:
        """The documents that records (n,), rising, of the part that is scored were made of."""
        wanted = set(records.tolist())
        every = enumerate(self.data.documents(self.spec.split))
        return [document for index, document in every if index in wanted]


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What was found.

    scores     of the model, by name; the first one is the headline
    baselines  of what it should beat: name -> scores by the same names, as many as make sense
    more       what else the report says, by key; of these `paired`: baseline -> the score that is its difference from
               the model on the same documents, which tells them apart where their own intervals would not
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

    def with_baselines(self, baselines: Mapping[str, Mapping[str, Score]]) -> EvaluationResult:
        """The same with these baselines."""
        return dataclasses.replace(self, baselines=baselines)

    def plain(self) -> dict[str, Any]:
        """For report.json: `table` holds the headline of the model and of its baselines, `details` every score."""
        name = self.headline
        table = {"this model": self.scores[name]}
        table |= {label: scores[name] for label, scores in self.baselines.items() if name in scores}
        return {
            "headline": name,
            "better": self.scores[name].better,
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


@dataclass(frozen=True, eq=False)
class Rows(Scored):
    """A batch of rows of records. rows: (B,) their numbers in the loader's view, rising within a record."""

    rows: np.ndarray


def record_batches(evaluation: EvaluationInput) -> Iterator[Rows]:
    """The records that are scored in batches of rows of nearly equal length, the same on every call.

    A sample (`evaluation.tokens`) is of whole records: those that are cut into several rows want all of them.
    """
    view = evaluation.loader.view
    sizes = np.bincount(view.record, view.sizes(), len(view.store)).astype(np.int64)
    rows = np.flatnonzero(np.isin(view.record, sample(sizes, evaluation.spec.tokens)))
    lengths, fixed, done = np.add(*view.lengths())[rows], np.uint64(key("evaluation")), 0
    for some in by_length(lengths, POSITIONS):
        numbers = rows[some]
        made = view.make(numbers, np.full(len(numbers), fixed, dtype=np.uint64))
        yield Rows(made.batch, torch.from_numpy(made.owners), numbers)
        done += len(numbers)
        evaluation.reporter.progress("scoring", done, len(rows), "rows")


def result_of_records(
    evaluation: EvaluationInput,
    records: np.ndarray,
    scores: Mapping[str, Score],
    baselines: Mapping[str, Mapping[str, Score]],
    targets: int,
    more: Mapping[str, Any] | None = None,
) -> EvaluationResult:
    """The result of scoring records (n,), with the bytes of their texts."""
    size = int(evaluation.loader.store.bytes[records].sum())
    return EvaluationResult(scores, baselines, len(records), targets, size, more or {})
