"""Objectives of an encoder-decoder on plain text: a target, and a source that does not give all of it away.

infilling  the text from itself with runs of tokens masked behind one mask each (BART)
spans      masked runs from the text around them, each behind a sentinel of its own (T5)
continue   the second half of a stretch of text from its first half

Sources stand between the tokenizer's `lead` and `tail`; what the decoder reads is its start and the target so far.
End of text and other special tokens of the corpus are never hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from textmill.base.errors import RecipeError
from textmill.data import noise
from textmill.data.buckets import BucketLoader
from textmill.data.loader import Batching
from textmill.data.pieces import Pieces
from textmill.data.special import SpecialTokens
from textmill.data.tokens import TokenStore
from textmill.data.view import ALL, Pair, Viewed, ViewLoader, pair_batch
from textmill.objectives import show
from textmill.objectives.causal import CAUSAL
from textmill.objectives.evaluation import EvaluationInput, EvaluationResult
from textmill.objectives.loss import losses_of_tokens
from textmill.objectives.objective import WRITES_FROM_SOURCE, Objective, Purpose
from textmill.objectives.text_evaluation import beside, bits, guessed
from textmill.specs.objective import ContinueObjective, InfillingObjective, SpansObjective


class _Denoising:
    """Pieces of a store, each of which is a row; a subclass says how long they are and what pair they make."""

    def __init__(self, store: TokenStore, most: int, packing: str, tokens: SpecialTokens) -> None:
        if most < 2:
            raise RecipeError(
                "leaves no room for text beside the special tokens",
                where="training.sequence",
                advice="make it longer",
            )
        self.store, self.tokens = store, tokens
        self.pieces = Pieces(store, most, packing)

    def __len__(self) -> int:
        return len(self.pieces)

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share. All rows of the batch are made, since the longest decides how wide it is."""
        own = noise.row_keys(keys, rows)
        pairs = [self.pair(int(row), own[index : index + 1]) for index, row in enumerate(rows)]
        batch, owners = pair_batch(pairs, self.tokens.start, self.tokens.pad, share)
        read = [self._documents(row) for row in rows[share].tolist()]
        numbers = np.repeat(np.arange(len(read)), [len(documents) for documents in read])
        return Viewed(batch, owners, np.stack([numbers, np.concatenate(read)], axis=1))

    def pair(self, row: int, key: np.ndarray) -> Pair:
        """Source and target of a row. key: (1,) uint64, of this row in this epoch."""
        raise NotImplementedError

    def _documents(self, row: int) -> np.ndarray:
        """The documents a row reads."""
        begin = self.pieces.begins[row]
        ends = self.store.documents_at(np.array([begin, begin + self.pieces.sizes[row] - 1]))
        return np.arange(ends[0], ends[1] + 1)

    def rows_of(self, document: int, key: int) -> np.ndarray:
        """The same rows in every epoch."""
        return self.pieces.rows_of(document)

    def sizes(self) -> np.ndarray:
        """Tokens of each piece."""
        return self.pieces.sizes

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,), (R,): both sides are as long as the piece, more or less."""
        return self.pieces.sizes, self.pieces.sizes

    def _text(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n,) ids of a piece, (n,) the document of each, (m,) where its ordinary tokens stand in it."""
        positions = self.pieces.places(row)
        ids = self.store.ids[positions[0] : positions[-1] + 1].astype(np.int64)
        return ids, self.store.documents_at(positions), np.flatnonzero(~self.tokens.special[ids])

    def _framed(self, ids: np.ndarray) -> np.ndarray:
        """A source as the encoder reads it; a text that ends as `tail` does has its end already."""
        lead, tail = self.tokens.lead, self.tokens.tail
        if tail and tuple(ids[-len(tail) :].tolist()) == tail:
            tail = ()
        return np.concatenate([lead, ids, tail]).astype(np.int64)


class InfillingView(_Denoising):
    """BART's text infilling (Lewis et al. 2020, section 2.2): each masked run reads as one mask, and a run of no
    token puts a mask between two tokens; the target is the whole text and its end."""

    def __init__(
        self, spec: InfillingObjective, store: TokenStore, sequence: int, tokens: SpecialTokens, packing: str
    ) -> None:
        """Raises RecipeError when the tokenizer has no mask, or rows are too short."""
        self.spec, self.mask = spec, tokens.need_mask()
        super().__init__(store, sequence - max(tokens.frame, 1), packing, tokens)

    def pair(self, row: int, key: np.ndarray) -> Pair:
        """The text with runs hidden, and the text."""
        ids, documents, free = self._text(row)
        hidden = np.zeros(len(ids), dtype=bool)
        hidden[free], empty = noise.poisson_hidden(len(free), self.spec.share, self.spec.span, key)
        starts = _begins(hidden)
        source = np.where(hidden, self.mask, ids)[~hidden | starts]
        # A special token inside a run parts it into two masks, which leaves that much less room for others.
        empty = min(empty, len(ids) - len(source))
        last = len(source) + 1 - int(ids[-1] == self.tokens.end)  # nothing is put behind the end of a text
        where = np.floor(noise.uniform(key, max(empty, 1), 6)[0, :empty] * last).astype(np.int64)
        source = np.insert(source, np.sort(where), self.mask)
        if ids[-1] != self.tokens.end:
            ids, documents = np.append(ids, self.tokens.end), np.append(documents, documents[-1])
        return Pair(self._framed(source), ids, documents)


class SpansView(_Denoising):
    """T5's span corruption (Raffel et al. 2020, section 3.1.4 and figure 2): each masked run reads as a sentinel of
    its own; the target is each sentinel and what it hid, a last sentinel, and the end."""

    def __init__(
        self, spec: SpansObjective, store: TokenStore, sequence: int, tokens: SpecialTokens, packing: str
    ) -> None:
        """Raises RecipeError when the tokenizer has too few sentinels, or rows are too short."""
        self.spec, self.sequence = spec, sequence
        most = sequence - tokens.frame
        hidden, runs = noise.hidden_count(most, spec.share, spec.span)
        if len(tokens.sentinels) < runs + 1:
            raise RecipeError(
                f"has {len(tokens.sentinels)} sentinels, but sequences of {sequence} tokens need {runs + 1}",
                where="tokenizer",
                advice=f"set tokenizer.sentinels = {runs + 1} or more, or lower training.sequence",
            )
        if hidden + runs + 2 > sequence:
            raise RecipeError(
                f"{spec.share} makes targets of {hidden + runs + 2} tokens, longer than a sequence ({sequence})",
                where="objective.share",
                advice="lower it, or raise objective.span",
            )
        self._sentinels = np.array(tokens.sentinels, dtype=np.int64)
        super().__init__(store, most, packing, tokens)

    def pair(self, row: int, key: np.ndarray) -> Pair:
        """What is left, and what was hidden."""
        ids, documents, free = self._text(row)
        hidden = np.zeros(len(ids), dtype=bool)
        hidden[free] = noise.runs_hidden(len(free), self.spec.share, self.spec.span, key)
        run = np.cumsum(_begins(hidden)) - 1
        # Special tokens may part runs into more than there are sentinels, or room, for: the rest is not hidden.
        hidden &= run < min(len(self._sentinels) - 1, self.sequence - 2 - int(hidden.sum()))
        source, target, positions = corrupted(ids, hidden, self._sentinels, self.tokens.end)
        return Pair(self._framed(source), target, documents[positions])


def corrupted(
    ids: np.ndarray, hidden: np.ndarray, sentinels: np.ndarray, end: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T5's format of a text (n,) of which `hidden` (n,) bool is masked: source, target, and for each of the target
    the place in the text it belongs to (a sentinel to the token after it)."""
    starts = _begins(hidden)
    first, inside = np.flatnonzero(starts), np.flatnonzero(hidden)
    source = ids.copy()
    source[starts] = sentinels[: len(first)]
    before = np.searchsorted(inside, first)  # a run's sentinel stands before its first token
    target = np.insert(ids[inside], before, sentinels[: len(first)])
    positions = np.insert(inside, before, first)
    target = np.concatenate([target, [sentinels[len(first)], end]])
    return source[~hidden | starts], target, np.concatenate([positions, [len(ids) - 1] * 2])


class ContinueView(_Denoising):
    """Halves of equal length: the source is what stands before the target. The text is cut into halves, and each is
    a target once an epoch, with the one before it as its source (with none, where a text begins): so this is a
    language model of every token. No end is added: a target ends with one where its document does."""

    def __init__(
        self, spec: ContinueObjective, store: TokenStore, sequence: int, tokens: SpecialTokens, packing: str
    ) -> None:
        """Raises RecipeError when rows are too short."""
        super().__init__(store, sequence - tokens.frame, packing, tokens)

    def pair(self, row: int, key: np.ndarray) -> Pair:
        """A half, and the next."""
        ids, documents, _ = self._text(row)
        before = np.zeros(0, dtype=np.int64) if self.pieces.first[row] else self._text(row - 1)[0]
        return Pair(self._framed(before), ids, documents)

    def _documents(self, row: int) -> np.ndarray:
        own = super()._documents(row)
        return own if self.pieces.first[row] else np.union1d(super()._documents(row - 1), own)

    def rows_of(self, document: int, key: int) -> np.ndarray:
        """Those it is a target of, and the one after them, which reads it as a source."""
        own = self.pieces.rows_of(document)
        after = own[-1:] + 1
        return np.concatenate([own, after[(after < len(self)) & ~self.pieces.first[after % len(self)]]])


def _begins(hidden: np.ndarray) -> np.ndarray:
    """(n,) bool: the first token of each run."""
    return hidden & ~np.concatenate([[False], hidden[:-1]])


def loader_of(view: Callable[..., Any]) -> Callable[[Any, TokenStore, Batching], ViewLoader | BucketLoader]:
    """A loader of the rows a view makes.

    A source cannot hold documents that do not see each other, so with best-fit each piece of a document is a row of
    its own, and rows of nearly equal length make a batch.
    """

    def loader(spec: Any, store: TokenStore, how: Batching) -> ViewLoader | BucketLoader:
        def rows(packing: str) -> Any:
            return view(spec, store, how.sequence, how.tokens, packing)

        if how.packing == "best-fit":
            return BucketLoader(rows(how.packing), batch=how.batch, seed=how.seed)
        return ViewLoader(rows(how.packing), how.batch, how.seed, lambda: rows("best-fit"))

    return loader


def denoised(evaluation: EvaluationInput) -> EvaluationResult:
    """Nats per token and accuracy of the target where its beginning is known; beside a unigram model of targets."""
    spec: Any = evaluation.recipe.objective
    how = f"{spec.kind}|share:{spec.share:g}|span:{spec.span:g}|sequence:{evaluation.recipe.sequence}"
    result = guessed(evaluation, "token accuracy", "token", how)
    return replace(
        result, scores=dict(sorted(result.scores.items(), key=lambda item: item[0] != "nats per token"))
    )


def continued(evaluation: EvaluationInput) -> EvaluationResult:
    """Bits per byte of each half of a text from the half before it; beside a unigram model and compressors."""
    store: Any = evaluation.loader.store
    batches = evaluation.loader.evaluation(evaluation.rows, tokens=evaluation.spec.tokens)
    how = f"halves of {evaluation.recipe.sequence}"
    scored = bits(
        evaluation.model,
        batches,
        store,
        evaluation.spec,
        evaluation.reporter,
        evaluation.bootstrap,
        how,
    )
    return beside(evaluation, store, *scored)


_DENOISES = Purpose(
    "text2text-generation",
    "denoising",
    "Fine-tuning for a task that reads one text and writes another.",
    WRITES_FROM_SOURCE,
    "它只会补全残缺的文本，主要用作其他任务的起点；它会带有训练文本中的错误与偏见。",
)
_CONTINUES = replace(CAUSAL.purpose, pipeline="text2text-generation", limits=WRITES_FROM_SOURCE, loads=False)


def _objective(
    spec: type,
    view: Callable[..., Any],
    measure: Callable[[EvaluationInput], EvaluationResult],
    purpose: Purpose,
) -> Objective:
    return Objective(
        spec=spec,
        loader=loader_of(view),
        losses=losses_of_tokens,
        show=show.of_pairs,
        measure=measure,
        purpose=purpose,
        next=CAUSAL.next,
        writes=True,
    )


INFILLING = _objective(InfillingObjective, InfillingView, denoised, _DENOISES)
SPANS = _objective(SpansObjective, SpansView, denoised, _DENOISES)
CONTINUE = replace(_objective(ContinueObjective, ContinueView, continued, _CONTINUES), sample=CAUSAL.sample)
