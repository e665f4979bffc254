"""Rows of files as a task reads them, with what is right: what a published model is judged by.

They are read as a recipe's sources are, so a row is here the record that it would be in training. What cannot be read,
and what does not say what is right, is counted by reason.
"""

from __future__ import annotations

import dataclasses
import glob
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from textmill.base.errors import RecipeError, TextmillError
from textmill.models.pretrained import Pretrained
from textmill.objectives.table import OBJECTIVES
from textmill.specs.corpus import FilesSource, LimitSpec, RecordSpec
from textmill.tasks.task import Record, Task, record_of
from textmill.text.document import Document, Rejected
from textmill.text.sources import table

_LOOKED_AT = 20  # rows, to see in what form they are
_SHOWN = 3  # rows that are skipped, in a message


@dataclass(frozen=True)
class Files:
    """Files of rows, and how they are read. columns: role -> column; format: whatever their names say."""

    paths: Sequence[Path]
    columns: Mapping[str, str] = field(default_factory=dict)
    format: str | None = None
    header: bool = True

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths))

    def check(self) -> None:
        """Raise RecipeError for one that is not there, before a model is loaded."""
        for path in self.paths:
            if not path.expanduser().exists() and not glob.has_magic(str(path)):
                raise RecipeError("does not exist", where=path, advice=f"looked in {Path.cwd()}")

    def documents(self, roles: tuple[str, ...], record: RecordSpec | None) -> Iterable[Document | Rejected]:
        """What they hold."""
        numbered = {
            role: int(column) if column.removeprefix("-").isdecimal() else column
            for role, column in self.columns.items()
        }
        source: Any = {
            "paths": tuple(str(path) for path in self.paths),
            "format": self.format,
            "columns": numbered or None,
            "header": self.header,
            "text_fields": roles,
        }
        return table.read_documents(FilesSource(**source), LimitSpec(), Path.cwd(), record)


@dataclass(frozen=True)
class Rows:
    """Records that say what is right, and the documents they were made of; skipped: reason -> how many rows."""

    records: list[Record]
    documents: list[Document]
    skipped: dict[str, int]

    @property
    def read(self) -> int:
        """Rows of the files: kept and skipped."""
        return len(self.records) + sum(self.skipped.values())


def spec_of(task: Task, pretrained: Pretrained) -> Any:
    """The objective whose records are those of this task: what its model was trained by, under the usual names."""
    told = pretrained.info.get("objective")
    kind = told if told in task.objectives.values() else task.objectives.get(pretrained.spec.kind)
    if kind is None:
        kind = next(iter(task.objectives.values()))
    spec: Any = OBJECTIVES[kind].spec()
    head = getattr(getattr(pretrained.model, "head", None), "spec", None)
    changes: dict[str, Any] = {"multiple": True} if getattr(head, "multiple", False) else {}
    if "pair" in pretrained.info.get("reads", ()):
        changes["pair"] = "pair"
    return dataclasses.replace(spec, **changes)


def of_files(files: Files, task: Task, spec: Any, tell: Any) -> Rows:
    """The rows of files. spec: the objective that says which texts and facts there are; None of tasks
    that have forms of their own, which are seen from the rows.

    Raises TextmillError when none is left, with the first reasons.
    """
    if task.forms:
        form = form_of(files, task)
        if form is None:
            raise TextmillError(
                f"holds no rows of the task {task.name}",
                where=files,
                advice="name its columns: " + "; ".join(", ".join(roles) for roles, _ in task.forms.values()),
            )
        roles, several = task.forms[form]
        items = files.documents(roles, RecordSpec(several=several, label="gold"))
        return _kept(items, task, None, files, tell)
    return _kept(files.documents(spec.roles, spec.record), task, spec, files, tell)


def form_of(files: Files, task: Task) -> str | None:
    """Which of the forms of a task the first rows of files are in; None: they are in none."""
    for name, (roles, several) in task.forms.items():
        first = islice(files.documents(roles, RecordSpec(several=several, label="gold")), _LOOKED_AT)
        if any(isinstance(item, Document) for item in first):
            return name
    return None


def _kept(items: Iterable[Document | Rejected], task: Task, spec: Any, files: Files, tell: Any) -> Rows:
    rows, skipped, said = Rows([], [], {}), Counter[str](), []
    for item in items:
        if isinstance(item, Rejected):
            skipped[item.reason] += 1
            said.append(str(item))
            continue
        record = as_record(item, spec)
        if task.gold(record) is None:
            skipped["does not say what is right"] += 1
            said.append(f"{item.source}: does not say what is right")
            continue
        rows.records.append(record)
        rows.documents.append(item)
    for line in said[:_SHOWN]:
        tell.warn(f"skipped: {line}")
    if not rows.records:
        raise TextmillError(
            f"no row can be scored: {'; '.join(said[:_SHOWN]) or 'there is none'}",
            where=files,
            advice="name its columns: --columns text=…,label=…",
        )
    rows.skipped.update(skipped)
    return rows


def as_record(document: Document, spec: Any) -> Record:
    """The record that a document is to a task."""
    return {**document.metadata, **document.texts} if spec is None else record_of(document, spec)


def columns_of(given: Sequence[str], where: str = "--columns") -> dict[str, str]:
    """`role=column`, or several with commas between them. Raises RecipeError for anything else."""
    pairs = {}
    for text in (part for each in given for part in each.split(",")):
        role, equals, column = text.partition("=")
        if not (equals and role.strip() and column.strip()):
            raise RecipeError(
                f"{text!r} is not ROLE=COLUMN", where=where, advice="such as text=review,label=stars"
            )
        pairs[role.strip()] = column.strip()
    return pairs
