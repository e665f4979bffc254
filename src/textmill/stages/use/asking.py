"""Questions whose answers are known, asked of a store: what is found, what is answered, and when it is silent.

Of every other question the chunks that hold its passage are taken away, so that nothing can answer it. What is fitted
is judged by questions it was not fitted on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textmill.base.console import tracked
from textmill.base.errors import RecipeError
from textmill.metrics import abstention, answers, ranking
from textmill.retrieval import evidence as weighing
from textmill.retrieval.evidence import Evidence
from textmill.retrieval.reading import Reader, Stretch
from textmill.retrieval.search import Hit, How
from textmill.specs.corpus import FilesSource, LimitSpec, RecordSpec
from textmill.stages.use.documents import Documents
from textmill.stages.use.model import LanguageModel
from textmill.text.document import Rejected, several
from textmill.text.sources import table

_ROLES = ("passage", "question", "answer")
_BEYOND = 20  # chunks that are found beside those that are read, in case some are taken away
_RIGHT = 0.5  # F1 from which on a stretch is right
_FOLDS = 2


@dataclass(frozen=True)
class Question:
    """A question, the passage that answers it, and the right answers; none where nothing does."""

    text: str
    passage: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What came of a question. rank: of its passage among the documents found, from 1; None: not among them. away: its
    passage was taken away, or there is none. given: F1 of what is read in the passage itself."""

    question: Question
    rank: int | None
    away: bool
    hits: tuple[Hit, ...]
    stretches: tuple[Stretch | None, ...]
    given: float | None

    def said(self, number: int) -> str:
        """What one of its stretches says."""
        stretch = self.stretches[number]
        return self.hits[number].place.text[stretch.start : stretch.end] if stretch else ""

    def right(self, number: int) -> bool:
        """Whether one of its stretches answers: half of an answer or more, or a sentence that holds it, where the
        passage stands."""
        said = self.said(number)
        there = not self.away and holds(self.question.passage, self.hits[number].place.text)
        return there and (self.f1(number) >= _RIGHT or any(one in said for one in self.question.answers))

    def f1(self, number: int) -> float:
        """Of one of its stretches."""
        return _f1(self.question, self.said(number))


def questions(paths: Sequence[Path]) -> tuple[list[Question], list[str]]:
    """The questions of files in SQuAD's form, and what could not be read of them. Raises RecipeError where there is
    none."""
    source = FilesSource(paths=tuple(map(str, paths)), format="squad", text_fields=_ROLES)
    found, skipped = [], []
    for item in table.read_documents(source, LimitSpec(), Path.cwd(), RecordSpec(several=("answer",))):
        if isinstance(item, Rejected):
            skipped.append(str(item))
        else:
            right = tuple(several(item.texts, "answer"))
            found.append(Question(item.texts["question"], item.texts["passage"], right))
    if not found:
        raise RecipeError(
            "holds no question", where=", ".join(map(str, paths)), advice="SQuAD's form is expected"
        )
    return found, skipped


def evaluate(
    documents: Documents,
    paths: Sequence[Path],
    model: LanguageModel | None = None,
    *,
    most: int = 20,
    limit: int | None = None,
    how: How | None = None,
    fit: bool = False,
) -> dict[str, Any]:
    """What a store makes of questions. limit: so many of them, drawn by chance. most: chunks that are read for each.

    fit: weigh the evidence by these questions, and keep that in the store; the figures are then those of each half of
    the questions, weighed by the other.
    """
    known, skipped = questions(paths)
    random.Random(0).shuffle(known)
    known = known[:limit]
    reader = documents.reader(model)
    asked = list(_asked(documents, reader, known, most, how))
    kept = documents.evidence(reader)
    weights = _crossed(asked) if fit else [kept] * len(asked)
    figures = _figures(asked, weights)
    if fit:
        kept = _fitted(asked)
        documents.keep_evidence(reader, kept)
    return {
        "questions": len(asked),
        "skipped": skipped,
        "taken_away": sum(one.away for one in asked),
        "read": most,
        "fitted": fit,
        **figures,
        "evidence": kept.plain(),
    }


def _asked(
    documents: Documents, reader: Reader, known: Sequence[Question], most: int, how: How | None
) -> Iterator[Asked]:
    for number, question in enumerate(tracked(known, "asking", len(known), "questions")):
        found = documents.search(question.text, most + _BEYOND, how=how).hits
        held = [holds(question.passage, hit.place.text) for hit in found]
        names = [(hit.place.document, hit.place.source) for hit in found]
        places = {name: rank for rank, name in enumerate(dict.fromkeys(names), 1)}
        rank = min((places[name] for name, one in zip(names, held, strict=True) if one), default=None)
        away = bool(number % 2) or not question.answers
        hits = [hit for hit, one in zip(found, held, strict=True) if not (away and one)][:most]
        stretches = reader.read(question.text, [hit.place.text for hit in hits])
        given = None
        if not away:
            [stretch] = reader.read(question.text, [question.passage])
            given = _f1(question, question.passage[stretch.start : stretch.end] if stretch else "")
        yield Asked(question, rank, away, tuple(hits), tuple(stretches), given)


def _fitted(asked: Sequence[Asked]) -> Evidence:
    """Evidence weighed by all chunks of some questions."""
    rows = [weighing.features(one.hits, one.stretches) for one in asked if one.hits]
    right = [one.right(number) for one in asked for number in range(len(one.hits))]
    owner = [number for number, one in enumerate(asked) for _ in one.hits]
    if not any(right) or all(right):
        raise RecipeError(
            "cannot be fitted: right and wrong answers are needed",
            where="--fit",
            advice="give more questions",
        )
    return weighing.fit(np.concatenate(rows), right, owner)


def _crossed(asked: Sequence[Asked]) -> list[Evidence]:
    """For each question, the evidence fitted on those of the other half: pairs stay together, one of each kind."""
    fold = [number // 2 % _FOLDS for number in range(len(asked))]
    fitted = [
        _fitted([one for one, its in zip(asked, fold, strict=True) if its != this]) for this in range(_FOLDS)
    ]
    return [fitted[its] for its in fold]


def _figures(asked: Sequence[Asked], weights: Sequence[Evidence]) -> dict[str, Any]:
    """What was found and said, by the surest stretch of each question."""
    p, f1, right = np.zeros(len(asked)), np.zeros(len(asked)), np.zeros(len(asked), bool)
    silent = np.zeros(len(asked), bool)
    for number, (one, evidence) in enumerate(zip(asked, weights, strict=True)):
        sure = evidence.p(one.hits, one.stretches)
        if len(sure):
            best = int(sure.argmax())
            p[number], f1[number], right[number] = sure[best], one.f1(best), one.right(best)
        silent[number] = p[number] < evidence.least
    there = np.array([not one.away for one in asked])
    answerable = [one for one in asked if one.question.answers]
    made: dict[str, Any] = {
        "recall": {
            str(top): float(np.mean([one.rank is not None and one.rank <= top for one in answerable]))
            for top in (1, 5, 20)
        }
        if answerable
        else None
    }
    given = [one.given for one in asked if one.given is not None]
    if given:
        made |= {"answer_f1": float(f1[there].mean()), "answer_f1_given": float(np.mean(given))}
    if there.any() and not there.all():
        made["auroc"] = _auroc(p, there)
        made["silent"] = {"there": float(silent[there].mean()), "away": float(silent[~there].mean())}
    if right.any() and not right.all():
        made["auroc_right"] = _auroc(p, right)
        made["risk_coverage"] = abstention.risk_coverage(p, right, there)
    return made


def _auroc(p: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    return ranking.told_apart(p, positive)["AUROC"].value


def _f1(question: Question, said: str) -> float:
    return max((answers.f1(one, said) for one in question.answers), default=0.0)


def holds(passage: str, chunk: str) -> bool:
    """Whether a chunk is of a passage, white space aside."""
    chunk, passage = " ".join(chunk.split()), " ".join(passage.split())
    return chunk in passage or passage in chunk
