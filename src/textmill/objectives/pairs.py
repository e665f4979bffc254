"""A target from its source: translation, summaries. The corpus' records hold both."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from textmill.data.codec import Text
from textmill.data.examples import ExampleStore, Record
from textmill.data.record_view import RecordView
from textmill.data.special import SpecialTokens
from textmill.data.view import ALL, Pair, Viewed, pair_batch
from textmill.metrics import guesses
from textmill.objectives import show
from textmill.objectives.evaluation import (
    EvaluationInput,
    EvaluationResult,
    record_batches,
    result_of_records,
)
from textmill.objectives.loss import losses_of_tokens
from textmill.objectives.objective import WRITES_FROM_SOURCE, Objective, Purpose
from textmill.objectives.records import Reader, lacks, loader_of, size
from textmill.objectives.scoring import score_guesses
from textmill.specs.forcing import ConstantForcing, LinearForcing
from textmill.specs.objective import PairsObjective
from textmill.text.document import Document
from textmill.tokenization.protocol import AnyTokenizer

_TOGETHER = 256  # prompts between two reports of progress


class PairsReader(Reader):
    """source, target: ids of both."""

    schema: ClassVar = {"source": "ids", "target": "ids"}
    written: ClassVar = (1,)
    decided: ClassVar = ("source", "target")

    def wanted(self, document: Document) -> Any:
        """Source and target."""
        spec = self.spec
        source, target = self.text(document, spec.source), self.text(document, spec.target)
        if not target or not target.strip():
            return lacks(spec.target, target)
        if not source or not source.strip():
            return lacks(spec.source, source)

        def finish(texts: list[Text]) -> Record | str:
            if not all(map(len, texts)):
                return "no token is left"
            return Record({"source": texts[0].ids, "target": texts[1].ids}, size(target))

        return [source, target], finish


class PairsView(RecordView):
    """Source and target, each cut to what a row holds; a target that was cut has no end."""

    def __init__(
        self, spec: PairsObjective, store: ExampleStore, sequence: int, tokens: SpecialTokens
    ) -> None:
        super().__init__(store, tokens, sequence - max(tokens.frame, 1))
        self.record = np.arange(len(store))
        self._sequence = sequence
        self._targets = np.minimum(store.lengths("target") + 1, sequence)
        self._sources = np.minimum(store.lengths("source") + tokens.frame, sequence)

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of the target, its end included, and (R,) of the source as it is read."""
        return self._targets, self._sources

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share, as wide as the whole batch."""
        batch, owners = pair_batch(
            [self._pair(int(row)) for row in rows], self.tokens.start, self.tokens.pad, share
        )
        return Viewed(batch, owners, self.read_by(rows[share]))

    def _pair(self, row: int) -> Pair:
        tokens, sequence = self.tokens, self._sequence
        source = self.store.field("source", row)[: sequence - tokens.frame]
        target = np.append(self.store.field("target", row).astype(np.int64), tokens.end)[:sequence]
        return Pair(tokens.around(source), target, np.full(len(target), row))


def teacher_forcing(spec: PairsObjective, step: int, steps: int) -> float:
    """How often the decoder reads the target rather than its own last guess, at step 0 … steps - 1 of a run
    (Bengio et al. 2015, section 2.4; their inverse sigmoid decay is k / (k + exp(i / k)))."""
    forcing = spec.forcing
    if isinstance(forcing, ConstantForcing):
        return forcing.ratio
    if isinstance(forcing, LinearForcing):
        done = step / max(steps - 1, 1)
        return forcing.start + (forcing.end - forcing.start) * done
    # k / (k + exp(i / k)) with both halves divided by exp(i / k), which may be too large a number.
    return 1 - 1 / (1 + forcing.k * math.exp(-step / forcing.k))


def measure(evaluation: EvaluationInput) -> EvaluationResult:
    """Nats and accuracy of each token where the target so far is given."""
    store = evaluation.loader.store
    nats, hits, targets = score_guesses(evaluation.model, record_batches(evaluation), len(store))
    records = np.flatnonzero(targets)
    bootstrap = evaluation.bootstrap.of(records)
    scores = guesses.token_scores(nats[records], hits[records], targets[records], bootstrap)
    return result_of_records(evaluation, records, dict(reversed(scores.items())), {}, int(targets.sum()))


def sample(spec: PairsObjective, document: Document, tokenizer: AnyTokenizer, tokens: int) -> tuple[str, str]:
    """The source, and the target."""
    return document.texts[spec.source], document.texts[spec.target]


PAIRS = Objective(
    spec=PairsObjective,
    reader=PairsReader,
    loader=loader_of(PairsView),
    losses=losses_of_tokens,
    teacher_forcing=teacher_forcing,
    show=show.of_pairs,
    measure=measure,
    judged=True,
    writes=True,
    sample=sample,
    next=("predict {run} 'a source text'",),
    purpose=Purpose(
        "text2text-generation",
        "writing one text from another",
        "Writing a text from another as in its training pairs: a translation, a summary.",
        WRITES_FROM_SOURCE,
        "它按训练数据的方式由源文本写出目标文本，可能有错译、遗漏或不实之处；使用前请人工核对。",
    ),
)
