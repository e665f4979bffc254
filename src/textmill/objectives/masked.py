"""Some tokens are masked, and to be guessed from all others (Devlin et al. 2019, section 3.1).

With `next_sentence` rows have two segments, and whether the second follows the first is to be said too.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.data import noise
from textmill.data.batch import IGNORE, Batch
from textmill.data.loader import Batching, Scored
from textmill.data.packing import LEAD, NOWHERE, PACKINGS, Packing
from textmill.data.pieces import balanced
from textmill.data.special import SpecialTokens
from textmill.data.tokens import TokenStore
from textmill.data.view import ALL, Viewed, ViewLoader
from textmill.metrics.score import Score, Sums, share
from textmill.models.encoder import Encoder
from textmill.models.model import Model
from textmill.objectives import show
from textmill.objectives.evaluation import EvaluationInput, EvaluationResult
from textmill.objectives.loss import Losses, count_targets, cross_entropy, sum_of_nats
from textmill.objectives.objective import SAYS, Objective, Purpose
from textmill.objectives.text_evaluation import guessed
from textmill.specs.objective import MaskedObjective


def hide(
    spec: MaskedObjective, tokens: SpecialTokens, ids: np.ndarray, free: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What is read and what is to be said of rows `ids` (B, T): (inputs, targets), IGNORE where nothing is.

    free: (B, T) bool, tokens that may be chosen. Of those that are, a share reads as the mask, another as any
    ordinary token, and the rest as themselves.
    """
    if spec.whole_words:
        # A word also begins after a token that stands for no text, whatever its own bytes.
        after = np.concatenate([np.ones((len(ids), 1), dtype=bool), ~free[:, :-1]], axis=1)
        starts = tokens.word_starts[ids] | after | ~free
        chosen = noise.words_chosen(free, starts, spec.share, keys)
    else:
        chosen = noise.tokens_chosen(free, spec.share, keys)
    fate = noise.uniform(keys, ids.shape[1], 8)
    ordinary = tokens.ordinary
    others = ordinary[(noise.uniform(keys, ids.shape[1], 9) * len(ordinary)).astype(np.int64)]
    inputs = np.where(chosen & (fate < spec.hidden), tokens.need_mask(), ids)
    random = chosen & (fate >= spec.hidden) & (fate < spec.hidden + spec.random)
    return np.where(random, others, inputs), np.where(chosen, ids, IGNORE)


class MaskedView:
    """`lead` and a stretch of text, or several documents apart from each other, each with its `lead`."""

    def __init__(
        self, spec: MaskedObjective, store: TokenStore, sequence: int, tokens: SpecialTokens, packing: str
    ) -> None:
        """packing: running or best-fit. Raises RecipeError when the tokenizer has no mask, or rows are too short."""
        tokens.need_mask()
        _room(sequence, len(tokens.lead))
        self.spec, self.store, self.tokens = spec, store, tokens
        self.packing: Packing = PACKINGS[packing](store, sequence, lead=len(tokens.lead))

    def __len__(self) -> int:
        return len(self.packing)

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share; targets are what stood at chosen places."""
        rows, keys = rows[share], keys[share]
        made, store, tokens = self.packing.rows(rows), self.store, self.tokens
        ids = store.ids[np.maximum(made.places, 0)].astype(np.int64)
        ids[made.places == NOWHERE] = tokens.pad
        lead = made.places == LEAD
        ids[lead] = np.resize(np.array(tokens.lead, dtype=np.int64), int(lead.sum()))
        free = made.scored & ~tokens.special[ids]
        inputs, targets = hide(self.spec, tokens, ids, free, noise.row_keys(keys, rows))
        documents = store.documents_at(np.maximum(made.places, 0))
        real = made.places != NOWHERE
        whole = made.documents is None and bool(real.all())
        batch = Batch(
            inputs=torch.from_numpy(inputs),
            targets=torch.from_numpy(targets),
            mask=None if whole else torch.from_numpy(real),
            documents=None if made.documents is None else torch.from_numpy(made.documents),
        )
        owners = np.where(targets != IGNORE, documents, -1)
        return Viewed(batch, owners, read_pairs(documents, made.scored))

    def rows_of(self, document: int, key: int) -> np.ndarray:
        """The same rows in every epoch."""
        offsets = self.store.offsets
        return self.packing.rows_of(int(offsets[document]), int(offsets[document + 1]))[0]

    def sizes(self) -> np.ndarray:
        """All rows count as full."""
        return np.full(len(self), self.packing.sequence)


class NextSentenceView:
    """`lead A separator B separator`, where B follows A in its document, or in half of the rows does not.

    A document's text (its end is not read) is cut into pieces of nearly equal length, and each piece into A and B.
    Rows go in pairs, and in every epoch one of each pair, by chance, gives its B away to another pair: so every
    token is read exactly once an epoch. B then comes from another document wherever no document fills more than
    half of all rows, and else from a place far away.
    """

    def __init__(
        self, spec: MaskedObjective, store: TokenStore, sequence: int, tokens: SpecialTokens
    ) -> None:
        """Raises RecipeError when the tokenizer has no mask or separator, rows
        are too short, or there are fewer than four of them."""
        tokens.need_mask()
        self.separator = tokens.need_separator()
        self.spec, self.store, self.tokens = spec, store, tokens
        self.sequence = sequence
        room = sequence - len(tokens.lead) - 2
        _room(room, 1)
        lengths = np.diff(store.offsets) - 1  # without the end of text
        usable = np.flatnonzero(lengths >= 2)
        begins, sizes, owner = balanced(store.offsets[:-1][usable], lengths[usable], room)
        self._begins, self._sizes, self._owner = begins, sizes, usable[owner]
        if len(begins) < 4:
            raise RecipeError(
                f"there are {len(begins)} sequences, too few to take a second segment from elsewhere",
                where="objective.next_sentence",
                advice="add text, lower training.sequence, or set it to false",
            )
        # How many pairs of rows one document reaches into: a shift of at least that many leaves it.
        last, first = (np.unique(side, return_index=True)[1] for side in (self._owner[::-1], self._owner))
        reach = (len(begins) - 1 - last) // 2 - first // 2 + 1
        self._pairs = len(begins) // 2
        self._reach = min(int(reach.max()), self._pairs // 2)

    def __len__(self) -> int:
        return len(self._begins)

    def seconds(self, rows: np.ndarray, key: int) -> np.ndarray:
        """Whose second segment each row reads in an epoch of this key: (n,) to (n,), a permutation of all rows."""
        return self._shifted(rows, key, 1)

    def _shifted(self, rows: np.ndarray, key: int, turn: int) -> np.ndarray:
        pairs, word = self._pairs, np.array([key], dtype=np.uint64)
        draw = noise.uniform(noise.row_keys(word, np.zeros(1)), 1, 4)[0, 0]
        shift = self._reach + int(draw * (pairs - 2 * self._reach + 1))
        pair = rows // 2
        gives = (rows < 2 * pairs) & (rows % 2 == self._giver(pair, word))
        other = (pair + turn * shift) % pairs
        return np.where(gives, 2 * other + self._giver(other, word), rows)

    @staticmethod
    def _giver(pair: np.ndarray, word: np.ndarray) -> np.ndarray:
        """Which row of a pair gives its second segment away: 0 or 1."""
        return (noise.uniform(noise.row_keys(word, pair), 1, 5)[:, 0] < 0.5).astype(np.int64)

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share; labels are 0 where the second segment follows the first, 1 where it does not."""
        rows, keys = rows[share], keys[share]
        second = np.empty_like(rows)
        for epoch in np.unique(keys):
            here = keys == epoch
            second[here] = self.seconds(rows[here], int(epoch))
        positions = np.full((len(rows), self.sequence), NOWHERE, dtype=np.int64)
        ids = np.full(positions.shape, self.tokens.pad, dtype=np.int64)
        segments = np.zeros(positions.shape, dtype=np.int64)
        real = np.zeros(positions.shape, dtype=bool)
        for row, (own, other) in enumerate(zip(rows.tolist(), second.tolist(), strict=True)):
            self._row(own, other, ids[row], positions[row], segments[row], real[row])
        free = positions != NOWHERE
        ids[free] = self.store.ids[positions[free]]
        inputs, targets = hide(
            self.spec, self.tokens, ids, free & ~self.tokens.special[ids], noise.row_keys(keys, rows)
        )
        documents = self.store.documents_at(np.maximum(positions, 0))
        batch = Batch(
            inputs=torch.from_numpy(inputs),
            targets=torch.from_numpy(targets),
            mask=torch.from_numpy(real),
            segments=torch.from_numpy(segments),
            labels=torch.from_numpy((second != rows).astype(np.int64)),
        )
        return Viewed(batch, np.where(targets != IGNORE, documents, -1), read_pairs(documents, free))

    def _row(
        self,
        own: int,
        other: int,
        ids: np.ndarray,
        positions: np.ndarray,
        segments: np.ndarray,
        real: np.ndarray,
    ) -> None:
        """Fill one row: special tokens, the place of every other, segments, and which are real."""
        lead = len(self.tokens.lead)
        head = int(-(-self._sizes[own] // 2))
        skipped = int(-(-self._sizes[other] // 2))
        tail = int(self._sizes[other]) - skipped
        middle = lead + head
        after = middle + 1 + tail
        ids[:lead] = self.tokens.lead
        ids[[middle, after]] = self.separator
        positions[lead:middle] = np.arange(self._begins[own], self._begins[own] + head)
        positions[middle + 1 : after] = np.arange(
            self._begins[other] + skipped, self._begins[other] + self._sizes[other]
        )
        segments[middle + 1 : after + 1] = 1
        real[: after + 1] = True

    def rows_of(self, document: int, key: int) -> np.ndarray:
        """Those of its own pieces, and those that were given one's second segment."""
        own = np.flatnonzero(self._owner == document)
        return np.unique(np.concatenate([own, self._shifted(own, key, -1)]))

    def sizes(self) -> np.ndarray:
        """Tokens of text of the pieces."""
        return self._sizes


def read_pairs(documents: np.ndarray, which: np.ndarray) -> np.ndarray:
    """(n, 2) pairs of a row and a document of it, without repeats, at the places (B, T) `which` marks."""
    first = which.copy()  # of each run of places of one document
    first[:, 1:] &= ~(which[:, :-1] & (documents[:, 1:] == documents[:, :-1]))
    return np.unique(np.stack([np.nonzero(first)[0], documents[first]], axis=1), axis=0)


def _room(sequence: int, taken: int) -> None:
    if sequence <= taken:
        raise RecipeError(
            "leaves no room for text beside the special tokens",
            where="training.sequence",
            advice="make it longer",
        )


def loader(spec: MaskedObjective, store: TokenStore, how: Batching) -> ViewLoader:
    """Rows of stretches of text, or of two segments. An evaluation reads documents apart from each other."""
    if spec.next_sentence:
        return ViewLoader(NextSentenceView(spec, store, how.sequence, how.tokens), how.batch, how.seed)

    def view(packing: str) -> MaskedView:
        return MaskedView(spec, store, how.sequence, how.tokens, packing)

    return ViewLoader(view(how.packing), how.batch, how.seed, lambda: view("best-fit"))


def loss(
    model: Model, batch: Batch, chunk: int | None = None, sentence_weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the masked tokens, and where `batch.labels` says whether a row's second segment follows its
    first, of that decision too.

    Devlin et al. 2019 add two means: S / N over N masked tokens, and R / B over B decisions. Two denominators are no
    (sum, number). But S / N + R / B = (S + N / B · R) / N, and N / B, the masked tokens of a row, is `sentence_weight`,
    set once from the recipe as share × sequence, which it is on average. So the sum is S + sentence_weight · R and the
    number N: additive over rows, whence the same for every cut of the batch, and the paper's sum of two means when
    rows are full.
    """
    hidden = model.hidden(batch)
    nats = sum_of_nats(model, hidden, batch.targets, chunk)
    if batch.labels is not None:
        assert isinstance(model, Encoder)
        nats = nats + sentence_weight * cross_entropy(model.next_sentence(hidden), batch.labels)
    return nats, (batch.targets != IGNORE).sum()


def losses(spec: MaskedObjective, *, sequence: int, chunk: int | None = None) -> Losses:
    """The loss, with the weight of a next-sentence decision in rows of so many tokens."""
    weighted = functools.partial(loss, chunk=chunk, sentence_weight=spec.share * sequence)
    return Losses(weighted, weighted, count_targets)


def measure(evaluation: EvaluationInput) -> EvaluationResult:
    """Masked accuracy, nats per masked token, next-sentence accuracy where that was learnt; beside a unigram model."""
    sentences, spec = _Sentences(evaluation.model), evaluation.recipe.objective
    assert isinstance(spec, MaskedObjective)
    how = f"share:{spec.share:g}|sequence:{evaluation.recipe.sequence}"
    result = guessed(evaluation, "masked accuracy", "masked token", how, sentences.look)
    return (
        result
        if not sentences.right
        else replace(result, scores={**result.scores, **sentences.score(evaluation)})
    )


class _Sentences:
    """Decisions whether a second segment follows the first, kept while masked tokens are scored."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.right: list[np.ndarray] = []
        self.owners: list[np.ndarray] = []

    def look(self, states: Tensor, batch: Batch, scored: Scored) -> None:
        """The rows of a batch. A row belongs to the document of its first masked token; one without is left out."""
        if batch.labels is None:
            return
        assert isinstance(self.model, Encoder)
        right = (self.model.next_sentence(states).argmax(-1) == batch.labels).cpu()
        there = scored.documents >= 0
        first = scored.documents.gather(1, there.int().argmax(1, keepdim=True))[:, 0]
        kept = there.any(1)
        self.right.append(right[kept].numpy())
        self.owners.append(first[kept].numpy())

    def score(self, evaluation: EvaluationInput) -> dict[str, Score]:
        """The share of right decisions; documents are resampled."""
        documents, owner = np.unique(np.concatenate(self.owners), return_inverse=True)
        columns = np.stack([np.bincount(owner, np.concatenate(self.right)), np.bincount(owner)], axis=1)
        name = "next-sentence accuracy"
        return {
            name: Sums.of(columns, evaluation.bootstrap.of(documents)).score(
                "next-sentence-accuracy|right/rows", share(0, 1)
            )
        }


MASKED = Objective(
    spec=MaskedObjective,
    loader=loader,
    losses=losses,
    loss_unit="nats per masked token",
    show=show.in_place,
    measure=measure,
    next=("embed {run} 'Once upon a time'",),
    purpose=Purpose(
        "fill-mask",
        "masked language modelling",
        "Fine-tuning for a task (labels, tags, answers, embeddings), and predicting words left out of a text.",
        SAYS,
        "它只会猜测文中被遮盖的词，主要用作其他任务的起点；它会带有训练文本中的错误与偏见。",
        loads=True,
    ),
)
