"""A few held-out records, and what a run's published model says of them beside what is right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from textmill.stages.preparation.prepare import trained_on
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.inference.predictor import Predictor
    from textmill.tasks.task import Record

_LOOKED_AT = 200  # records among which examples are sought


def examples(run: Run, workspace: Workspace, count: int = 5) -> list[dict[str, Any]]:
    """The first records of the split that is scored, in the order of its documents, of which something is to be said.

    Of each: `reads` its texts by role, `said` the prediction as a row, `gold` what is right in words (None: nobody
    says), `right` whether both are the same (None where there is more than one way to be right).
    """
    from textmill.tasks.prediction import Refused
    from textmill.tasks.table import TASKS
    from textmill.tasks.task import record_of

    data = trained_on(run, workspace)
    documents = data.documents(data.recipe.evaluation.split)
    model = LanguageModel(workspace, run.name)
    task = model.predictor().task
    every = list(islice((record_of(document, data.recipe.objective) for document in documents), _LOOKED_AT))
    if task is TASKS["embed"]:
        return _found(model.predictor(), every)[:count]
    telling = [record for record in every if task.told(task.gold(record), record)]
    records = (telling or every)[:count]
    roles = [field.role for field in task.reads(model.pretrained)]
    found = []
    for record, said in zip(records, model.predict(records), strict=True):
        gold = task.gold(record)
        known = gold is not None and not isinstance(said, Refused)
        found.append(
            {
                "reads": {role: record[role] for role in roles if role in record},
                "said": said.row(),
                "gold": task.told(gold, record),
                "right": task.right(said, gold, record) if known else None,
            }
        )
    return found


def _found(predictor: Predictor, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Of vectors: of each query the passage that lies nearest, among those of all these records."""
    from textmill.tasks.retrieve import RETRIEVE, passages, results

    records = [record for record in records if passages(record)]
    finder = type(predictor)(predictor.pretrained, predictor.options, task=RETRIEVE)
    return [
        {
            "reads": {"query": record["query"]},
            "said": {"text": found[0] if found else ""},
            "gold": passages(record)[0],
            "right": found[:1] != [] and found[0] in passages(record),
        }
        for record, found in zip(records, results(list(finder.predict(records)), records), strict=True)
    ]
