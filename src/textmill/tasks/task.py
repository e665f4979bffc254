"""What a task is: one value that holds all the house knows of a job that people have. The table is tasks/table.py.

To add one: a file here that ends in such a value, and its line in the table. Command line, evaluation, Python and
whatever else uses models ask it through inference/predictor.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.models.pretrained import Pretrained
from textmill.models.sentences import Sentences
from textmill.specs.generation import GenerationSpec
from textmill.tasks.prediction import Prediction, Refused
from textmill.text.document import Document, several
from textmill.tokenization.characters import without_surrogates

EXAMPLES = 5  # of what was read, should have been said, and was, in a report
# A record: its texts by role (`text`, `source`, `passage` …) and its facts by name (`label`, `tags` …), all of them
# text; of several right texts, `target`, `target 2`, `target 3` …
Record = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may be asked of a prediction.

    top         how many answers of each record, best first
    generation  how texts are written; None: as published with the model, without chance where texts are scored
    truncate    whether a source longer than the model reads is cut, and says so, instead of refused
    threshold   several labels: from which probability one is said; answers: how much likelier than "it does not say" an
                answer is to be (the log of the odds); None: as published with the model
    sentences   vectors: how a text becomes one; None: the mean of its states, to length 1
    forms       choices: how a query is written, with `{query}` in it, one way or several; none: as it stands
    alone       choices: whether options are also scored without their context
    samples     code: how often each problem is tried
    instruct    code: whether problems are put in words, as to an assistant; None: where the model has a chat template
    unsandboxed code: whether it is run where the kernel cannot confine it, with all of one's rights
    why         linear models: whether the n-grams that add most to an answer, or take most from it, are told with it
    scored      chats: whether the answers that are there are scored, and nothing is written but calls of tools
    """

    top: int = 1
    generation: GenerationSpec | None = None
    truncate: bool = False
    threshold: float | None = None
    sentences: Sentences | None = None
    forms: tuple[str, ...] = ()
    alone: bool = False
    why: bool = False
    scored: bool = False
    samples: int = 1
    instruct: bool | None = None
    unsandboxed: bool = False


@dataclass(frozen=True)
class Field:
    """A text that a task reads: its role, what it is, and whether there must be one."""

    role: str
    about: str
    needed: bool = True


@dataclass(frozen=True)
class Calibration:
    """What makes a model's probabilities as often right as they say, fitted on records that it was not trained on.

    temperature  logits are divided by it; before, after: mean nats of what is right, without and with it
    n            records, words or questions it was fitted on
    threshold    answers: how much likelier than "it does not say" one must be to be given (log of the odds)
    """

    temperature: float
    before: float
    after: float
    n: int
    threshold: float | None = None

    def plain(self) -> dict[str, Any]:
        """As a report and a model say it."""
        named = {"nats_before": self.before, "nats_after": self.after, "fitted_on": self.n}
        told = {} if self.threshold is None else {"threshold": self.threshold}
        return {"temperature": self.temperature, **told, **named}


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a model should beat, trained on the same records. predict: of each record what it says."""

    name: str
    predict: Callable[[Sequence[Record]], list[Prediction]]


def plainly(gold: Any, record: Record) -> Any:
    """What is right as plain data, where its own form is that."""
    return list(gold) if isinstance(gold, tuple) else gold


def nothing(predictions: Sequence[Any], records: Sequence[Record]) -> dict[str, Any]:
    """No more is to be said."""
    return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One task.

    name        the word a recipe and a command name it by
    summary     what it does, in a few words
    fields      the texts it reads of a record
    objectives  kind of a model's family -> kind of the objective it is trained by
    prepare     (pretrained, records, options) -> of each record what the model reads, or Refused
    predict     (pretrained, what is read, options) -> what is said of each
    gold        (record) -> what is right, in the task's own form; None: nobody says
    told        (what is right, record) -> the same as plain data, for a person; nothing where nothing is to be found
    right       (prediction, what is right, record) -> whether both are the same; None: one may be right in several ways
    metrics     (predictions or Refused, records with gold, bootstrap) -> scores by name; the first is the headline. A
                record that was refused counts as wrong
    figures     (predictions or Refused, records with gold) -> what the headline is made of, text by text: for slices,
                errors and comparisons; None: it is scored nowhere
    details     (predictions, records) -> what else a report says, by key
    forms       of rows that say what is right, where they are not those of an objective: name -> (the texts of one, and
                of which of them it may have several)
    baselines   name -> (training records) -> a Baseline; untrained: those that learn nothing, and serve without
                records; plain: those that also learn from records that say nothing of what is right, read once
    asked       fields of Options that are set where predictions are scored: all probabilities, say
    purpose     what it is for, in one sentence
    generation  fields of a recipe's [generation], where it is silent
    objective   fields of a recipe's [objective], where it is silent
    how         (pretrained, options) -> how answers are found, for the signature of scores
    count       (records) -> how many things are said of them
    tells       (training records) -> what a model trained on them says of itself, for who gives it records
    calibrate   (pretrained, what is read, records with gold) -> its Calibration; None: too little is known
    confidence  (predictions, records) -> how sure each answer was, 0 to 1, and whether it is right: (n,), (n,)
    """

    name: str
    summary: str
    fields: tuple[Field, ...]
    objectives: Mapping[str, str]
    prepare: Callable[[Pretrained, Sequence[Record], Options], list[Any]]
    predict: Callable[[Pretrained, Sequence[Any], Options], list[Any]]
    gold: Callable[[Record], Any]
    metrics: Callable[[Sequence[Any], Sequence[Record], Bootstrap], dict[str, Score]]
    purpose: str
    told: Callable[[Any, Record], Any] = plainly
    right: Callable[[Any, Any, Record], bool | None] = lambda prediction, gold, record: None
    figures: Callable[[Sequence[Any], Sequence[Record]], Figures] | None = None
    details: Callable[[Sequence[Any], Sequence[Record]], dict[str, Any]] = nothing
    baselines: Mapping[str, Callable[[Any], Baseline]] = field(default_factory=dict)
    untrained: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    forms: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    objective: Mapping[str, Any] = field(default_factory=dict)
    how: Callable[[Pretrained, Options], str] = lambda pretrained, options: ""
    count: Callable[[Sequence[Record]], int] = len
    tells: Callable[[Iterable[Record]], dict[str, Any]] = lambda records: {}
    calibrate: Callable[[Pretrained, Sequence[Any], Sequence[Record]], Calibration | None] | None = None
    confidence: Callable[[Sequence[Any], Sequence[Record]], tuple[np.ndarray, np.ndarray]] | None = None

    def reads(self, pretrained: Pretrained) -> tuple[Field, ...]:
        """The texts that this model reads: what it was trained on says whether there are two where there may be."""
        told = pretrained.info.get("reads")
        if not told:
            return self.fields
        return tuple(
            Field(one.role, one.about, needed=True) for one in self.fields if one.needed or one.role in told
        )


def text_of(record: Record, role: str) -> str | Refused:
    """A text of a record, as a tokenizer reads it, or why there is none."""
    text = record.get(role)
    if text is None:
        return Refused(f"has no {role}")
    if not text.strip():
        return Refused(f"the {role} is empty")
    return text if text.isascii() else without_surrogates(text)


def reads(spec: Any) -> list[str]:
    """The texts that an objective of this spec reads, by the names tasks know."""
    return [one.name for one in fields(spec) if one.name != "kind" and getattr(spec, one.name) in spec.roles]


def record_of(document: Document, spec: Any) -> dict[str, str]:
    """The record that a document is to an objective of this spec, its texts and facts under the names tasks know."""
    record = {**document.metadata, **document.texts}
    for one in fields(spec):
        name = getattr(spec, one.name)
        if not isinstance(name, str) or one.name == "kind":
            continue
        texts = several(document.texts, name)
        if not texts and name in document.metadata:
            texts = [document.metadata[name]]
        record |= {
            one.name if not number else f"{one.name} {number + 1}": text for number, text in enumerate(texts)
        }
    return record
