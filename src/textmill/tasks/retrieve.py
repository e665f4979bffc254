"""Passages found by their queries: what vectors are judged by.

Each record is a query and the passages that belong to it; all passages of all records are searched, those of the same
text being one. A query's results are the passages whose vectors have the largest product with its own.

Shapes: Q queries, P passages, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textmill.metrics import ranking
from textmill.metrics.score import Bootstrap, Figures, Score, right_or_wrong
from textmill.models.pretrained import Pretrained
from textmill.tasks import embed
from textmill.tasks.prediction import Refused, Vector
from textmill.tasks.task import Baseline, Field, Options, Record, Task, text_of
from textmill.text.bm25 import BM25
from textmill.text.document import several

# As tasks/choice.py has them: the texts of a record, and of which of them it may have several.
FORMS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "retrieval": (("query", "passage"), ("passage",)),
}
_FOUND = 100  # results looked at for each query: what stands behind them counts as not found
_COMPARED = 1024  # queries compared with all passages at once


@dataclass(frozen=True, eq=False)
class Located:
    """Where a query and its passages lie: (D,), (n, D)."""

    query: np.ndarray
    passages: np.ndarray

    def row(self) -> dict[str, Any]:
        """How near each of its passages is."""
        return {"products": [round(float(value), 4) for value in self.passages @ self.query]}


@dataclass(frozen=True)
class Ranking:
    """The passages found for a query, best first, by their texts."""

    results: tuple[str, ...]

    def row(self) -> dict[str, Any]:
        """The best of them."""
        return {"text": self.results[0] if self.results else ""}


def prepare(pretrained: Pretrained, records: Sequence[Record], options: Options) -> list[list[Any] | Refused]:
    """What is read of the query, and of each passage."""
    made: list[list[Any] | Refused] = []
    for record in records:
        query = text_of(record, "query")
        texts = [query, *passages(record)] if isinstance(query, str) else []
        reads = embed.prepare(pretrained, [{"text": text} for text in texts], options)
        refused = (
            query if isinstance(query, Refused) else next((r for r in reads if isinstance(r, Refused)), None)
        )
        made.append(reads if refused is None else refused)
    return made


def predict(pretrained: Pretrained, asked: Sequence[list[Any]], options: Options) -> list[Any]:
    """The vectors of queries and passages."""
    every = embed.predict(pretrained, [read for reads in asked for read in reads], options)
    vectors = iter([np.array(said.values, np.float32) for said in every if isinstance(said, Vector)])
    return [Located(next(vectors), np.stack([next(vectors) for _ in reads[1:]])) for reads in asked]


def gold(record: Record) -> tuple[str, ...] | None:
    """The passages that belong to the query, each once."""
    return passages(record) or None


def passages(record: Record) -> tuple[str, ...]:
    """The same; none where it has none."""
    return tuple(dict.fromkeys(text for text in several(record, "passage") if text.strip()))


def results(predictions: Sequence[Any], records: Sequence[Record]) -> list[list[str]]:
    """The passages found for each query, best first; of one that was refused, none."""
    where: dict[str, np.ndarray] = {}
    for said, record in zip(predictions, records, strict=True):
        if isinstance(said, Located):
            where |= dict(zip(passages(record), said.passages, strict=True))
    texts = list(where)
    table = np.stack(list(where.values())) if texts else np.zeros((0, 1), np.float32)
    found: list[list[str]] = [list(said.results) if isinstance(said, Ranking) else [] for said in predictions]
    asked = [at for at, said in enumerate(predictions) if isinstance(said, Located)]
    for start in range(0, len(asked), _COMPARED):
        some = asked[start : start + _COMPARED]
        products = np.stack([predictions[at].query for at in some]) @ table.T
        order = np.argsort(-products, axis=1, kind="stable")[:, :_FOUND]
        for at, row in zip(some, order.tolist(), strict=True):
            found[at] = [texts[place] for place in row]
    return found


def metrics(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> dict[str, Score]:
    """recall@k, MRR and nDCG."""
    count = len({text for record in records for text in passages(record)})
    scores = ranking.found(
        results(predictions, records),
        [passages(record) for record in records],
        bootstrap,
        how=f"of {count} passages",
    )
    return {"recall@1": scores["recall@1"], "MRR": scores["MRR"], **scores}


def figures(predictions: Sequence[Any], records: Sequence[Record]) -> Figures:
    """Whether the first passage that is found belongs to the query; of queries with several, recall is less."""
    found = results(predictions, records)
    share = [
        len({*some[:1]} & set(passages(record))) / len(passages(record))
        for some, record in zip(found, records, strict=True)
    ]
    if all(value in (0.0, 1.0) for value in share):
        return right_or_wrong("recall@1", [value == 1.0 for value in share])
    whole = right_or_wrong("recall@1", [False] * len(share))
    columns = np.column_stack([share, np.ones(len(share))])
    return Figures("recall@1", columns, whole.value)


def by_words(records: Sequence[Record]) -> Baseline:
    """BM25 over the same passages."""

    def predict(records: Sequence[Record]) -> list[Any]:
        texts = list(dict.fromkeys(text for record in records for text in passages(record)))
        index = BM25(texts)
        return [
            Ranking(tuple(texts[number] for number, _ in index.best(record["query"], _FOUND)))
            for record in records
        ]

    return Baseline("BM25", predict)


RETRIEVE = Task(
    name="retrieve",
    summary="passages found by their queries",
    fields=(Field("query", "what is looked for"), Field("passage", "what belongs to it")),
    objectives={},
    forms=FORMS,
    prepare=prepare,
    predict=predict,
    gold=gold,
    metrics=metrics,
    figures=figures,
    baselines={"BM25": by_words},
    untrained=("BM25",),
    purpose="Finding the passages that answer a query.",
)
