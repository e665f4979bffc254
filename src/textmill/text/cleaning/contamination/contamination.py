"""Which documents hold examples of evaluation sets, so that a score is not one of memory.

A document touches an example in one of three ways, the first that is true:

- `exact`: all words of the example stand in it, in a row;
- `run`: so many of them in a row (13 in GPT-3, Brown et al. 2020, appendix C). An example of fewer words, down to
  8, must stand there whole; one of fewer still must be the whole document, or, in a document of several texts, one
  of these, and another field of its record one too: many questions have the answer "yes". Runs that more than ten
  examples share are the set's own phrases, such as its instructions, and count for nothing;
- `near`: a passage of one of its texts has the Jaccard similarity asked for with the example, as sets of runs of 5
  words.

Words are compared without regard to case and punctuation; hanzi are words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from textmill.base.errors import RecipeError
from textmill.base.hashing import run_hashes
from textmill.specs.cleaning import ContaminationStep
from textmill.specs.corpus import FilesSource, LimitSpec, named
from textmill.text.batches import by_size, in_batches
from textmill.text.cleaning.contamination.passages import Passages
from textmill.text.cleaning.contamination.run_table import Found, RunTable
from textmill.text.document import Document, Item, Rejected, Step, reject
from textmill.text.sources import local
from textmill.text.sources.formats.stream import Fields
from textmill.text.sources.formats.table import open_file
from textmill.text.words import Words, hashes

_SHORTEST = 8  # words of an example that is looked for inside documents (GPT-3's least N)
_SAMPLES = 20  # places named for each set in a report
_BATCH = 1 << 20  # characters looked at together
_KINDS = ("exact", "run", "near")
Kind = Literal["exact", "run", "near"]


@dataclass(frozen=True, slots=True)
class Example:
    """One record of an evaluation set, or one of its fields."""

    set: str  # the file it is from
    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Touch:
    """A document and an example have this in common."""

    example: int
    kind: Kind
    similarity: float  # Jaccard, where near; else 1
    role: str  # of the text
    at: int  # character of it


def read_examples(spec: ContaminationStep, base: Path) -> list[Example]:
    """The examples of all files, field by field. base: the folder relative paths start at.

    Raises RecipeError for a path that matches nothing, or a file without an example in it.
    """
    examples: list[Example] = []
    for item in local.files(FilesSource(paths=spec.files), base):
        if isinstance(item, Rejected):
            raise RecipeError(item.reason, where=item.source, advice=item.detail)
        examples += _examples_in(*item, spec.fields)
    return examples


def _examples_in(path: Path, source: str, fields: tuple[str, ...]) -> list[Example]:
    """The examples of one file, whose records may have only some of the fields."""
    trouble = Rejected(None, source, "read", "holds no example")
    for first in fields:
        examples: list[Example] = []
        read = Fields(texts=(named(first),), metadata=tuple(map(named, fields)))
        for document in open_file(path, source, read, LimitSpec()):
            if isinstance(document, Rejected):
                trouble = document
                continue
            texts = [document.metadata.get(field, "") for field in fields]
            texts = texts if any(texts) else [document.text]  # a plain text has no fields
            examples += [Example(source, document.source, text) for text in texts if text.strip()]
        if examples:
            return examples
    there = trouble.detail.partition(";")[0]
    advice = f"{there}; name the columns of an example in fields" if there else ""
    raise RecipeError(trouble.reason, where=trouble.source, advice=advice)


class Evaluation:
    """Examples, ready to be looked for in many documents."""

    def __init__(self, examples: Sequence[Example], ngram: int, near: float) -> None:
        self.examples = examples
        words = hashes([example.text for example in examples])
        counts = np.diff(words.offsets)
        lengths = [length for length in range(_SHORTEST, ngram) if (counts == length).any()]
        self._tables = [RunTable(words, np.flatnonzero(counts == length), length) for length in lengths] + [
            RunTable(words, np.flatnonzero(counts >= ngram), ngram)
        ]
        self._short: dict[int, list[int]] = {}  # hash of a whole example of few words -> the examples
        self._records: dict[str, set[int]] = {}  # place -> hashes of all fields there
        for number in np.flatnonzero(counts).tolist():
            self._records.setdefault(examples[number].place, set()).add(_whole(words, number))
            if counts[number] < _SHORTEST:
                self._short.setdefault(_whole(words, number), []).append(number)
        self._passages = Passages(words, np.flatnonzero(counts >= ngram), near)

    def touches(self, documents: Sequence[Document]) -> list[list[Touch]]:
        """For each document: the examples it touches, each once, by their number."""
        texts = [(d, role) for d, document in enumerate(documents) for role in document.texts]
        words = hashes([documents[d].texts[role] for d, role in texts])
        by_document: list[dict[int, Touch]] = [{} for _ in documents]

        def note(hit: Found, kind: Kind) -> None:
            document, role = texts[hit.document]
            known = by_document[document].get(hit.example)
            if known is None or _KINDS.index(kind) < _KINDS.index(known.kind):
                at = int(words.start[hit.word])
                by_document[document][hit.example] = Touch(hit.example, kind, hit.similarity, role, at)

        for table in self._tables:
            for hit in table.find(words):
                note(hit, "exact" if hit.whole else "run")
        for hit in self._passages.find(words):
            note(hit, "near")
        counts = np.diff(words.offsets)
        for number in np.flatnonzero((counts > 0) & (counts < _SHORTEST)).tolist():
            if equal := self._short.get(_whole(words, number)):
                document, role = texts[number]
                first = number - list(documents[document].texts).index(role)
                beside = range(first, first + len(documents[document].texts))
                for example in equal if len(beside) == 1 else self._with_record(equal, words, beside):
                    by_document[document][example] = Touch(example, "exact", 1.0, role, 0)
        return [[touched[example] for example in sorted(touched)] for touched in by_document]

    def _with_record(self, equal: Sequence[int], words: Words, texts: Iterable[int]) -> list[int]:
        """Those examples of whose records another field, where there is one, is among these texts too."""
        there = {
            _whole(words, number) for number in texts if words.offsets[number + 1] > words.offsets[number]
        }
        records = {example: self._records[self.examples[example].place] for example in equal}
        return [
            example for example in equal if len(records[example] & there) >= min(2, len(records[example]))
        ]


def _whole(words: Words, text: int) -> int:
    """The hash of all words of a text, of which there is at least one."""
    run = words.hash[words.offsets[text] : words.offsets[text + 1]]
    return int(run_hashes(run, len(run))[0])


def contamination(spec: ContaminationStep) -> Step:
    """Set aside documents that hold an example, or note in `contaminated` of which sets they do.

    Relative paths start at the working folder. Raises RecipeError when an evaluation set cannot be read.
    """
    evaluation = Evaluation(read_examples(spec, Path()), spec.ngram, spec.near)

    def work(documents: Sequence[Document]) -> list[Item]:
        return [
            _judged(document, touches, evaluation.examples, spec) if touches else document
            for document, touches in zip(documents, evaluation.touches(documents), strict=True)
        ]

    return in_batches(work)


def _judged(
    document: Document, touches: list[Touch], examples: Sequence[Example], spec: ContaminationStep
) -> Item:
    if spec.action == "report":
        sets = sorted({examples[touch.example].set for touch in touches})
        return replace(document, metadata={**document.metadata, "contaminated": ", ".join(sets)})
    worst = min(touches, key=lambda touch: (_KINDS.index(touch.kind), -touch.similarity, touch.example))
    descriptions = {
        "exact": "whole",
        "run": f"{spec.ngram} words",
        "near": f"similarity {worst.similarity:.2f}",
    }
    detail = f"{examples[worst.example].place}, {descriptions[worst.kind]}"
    return reject(document, "contamination", "holds an evaluation example", detail)


def overlap(documents: Iterable[Document], spec: ContaminationStep, base: Path) -> dict[str, Any]:
    """How much of each evaluation set is found in these documents.

    Of each set: its `examples` (records), how many of them were touched, by the strongest way (`exact`, `run`,
    `near`), the number of `documents` that touch any, and sample places. base: where relative paths start.
    Raises RecipeError when a set cannot be read.
    """
    examples = read_examples(spec, base)
    evaluation = Evaluation(examples, spec.ngram, spec.near)
    report: dict[str, Any] = {}
    records: dict[str, set[str]] = {}
    for example in examples:
        report.setdefault(example.set, dict.fromkeys(("examples", *_KINDS, "documents"), 0) | {"samples": []})
        records.setdefault(example.set, set()).add(example.place)
    strongest: dict[tuple[str, str], Kind] = {}
    for batch in by_size(documents, _BATCH):
        for document, touches in zip(batch, evaluation.touches(batch), strict=True):
            for name in {examples[touch.example].set for touch in touches}:
                report[name]["documents"] += 1
            for touch in touches:
                example = examples[touch.example]
                key = (example.set, example.place)
                strongest[key] = min(strongest.get(key, touch.kind), touch.kind, key=_KINDS.index)
                samples = report[example.set]["samples"]
                if len(samples) < _SAMPLES:
                    samples.append(_sample(document, touch, example))
    for name, locations in records.items():
        report[name]["examples"] = len(locations)
    for (name, _), kind in strongest.items():
        report[name][kind] += 1
    return report


def _sample(document: Document, touch: Touch, example: Example) -> dict[str, Any]:
    return {
        "example": example.place,
        "kind": touch.kind,
        "similarity": round(touch.similarity, 3),
        "document": document.id,
        "source": document.source,
        "role": touch.role,
        "character": touch.at,
    }
