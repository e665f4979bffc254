"""A few held-out records, and what a run's published model says of them beside what is right."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from textmill.metrics import tags
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.tasks.task import Record

_LOOKED_AT = 200  # records among which examples are sought


def examples(run: Run, workspace: Workspace, count: int = 5) -> list[dict[str, Any]]:
    """The first records of the split that is scored, in the order of its documents; of tagged ones, the first that have
    something marked.

    Of each: `reads` its texts by role, `said` the prediction as a row, `gold` what is right in words (None: nobody
    says), `right` whether both are the same (None where there is more than one way to be right).
    """
    from textmill.tasks.task import record_of

    data = trained_on(run, workspace)
    documents = data.documents(data.recipe.evaluation.split)
    model = LanguageModel(workspace, run.name)
    task = model.predictor().task
    every = list(islice((record_of(document, data.recipe.objective) for document in documents), _LOOKED_AT))
    telling = [record for record in every if task.name != "tag" or tags.entities(task.gold(record) or ())]
    records = (telling or every)[:count]
    roles = [field.role for field in task.reads(model.pretrained)]
    found = []
    for record, said in zip(records, model.predict(records), strict=True):
        row = said.row()
        gold = _gold(task.name, task.gold(record), record)
        found.append(
            {
                "reads": {role: record[role] for role in roles if role in record},
                "said": row,
                "gold": gold,
                "right": _right(task.name, row, gold),
            }
        )
    return found


def _gold(task: str, gold: Any, record: Record) -> Any:
    """What is right, as plain data: of tags the stretches that they mark, with their kinds."""
    if task != "tag" or gold is None:
        return list(gold) if isinstance(gold, tuple) else gold
    from textmill.tasks import words

    places = words.places(record["text"], record, "spaces")
    return [
        {"label": kind, "text": record["text"][places[first][0] : places[last][1]]}
        for first, last, kind in tags.entities(gold)
    ]


def _right(task: str, row: dict[str, Any], gold: Any) -> bool | None:
    if gold is None or "refused" in row:
        return None
    if task == "classify":
        said = row["labels"] if "labels" in row else [row["label"]]
        return set(said) == set(gold.replace(",", " ").split()) if "labels" in row else said[0] == gold
    if task == "answer":
        return row["answer"] in gold if gold else row["answer"] is None
    if task == "tag":
        return [(span["label"], span["text"]) for span in row["spans"]] == [
            (span["label"], span["text"]) for span in gold
        ]
    return None
