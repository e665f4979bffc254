"""A tag for each word, and the entities that tags mark; with `crf` tags are scored as a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from textmill.data import windows
from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import Text, padded, together
from textmill.data.examples import ExampleStore, Record
from textmill.data.record_view import TextView
from textmill.data.special import SpecialTokens
from textmill.data.view import ALL, Viewed
from textmill.models.heads import Headed
from textmill.models.model import Model
from textmill.nn.crf import CRF
from textmill.objectives.loss import count_targets, losses_by, sum_of_nats, widened
from textmill.objectives.objective import SAYS, Objective, Purpose
from textmill.objectives.records import Reader, lacks, loader_of, size
from textmill.objectives.show import in_place
from textmill.specs.head import TagHead
from textmill.specs.objective import TagObjective
from textmill.text.document import Document
from textmill.text.marks import words_of


class TagReader(Reader):
    """text: ids; value: the tag of each, IGNORE for all but the first token of a word."""

    schema: ClassVar = {"text": "ids", "value": "int32"}
    numbered = ("value",)
    decided: ClassVar = ("text", "tags")

    def wanted(self, document: Document) -> Any:
        """Every word by itself, with the space before it, so that tokens never cross words. Words are those that are
        marked (`text.marks`), else what spaces part."""
        name = self.spec.tags
        tags = self.fact(document, name)
        text = self.text(document, self.spec.text)
        if tags is None:
            return f"no {name}"
        if not text or not text.strip():
            return lacks(self.spec.text, text)
        places = words_of(text, document.metadata)
        if len(places) != len(tags.split()):
            return f"there are not as many {name} as words"
        return self.apart(text, places, tags.split())

    def apart(self, text: str, places: Sequence[tuple[int, int]], tags: Sequence[str]) -> Any:
        """What is to be encoded of stretches of a text, each by itself, and what makes a record of it: the first token
        of each has its tag."""

        def finish(texts: list[Text]) -> Record | str:
            if not all(map(len, texts)):
                return "a word has no tokens"
            read = together(texts)
            value = np.full(len(read), IGNORE, dtype=np.int64)
            value[read.begins_word] = self.numbering.take(tags)
            return Record({"text": read.ids, "value": value}, size(text))

        return self.codec.apart(text, places), finish


class TagView(TextView):
    """Targets (B, T): tags, IGNORE for all but a word's first token, and for a tag the training split lacks. A text
    that is too long is several rows, each of whole words unless one word is longer than a row."""

    def __init__(self, spec: TagObjective, store: ExampleStore, sequence: int, tokens: SpecialTokens) -> None:
        room = sequence - tokens.frame
        super().__init__(store, tokens, room)
        cut = [
            [(0, length)] if length <= room else windows.of_words(store.field("value", index) != IGNORE, room)
            for index, length in enumerate(store.lengths("text").tolist())
        ]
        stretches = np.array([stretch for stretches in cut for stretch in stretches], dtype=np.int64)
        self.begins, self.ends = stretches.reshape(-1, 2).T
        self.record = np.repeat(np.arange(len(store)), list(map(len, cut)))

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share, as wide as the whole batch; a word's first token is the one that may have a tag."""
        made = super().make(rows, keys, share)
        words = torch.from_numpy(self._in_place(rows[share], made.batch.inputs.shape[1]) != IGNORE)
        return replace(made, batch=replace(made.batch, candidates=words))

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """The tags that can be learnt, where the words' first tokens stand."""
        tags = self._in_place(rows, width)
        targets = np.where(tags < len(self.store.labels or ()), tags, IGNORE)
        return torch.from_numpy(targets), np.where(targets != IGNORE, self.record[rows][:, None], -1)

    def tags(self, row: int) -> np.ndarray:
        """(n,) numbers of the tags of each token that a row reads, IGNORE for all but the first of a word."""
        return self.store.field("value", int(self.record[row]))[self.begins[row] : self.ends[row]]

    def _in_place(self, rows: np.ndarray, width: int) -> np.ndarray:
        """(B, width) tags where their tokens stand in rows."""
        lead = np.full(len(self.tokens.lead), IGNORE)
        return padded([np.concatenate([lead, self.tags(int(row))]) for row in rows], IGNORE, width=width)[0]


def head(spec: TagObjective, family: str, store: ExampleStore) -> TagHead:
    """A logit for each tag of the data, in their order."""
    return TagHead(
        labels=tuple(store.labels or ()),
        crf=spec.crf,
        convolutions=spec.convolutions,
        dropout=spec.dropout,
    )


def loss(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    """Targets (B, T): cross-entropy of each tag or, with a CRF, -log p of each row's tags together."""
    bears = batch.targets != IGNORE
    assert isinstance(model, Headed)
    crf = model.head.crf
    if not isinstance(crf, CRF):
        return sum_of_nats(model, model.hidden(batch), batch.targets), bears.sum()
    return crf.nats(widened(model(batch)), batch.targets, bears).sum(), bears.sum()


@torch.no_grad()
def predict(model: Model, batch: Batch) -> Tensor:
    """(B, T) int64: the tag of each word where its first token stands (`batch.candidates`), IGNORE elsewhere.

    With a CRF the likeliest sequence of tags over those places (Viterbi).
    """
    logits, words = widened(model(batch)), batch.candidates
    if words is None:
        words = torch.ones_like(batch.inputs, dtype=torch.bool) if batch.mask is None else batch.mask
    assert isinstance(model, Headed)
    crf = model.head.crf
    best = crf.best(logits, words) if isinstance(crf, CRF) else logits.argmax(-1)
    return torch.where(words, best, IGNORE)


TAG = Objective(
    spec=TagObjective,
    reader=TagReader,
    loader=loader_of(TagView),
    head=head,
    losses=losses_by(loss, count_targets),
    loss_unit="nats per tag",
    predict=predict,
    show=in_place,
    judged=True,
    next=("predict {run} 'a text to tag'", "trace {run} 'a text to tag'"),
    purpose=Purpose(
        "token-classification",
        "tagging",
        "Tagging the words of texts of the kind it was trained on.",
        SAYS,
        "它只会为文中的词给出训练时见过的标记，可能有误；使用前请人工核对。",
        loads=True,
    ),
)
