"""The stretch of the text that answers a question (Devlin et al. 2019, section 4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from textmill.data import windows
from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import Text
from textmill.data.examples import ExampleStore, Record
from textmill.data.record_view import TextView
from textmill.data.special import SpecialTokens
from textmill.data.view import ALL, Viewed
from textmill.models.heads import best_span
from textmill.models.model import Model
from textmill.objectives.loss import cross_entropy, losses_by, widened
from textmill.objectives.objective import SAYS, Objective, Purpose
from textmill.objectives.records import Reader, loader_of, size
from textmill.objectives.show import ShownRow, tokens_read
from textmill.specs.head import SpanHead
from textmill.specs.objective import SpanObjective
from textmill.text.document import Document
from textmill.text.marks import spans_of


class SpanReader(Reader):
    """text, question: ids of passage and question; value: first and last token of the answer in the passage, -1 twice
    where a question is said to have none there."""

    schema: ClassVar = {"text": "ids", "question": "ids", "value": "int32"}
    decided: ClassVar = ("passage", "question", "answer")

    def wanted(self, document: Document) -> Any:
        """The passage, what stands before the answer, and the answer: where it is marked, else the first place it
        occurs."""
        spec = self.spec
        text, question, answer = (self.text(document, role) for role in spec.roles)
        if text is None:
            return f"no {spec.passage}"
        if question is None or not question.strip():
            return f"no {spec.question}"
        if answer is None and document.metadata.get("answerable") == "false":
            return [text, question], lambda ids: _record(ids, (-1, -1), 0)
        if answer is None or not answer.strip():
            return f"no {spec.answer}"
        answer = answer.strip()
        places = [start for start, end, _ in spans_of(document.metadata) if text[start:end] == answer]
        offset = places[0] if places else text.find(answer)
        if offset < 0:
            return f"the {spec.answer} does not occur in the {spec.passage}"

        def finish(texts: list[Text]) -> Record | str:
            starts, ends = texts[0].offsets.T
            held = np.flatnonzero((starts < offset + len(answer)) & (ends > offset))
            if not len(held):
                return f"the {spec.answer} has no tokens"
            return _record(texts, (held[0], held[-1]), size(answer))

        return [text, question], finish


def _record(texts: list[Text], span: tuple[int, int], written: int) -> Record | str:
    passage, question = (text.ids for text in texts)
    if not len(passage) or not len(question):
        return "no token is left"
    return Record({"text": passage, "question": question, "value": np.array(span)}, written)


class SpanView(TextView):
    """`lead question between text tail`, segments 0 and 1; targets (B, 2), the answer's first and last token.

    A long text is read in windows that overlap by half; in one that does not hold the whole answer the target is the
    row's first token, twice, which stands for "not here" (Devlin et al. 2019, section 4.3). A question is cut to half
    of a row, or to what a short text leaves of it.
    """

    def __init__(
        self, spec: SpanObjective, store: ExampleStore, sequence: int, tokens: SpecialTokens
    ) -> None:
        """Raises RecipeError when the tokenizer has no separator, or rows are too short."""
        room = sequence - tokens.frame - len(tokens.need_between())
        super().__init__(store, tokens, room // 2)
        self._questions = np.minimum(
            store.lengths("question"), np.maximum(room // 2, room - store.lengths("text"))
        )
        rooms = room - self._questions
        self.begins, self.ends, self.record = windows.overlapping(store.lengths("text"), rooms)

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of question and text; there is no source."""
        return self.ends - self.begins + self._questions[self.record], np.zeros(len(self), dtype=np.int64)

    def _row(self, row: int) -> np.ndarray:
        record = int(self.record[row])
        question = self.store.field("question", record)[: self._questions[record]]
        text = self.store.field("text", record)[self.begins[row] : self.ends[row]]
        return self.tokens.around(question, text)

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """As wide as the whole batch. Segment 1 is the text and `tail`; answers lie in the text."""
        made, rows = super().make(rows, keys, share), rows[share]
        positions, start = np.arange(made.batch.inputs.shape[1]), self.text_at(rows)[:, None]
        end = start + (self.ends - self.begins)[rows][:, None]
        text, second = (
            (positions >= start) & (positions < stop) for stop in (end, end + len(self.tokens.tail))
        )
        batch = replace(
            made.batch,
            segments=torch.from_numpy(second.astype(np.int64)),
            candidates=torch.from_numpy(text),
        )
        return replace(made, batch=batch)

    def text_at(self, rows: np.ndarray) -> np.ndarray:
        """(B,) where the text begins in each row."""
        return self.tokens.before_second + self._questions[self.record[rows]]

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """First and last token of the answer, counted from the row's first."""
        spans = np.array([self.store.field("value", int(self.record[row])) for row in rows]).reshape(-1, 2)
        inside = (spans[:, 0] >= self.begins[rows]) & (spans[:, 1] < self.ends[rows])
        spans = spans - self.begins[rows][:, None] + self.text_at(rows)[:, None]
        targets = np.where(inside[:, None], spans, 0).astype(np.int64)
        return torch.from_numpy(targets), np.repeat(self.record[rows][:, None], 2, axis=1)


def head(spec: SpanObjective, family: str, store: ExampleStore) -> SpanHead:
    """Logits of the first and the last token."""
    return SpanHead()


def loss(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    """Targets (B, 2), the first and last token of a span: the mean of both cross-entropies over a row's real tokens.

    A row where either is IGNORE bears no loss (Devlin et al. 2019, section 4.2; there padding shares in the sum).
    """
    logits = widened(model(batch))  # (B, T, 2)
    if batch.mask is not None:
        logits = logits.masked_fill(~batch.mask[..., None], -math.inf)
    bears = (batch.targets != IGNORE).all(1)
    return cross_entropy(logits[bears].transpose(1, 2).flatten(0, 1), batch.targets[bears].flatten()) / 2, (
        bears.sum()
    )


def count_spans(batch: Batch) -> int:
    """Rows of a batch whose span is known."""
    return int((batch.targets != IGNORE).all(1).sum())


@dataclass(frozen=True, eq=False)
class Spans:
    """first, last (B,) int64: tokens of the likeliest span, counted from the row's first.

    odds (B,): the log of how much likelier it is than "not here", which is said by the row's first token (Devlin et
    al. 2019, section 4.3). Windows of one text were trained apart, so these compare over them, and logits do not.
    """

    first: Tensor
    last: Tensor
    odds: Tensor


@torch.no_grad()
def predict(model: Model, batch: Batch) -> Spans:
    """The likeliest answer in each row, within its text (`batch.candidates`)."""
    logits = widened(model(batch))
    spans = best_span(logits, batch.mask if batch.candidates is None else batch.candidates)
    chosen = logits.gather(1, spans[..., None].expand(-1, -1, 2))
    return Spans(spans[:, 0], spans[:, 1], chosen[:, 0, 0] + chosen[:, 1, 1] - logits[:, 0].sum(-1))


def show(batch: Batch, row: int) -> ShownRow:
    """Question and text, and the places of the answer."""
    first, last = batch.targets[row].tolist()
    read = tokens_read(batch, row)
    tokens = [replace(token, bears_loss=first <= position <= last) for position, token in read]
    where = {position: number for number, (position, _) in enumerate(read)}
    known = first in where and last in where
    return ShownRow(tokens, label=(where[first], where[last]) if known else None)


SPAN = Objective(
    spec=SpanObjective,
    reader=SpanReader,
    loader=loader_of(SpanView),
    head=head,
    losses=losses_by(loss, count_spans),
    loss_unit="nats per answer",
    predict=predict,
    show=show,
    judged=True,
    next=("predict {run} 'a question' --with 'passage=a text to search'",),
    purpose=Purpose(
        "question-answering",
        "extractive question answering",
        "Finding the span of a given text that answers a question.",
        SAYS,
        "它只会从给定文本中摘出一段作为答案，没有答案时也会摘；使用前请人工核对。",
    ),
)
