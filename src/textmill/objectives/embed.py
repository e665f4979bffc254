"""Vectors of texts, such that a query lies nearest to the passages that belong to it.

Of a group of queries and passages, with v a vector and τ the temperature (van den Oord et al. 2018, equation 4):

    nats of a query = -log( exp(v_query · v_own / τ) / Σ over its own passage and all others of exp(v_query · v / τ) )

The others are the passages of the other records of its group, and hard negatives. None of them is a passage that is
known to belong to the query: another of its record, of a record with the same query, or the same text once more.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.base.hashing import GOLDEN, mixed
from textmill.data import noise
from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import by_length, padded
from textmill.data.examples import ExampleStore, Record
from textmill.data.groups import GroupLoader
from textmill.data.loader import Batching
from textmill.data.record_view import RecordView
from textmill.data.special import SpecialTokens
from textmill.data.view import ALL, Viewed, sample
from textmill.metrics import ranking
from textmill.metrics.score import Score
from textmill.models.model import Model
from textmill.models.sentences import Sentences
from textmill.models.vectors import pooled, scaled
from textmill.nn.shared import evaluating
from textmill.objectives.evaluation import EvaluationInput, EvaluationResult, result_of_records
from textmill.objectives.loss import Losses, count_targets
from textmill.objectives.objective import Objective, Purpose
from textmill.objectives.records import Reader, lacks, size
from textmill.objectives.show import ShownRow, ShownToken
from textmill.specs.head import READ_ONE_WAY
from textmill.specs.objective import EmbedObjective
from textmill.text.bm25 import BM25
from textmill.text.document import Document, several

_READ = 8192  # tokens read at once where texts are scored
_FOUND = 100  # passages looked at for each query: those ranked behind count as not found
_COMPARED = 1024  # queries compared with all passages at once


class EmbedReader(Reader):
    """text: ids of the passages of a record, `end` between two; query: those of its query; negative: those of its hard
    negatives, likewise. ends, negative_ends: where each passage ends among them. keys: of the query, the passages and
    the negatives, a hash of each text, so that the same text is known wherever it stands."""

    schema: ClassVar = {"text": "ids", "query": "ids", "ends": "int64", "keys": "int64"}
    decided: ClassVar = ("passage", "query", "negative")

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        if self.spec.negative is not None:
            self.fields = {**self.fields, "negative": self.fields["text"], "negative_ends": "int64"}

    def wanted(self, document: Document) -> Any:
        """The query, its passages, what is no passage of it."""
        spec = self.spec
        query = self.text(document, spec.query)
        if query is None or not query.strip():
            return lacks(spec.query, query)
        passages = self._texts(document, spec.passage)
        if not passages:
            return lacks(spec.passage, self.text(document, spec.passage))
        negatives = [] if spec.negative is None else self._texts(document, spec.negative)
        every = [query, *passages, *negatives]

        def finish(texts: Sequence[Any]) -> Record | str:
            ids = [text.ids for text in texts]
            if not all(map(len, ids)):
                return "no token is left"
            stop = 1 + len(passages)
            text, ends = self._joined(ids[1:stop])
            keys = np.array([_key(each) for each in every], dtype=np.uint64).view(np.int64)
            fields = {"text": text, "query": ids[0], "ends": ends, "keys": keys}
            if spec.negative is not None:
                fields["negative"], fields["negative_ends"] = self._joined(ids[stop:])
            return Record(fields, sum(map(size, passages)))

        return every, finish

    def _texts(self, document: Document, role: str) -> list[str]:
        """The texts of a role that hold any, each once."""
        names = [role, *(f"{role} {number}" for number in range(2, len(several(document.texts, role)) + 1))]
        texts = [self.text(document, name) or "" for name in names]
        return list(dict.fromkeys(text for text in texts if text.strip()))

    def _joined(self, parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Ids one after the other, `end` between two, and where each of them ends."""
        if not parts:
            return np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.int64)
        between = np.array([self.tokenizer.end], dtype=np.uint32)
        pieces = [piece for part in parts for piece in (part, between)][:-1]
        ends = np.cumsum([len(part) + 1 for part in parts]) - 1
        return np.concatenate(pieces), ends


def _key(text: str) -> int:
    """A text's hash: that of the text without the space around it."""
    return int.from_bytes(hashlib.blake2b(text.strip().encode(), digest_size=8).digest(), "little")


class EmbedView(RecordView):
    """Rows are a query and one of its passages; `group` of them make a row of the batch, with all their texts.

    inputs (B, K, T): the queries of a group, its passages, and, where records have them, a hard negative of each,
    another in every epoch. candidates (B, G, C): which passages a query is told from, its own included. A text that is
    too long is cut at its end. Places that nothing is in (a record without a negative, an incomplete group) hold what
    stands around a text, and are compared with nothing.
    """

    def __init__(
        self, spec: EmbedObjective, store: ExampleStore, sequence: int, tokens: SpecialTokens, group: int
    ) -> None:
        super().__init__(store, tokens, sequence - tokens.frame)
        self.group = group
        self._room = sequence - tokens.frame
        self._negatives = "negative" in store.fields
        passages = store.lengths("ends")
        self.record = np.repeat(np.arange(len(store)), passages)
        first = np.repeat(np.cumsum(passages) - passages, passages)
        self._which = np.arange(len(self.record)) - first
        values, begins = store.fields["keys"]
        keys = np.asarray(values).view(np.uint64)
        self._queries = keys[begins[:-1]][self.record]
        self._passages = keys[begins[:-1][self.record] + 1 + self._which]
        self._known = np.unique(_pairs(self._queries, self._passages))

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of the longer of query and passage; there is no source."""
        ends, begins = self.store.fields["ends"]
        text = np.diff(np.asarray(ends), prepend=-1)
        text[begins[:-1]] = np.asarray(ends)[begins[:-1]] + 1
        longest = np.maximum(text - 1, self.store.lengths("query")[self.record])
        return np.minimum(longest, self._room) + self.tokens.frame, np.zeros(len(self), dtype=np.int64)

    @property
    def texts(self) -> int:
        """Texts that a group holds, K."""
        return self.group * (3 if self._negatives else 2)

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """Groups of rows (n,): -(-n / group) rows of a batch."""
        groups = -(-len(rows) // self.group)
        places = np.full(groups * self.group, -1, dtype=np.int64)
        places[: len(rows)] = rows
        drawn = np.zeros(len(places))
        drawn[: len(rows)] = noise.uniform(noise.row_keys(keys, rows), 1, 0)[:, 0]
        grid, draws = places.reshape(groups, self.group), drawn.reshape(groups, self.group)
        made = [self._group(*pair) for pair in zip(grid[share], draws[share], strict=True)]
        ids, real = padded([row for texts, _ in made for row in texts], self.tokens.pad)
        shape = (len(made), self.texts, ids.shape[1])
        there = grid[share] >= 0
        owners = np.where(there, self.record[grid[share]], -1)
        batch = Batch(
            inputs=torch.from_numpy(ids.reshape(shape)),
            targets=torch.from_numpy(np.where(there, np.arange(self.group), IGNORE)),
            mask=None if real is None else torch.from_numpy(real.reshape(shape)),
            candidates=torch.from_numpy(np.stack([compared for _, compared in made])),
        )
        read = np.stack([np.nonzero(there)[0], owners[there]], axis=1)
        return Viewed(batch, owners, read)

    def _group(self, rows: np.ndarray, draws: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The texts of a group, and which of its passages each query is compared with: (G, C) bool."""
        there = rows >= 0
        nothing = self.tokens.around(np.zeros(0, dtype=np.int64))
        nothing = nothing if len(nothing) else np.array([self.tokens.end])
        queries = [self.query(int(self.record[row])) if row >= 0 else nothing for row in rows]
        passages = [
            self.passage(int(self.record[row]), int(self._which[row])) if row >= 0 else nothing
            for row in rows
        ]
        columns, keys = there, self._passages[rows]
        if self._negatives:
            drawn = [
                self._negative(int(self.record[row]), draw) if row >= 0 else None
                for row, draw in zip(rows, draws, strict=True)
            ]
            passages += [nothing if each is None else each[0] for each in drawn]
            columns = np.append(columns, [each is not None for each in drawn])
            more = np.array([0 if each is None else each[1] for each in drawn], dtype=np.uint64)
            keys = np.append(keys, more)
        pairs = _pairs(self._queries[rows][:, None], keys[None])
        places = np.minimum(np.searchsorted(self._known, pairs), len(self._known) - 1)
        compared = columns[None] & there[:, None] & (self._known[places] != pairs)
        own = np.arange(len(rows))
        compared[own, own] = there
        return [*queries, *passages], compared

    def query(self, record: int) -> np.ndarray:
        """The ids of a query as it is read."""
        return self.tokens.around(self.store.field("query", record)[: self._room])

    def passage(self, record: int, which: int) -> np.ndarray:
        """Those of one of its passages."""
        return self._part(record, which, "text", "ends")

    def _negative(self, record: int, draw: float) -> tuple[np.ndarray, np.uint64] | None:
        """One of a record's hard negatives and its key; None where it has none. draw: 0 to 1."""
        ends = self.store.field("negative_ends", record)
        if not len(ends):
            return None
        which = int(draw * len(ends))
        keys = self.store.field("keys", record)
        key = keys[len(keys) - len(ends) + which].astype(np.uint64)
        return self._part(record, which, "negative", "negative_ends"), key

    def _part(self, record: int, which: int, text: str, ends: str) -> np.ndarray:
        stops = self.store.field(ends, record)
        start = int(stops[which - 1]) + 1 if which else 0
        return self.tokens.around(self.store.field(text, record)[start : int(stops[which])][: self._room])


def _pairs(query: np.ndarray, passage: np.ndarray) -> np.ndarray:
    """Hashes of pairs, of those of their texts."""
    return mixed(query * np.uint64(GOLDEN) + passage)


def loader(spec: EmbedObjective, store: ExampleStore, how: Batching) -> GroupLoader:
    """Groups of records. Raises RecipeError as `EmbedObjective.groups`."""
    group = how.batch // spec.groups(how.batch)
    view = EmbedView(spec, store, how.sequence, how.tokens, group)
    return GroupLoader(view, how.batch, how.seed, spec.window)


def vectors(spec: EmbedObjective, family: str) -> Sentences:
    """How a text of such a model becomes a vector. Raises RecipeError for the first state of one that reads one way."""
    if spec.pooling == "first" and family in READ_ONE_WAY:
        raise RecipeError(
            f"a {family} has read only one token at its first state",
            where="objective.pooling",
            advice='set it to "last" or "mean", or leave it out',
        )
    return Sentences(spec.pooling or ("last" if family in READ_ONE_WAY else "mean"), spec.normalise)


def losses(spec: EmbedObjective, *, sequence: int, chunk: int | None = None) -> Losses:
    """Each group is compared as a whole; no logits are made, so `chunk` plays no part."""
    each = functools.partial(loss, spec=spec)
    return Losses(each, each, count_targets)


def loss(model: Model, batch: Batch, *, spec: EmbedObjective) -> tuple[Tensor, Tensor]:
    """The nats of each query of each group, and of its passage where both sides are asked: (sum, number of queries).

    With `dimensions`, the mean over the whole vectors and each beginning of them (Kusupati et al. 2022, equation 1).
    """
    how = vectors(spec, model.spec.kind)
    real = None if batch.mask is None else batch.mask.flatten(0, 1)
    states = pooled(model, batch.inputs.flatten(0, 1), real, how.pooling)
    if spec.dimensions and max(spec.dimensions) > states.shape[-1]:
        raise RecipeError(
            f"{max(spec.dimensions)} are more than a vector has: {states.shape[-1]}",
            where="objective.dimensions",
            advice="leave it out",
        )
    states = states.view(*batch.inputs.shape[:2], -1)
    sizes = dict.fromkeys((states.shape[-1], *spec.dimensions))
    terms = [_nats(scaled(states[..., :size], how), batch, spec) for size in sizes]
    return torch.stack(terms).mean(), (batch.targets != IGNORE).sum()


def _nats(vectors: Tensor, batch: Batch, spec: EmbedObjective) -> Tensor:
    """Of vectors (B, K, D), the sum over all groups."""
    assert batch.candidates is not None
    group, targets = batch.targets.shape[1], batch.targets.flatten()
    scores = vectors[:, :group] @ vectors[:, group:].transpose(1, 2) / spec.temperature  # (B, G, C)
    # Nothing is compared with a place that holds nothing: the least number there is, since rows of -inf have no sum.
    scores = scores.masked_fill(~batch.candidates, torch.finfo(scores.dtype).min)
    found = F.cross_entropy(scores.flatten(0, 1), targets, ignore_index=IGNORE, reduction="sum")
    if not spec.symmetric:
        return found
    back = scores[:, :, :group].transpose(1, 2)  # of each passage, over the queries it may be compared with
    finding = F.cross_entropy(back.flatten(0, 1), targets, ignore_index=IGNORE, reduction="sum")
    return (found + finding) / 2


def show(batch: Batch, row: int) -> ShownRow:
    """The first query of a group, and its passage."""
    group = batch.targets.shape[1]

    def read(place: int, bears: bool) -> list[ShownToken]:
        ids = batch.inputs[row, place]
        ids = ids if batch.mask is None else ids[batch.mask[row, place]]
        return [ShownToken(token, bears) for token in ids.tolist()]

    return ShownRow(read(group, True), read(0, False))


def measure(evaluation: EvaluationInput) -> EvaluationResult:
    """How well the queries of the part find their passages among all passages of it; beside it BM25, and the model as
    it was before it was trained."""
    spec = evaluation.recipe.objective
    assert isinstance(spec, EmbedObjective)
    view: EmbedView = evaluation.loader.view
    sizes = np.bincount(view.record, view.sizes(), len(view.store)).astype(np.int64)
    records = sample(sizes, evaluation.spec.tokens)
    documents = evaluation.documents(records)
    queries = [document.texts[spec.query] for document in documents]
    belongs: dict[int, dict[int, None]] = {}
    pool: dict[int, tuple[int, int, str]] = {}  # key -> where its ids stand, and its text
    for record, document in zip(records.tolist(), documents, strict=True):
        keys = view.store.field("keys", record).view(np.uint64).tolist()
        texts = {_key(text): text for text in several(document.texts, spec.passage)}
        for which, key in enumerate(keys[1 : 1 + len(view.store.field("ends", record))]):
            pool.setdefault(key, (record, which, texts.get(key, "")))
            belongs.setdefault(keys[0], {})[key] = None
    numbers = {key: number for number, key in enumerate(pool)}
    asked = [int(view.store.field("keys", record)[:1].view(np.uint64)[0]) for record in records.tolist()]
    relevant = [[numbers[key] for key in belongs[query]] for query in asked]
    bootstrap = evaluation.bootstrap.of(records)
    ids = [view.query(record) for record in records.tolist()], [view.passage(*at[:2]) for at in pool.values()]

    def scored(results: list[list[int]], how: str) -> dict[str, Score]:
        signature = f"{how}|pool:{len(pool)}|first {min(_FOUND, len(pool))}"
        return dict(ranking.found(results, relevant, bootstrap, how=signature))

    how = vectors(spec, evaluation.recipe.model.kind)
    states = [states_of(evaluation.model, side, how.pooling, view.tokens.pad) for side in ids]
    scores = scored(nearest(*(scaled(side, how) for side in states)), f"{how.pooling} of states")
    for number in spec.dimensions:
        smaller = scored(
            nearest(*(scaled(side[:, :number], how) for side in states)), f"first {number} features"
        )
        scores |= {f"{name}, {number} dimensions": score for name, score in smaller.items()}
    index = BM25([text for *_, text in pool.values()])
    by_words = [[number for number, _ in index.best(query, _FOUND)] for query in queries]
    untrained = [states_of(evaluation.data.model(), side, how.pooling, view.tokens.pad) for side in ids]
    baselines = {
        "BM25": scored(by_words, "words, k1 1.2, b 0.75"),
        "the model before training": scored(
            nearest(*(scaled(side, how) for side in untrained)), f"{how.pooling} of states"
        ),
    }
    return result_of_records(evaluation, records, scores, baselines, len(records))


@torch.inference_mode()
def states_of(model: Model, rows: Sequence[np.ndarray], pooling: str, pad: int) -> Tensor:
    """The pooled states (N, D) of texts (their ids as they are read), without dropout."""
    device = next(model.parameters()).device
    still, found = evaluating(model), [torch.zeros(0)] * len(rows)
    for batch in by_length([len(row) for row in rows], _READ):
        ids, real = padded([rows[number] for number in batch], pad)
        mask = None if real is None else torch.from_numpy(real).to(device)
        states = pooled(still, torch.from_numpy(ids).to(device), mask, pooling).cpu()
        for number, state in zip(batch.tolist(), states, strict=True):
            found[number] = state
    return torch.stack(found)


def nearest(queries: Tensor, passages: Tensor) -> list[list[int]]:
    """The passages (P, D) nearest to each query (Q, D), by their product, best first; of equal ones the earlier one."""
    most, results = min(_FOUND, len(passages)), []
    for some in queries.split(_COMPARED):
        order = (some @ passages.T).argsort(dim=1, descending=True, stable=True)
        results += order[:, :most].tolist()
    return results


EMBED = Objective(
    spec=EmbedObjective,
    reader=EmbedReader,
    loader=loader,
    vectors=vectors,
    losses=losses,
    loss_unit="nats per query",
    show=show,
    measure=measure,
    next=("embed {run} 'a text to find' 'another text'", "trace {run} 'a text to find'"),
    purpose=Purpose(
        "sentence-similarity",
        "vectors of texts",
        "Finding the passages that belong to a query, by vectors that lie near each other.",
        (
            "It gives a vector for every text, also for one unlike any it was trained on.",
            "Near vectors say that texts are likely to belong together, not that one is true or answers the other.",
            "It repeats the errors, gaps and prejudices of its training data, and knows nothing else.",
            "What it was trained on can partly be inferred from it. Do not publish it more widely than that data.",
        ),
        "它把文本变成向量，向量相近只说明文本可能相关，不说明内容正确；使用前请人工核对。",
    ),
)
