"""Records in, predictions out: the one way for the command line, evaluation and Python.

Records are taken as they come, a few hundred at a time; those are read in batches of like length, and what is said of
each is given back in the order of the records. What is said of a record does not depend on those beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any, overload

from textmill.decoding.layout import prepare
from textmill.models.pretrained import Pretrained
from textmill.nn.eight_bits import EightBitLinear
from textmill.tasks.prediction import Prediction, Refused
from textmill.tasks.reasons import can_tell
from textmill.tasks.table import task_of
from textmill.tasks.task import Options, Record, Task

_FIRST, _MOST = 32, 1024  # records taken at once: few at first, so that something is seen soon


class Predictor:
    """What a model says of records, by its task."""

    def __init__(
        self, pretrained: Pretrained, options: Options | None = None, *, task: Task | None = None
    ) -> None:
        """task: left out, that of the model. Raises TextmillError where why is asked of a model that cannot say it."""
        self.pretrained = pretrained
        self.options = Options() if options is None else options
        self.task = task_of(pretrained) if task is None else task
        if self.options.why:
            can_tell(pretrained)

    @overload
    def predict(self, records: Iterable[Record | Refused]) -> Iterator[Prediction | Refused]: ...
    @overload
    def predict(
        self, records: Iterable[Record | Refused], *, known: int
    ) -> Iterator[Prediction | Refused | None]: ...
    def predict(self, records: Iterable[Record | Refused], *, known: int = 0) -> Iterator[Any]:
        """What is said of each record, in their order; one that was refused before is handed on.

        known: of so many of the first that are not refused it is known what is said: None stands for it.
        """
        waiting, done, size = iter(records), 0, _FIRST
        while some := list(islice(waiting, size)):
            pretrained = self.pretrained if len(some) < _FIRST else self._laid_out
            for number, said in enumerate(self._said(pretrained, some, known)):
                known -= said is None
                yield replace(said, index=done + number) if isinstance(said, Refused) else said
            done, size = done + len(some), min(2 * size, _MOST)

    @cached_property
    def _laid_out(self) -> Pretrained:
        """The model with its matrices laid out for reading many rows; where they are in 8 bits, as it is, since that
        would be four times the memory."""
        model = self.pretrained.model
        if any(isinstance(module, EightBitLinear) for module in model.modules()):
            return self.pretrained
        return replace(self.pretrained, model=prepare(model, rows=_FIRST))

    def _said(
        self, pretrained: Pretrained, records: list[Record | Refused], known: int
    ) -> list[Prediction | Refused | None]:
        task, options = self.task, self.options
        given = [record for record in records if isinstance(record, Mapping)]
        reads: list[Any] = task.prepare(pretrained, given, options)
        there = [read for read in reads if not isinstance(read, Refused)]
        said = iter([*[None] * min(known, len(there)), *task.predict(pretrained, there[known:], options)])
        found = iter([read if isinstance(read, Refused) else next(said) for read in reads])
        return [record if isinstance(record, Refused) else next(found) for record in records]
