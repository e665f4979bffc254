"""How well a model of plain text does: bits per byte of text, and nats and accuracy of the tokens it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from textmill.base.console import Reporter
from textmill.data.batch import IGNORE
from textmill.data.loader import Scored, evaluation_batches
from textmill.data.special import spelt
from textmill.data.tokens import TokenStore
from textmill.metrics import baselines, guesses, perplexity
from textmill.metrics.score import Bootstrap, Score
from textmill.models.model import Model
from textmill.objectives.evaluation import POSITIONS, EvaluationInput, EvaluationResult
from textmill.objectives.scoring import Look, nothing, score_documents, score_guesses
from textmill.specs.recipe import EvaluationSpec
from textmill.tokenization.protocol import AnyTokenizer

BITS = "bits per byte"
_OVERLAP = 0.5  # share of a window that is context from the window before, in a document longer than one
_COUNTED = 1 << 21  # training tokens a unigram model of targets is counted from, at most


def language_model(
    model: Model,
    store: TokenStore,
    spec: EvaluationSpec,
    reporter: Reporter,
    context: int,
    tokenizer: AnyTokenizer,
    bootstrap: Bootstrap,
) -> tuple[EvaluationResult, np.ndarray]:
    """Bits per byte of a store under any model that goes on with text, and the documents that were scored.

    A text is read behind what the store was written to begin it with, in windows of `spec.context` (or `context`, what
    the model reads) tokens; in one that is longer, each window goes on half a window after the one before, whose second
    half it reads once more.

    Raises TextmillError when the store is empty.
    """
    context = min(spec.context or context, context)
    overlap = int(context * _OVERLAP)
    begins, ends = spelt(tokenizer, store.opening), spelt(tokenizer, [store.end])
    batches = evaluation_batches(
        store, context, max(1, POSITIONS // context), overlap=overlap, tokens=spec.tokens, end=spec.end
    )
    how = f"starts with:{begins}|context:{context}|overlap:{overlap}"
    result, chosen = bits(model, batches, store, spec, reporter, bootstrap, how)
    read = {"starts_with": begins, "ends_with": ends if spec.end else None, "context": context}
    return replace(result, more={**result.more, **read, "stride": context - overlap}), chosen


def bits(
    model: Model,
    batches: Iterable[Scored],
    store: TokenStore,
    spec: EvaluationSpec,
    reporter: Reporter,
    bootstrap: Bootstrap,
    how: str,
) -> tuple[EvaluationResult, np.ndarray]:
    """Bits per byte of what batches of a store ask for, and the documents that were scored.

    Where the tokenizer loses some of the text (capital letters, words it does not know), the model is not asked for it,
    and bits per byte are left out.
    """
    total = min(store.tokens, spec.tokens or store.tokens)
    nats, targets = score_documents(
        model,
        batches,
        len(store),
        progress=lambda done: reporter.progress("scoring", done, total, "tokens"),
    )
    # A sample cuts documents short: their bytes count in the share of their tokens that was scored.
    read = targets > 0
    lengths = np.diff(store.offsets) - (not spec.end)
    sizes = store.bytes * (targets / np.maximum(lengths, 1))
    scores = perplexity.language_model(
        nats[read], targets[read], sizes[read], bootstrap.of(read), how=how, end=spec.end
    )
    more = {}
    if store.changed:
        del scores[BITS]
        more["changed_by_tokenizer"] = store.changed
        reporter.warn(
            f"{store.changed:,} of {len(store):,} documents are not what their tokens decode to: no bits "
            "per byte are given, which would not count what the tokenizer lost"
        )
    result = EvaluationResult(scores, {}, int(read.sum()), int(targets.sum()), int(sizes.sum()), more)
    return result, np.flatnonzero(read)


def beside(
    evaluation: EvaluationInput, store: TokenStore, measured: EvaluationResult, chosen: np.ndarray
) -> EvaluationResult:
    """The same with what it should beat: baselines on the `chosen` documents, those the model was scored on. They are
    in bits per byte, so there are none where the model has none."""
    if BITS not in measured.scores:
        return measured
    evaluation.reporter.note("scoring the baselines on the same text")
    spec = evaluation.spec
    scores: dict[str, Score] = {}
    if "unigram" in spec.baselines:
        ids = [store.document(document) for document in chosen]
        scores["unigram"] = baselines.unigram(
            evaluation.data.store("train").ids,
            np.concatenate(ids),
            np.cumsum([0, *map(len, ids)]),
            store.bytes[chosen],
            store.vocabulary,
            evaluation.bootstrap.of(chosen),
        )
    if names := [name for name in spec.baselines if name != "unigram"]:
        test = (document.text for document in evaluation.documents(chosen))
        train = (document.text for document in evaluation.data.documents("train"))
        scores |= baselines.compressors(names, train, test, limit=spec.baseline_bytes)
    return measured.with_baselines({name: {BITS: scores[name]} for name in spec.baselines})


def guessed(
    evaluation: EvaluationInput, accuracy: str, target: str, how: str, look: Look = nothing
) -> EvaluationResult:
    """Nats and accuracy of the targets an objective makes of text, and those of a unigram model of them."""
    loader, store = evaluation.loader, evaluation.loader.store
    batches = loader.evaluation(evaluation.rows, tokens=evaluation.spec.tokens)
    nats, hits, targets = score_guesses(
        evaluation.model,
        batches,
        len(store),
        progress=lambda done: evaluation.reporter.progress("scoring", done, unit="tokens"),
        look=look,
    )
    read = targets > 0
    options: dict[str, Any] = {"accuracy": accuracy, "target": target}
    bootstrap = evaluation.bootstrap.of(read)
    scores = guesses.token_scores(nats[read], hits[read], targets[read], bootstrap, how=how, **options)
    result = EvaluationResult(scores, {}, int(read.sum()), int(targets.sum()), int(store.bytes[read].sum()))
    if "unigram" not in evaluation.spec.baselines:
        return result
    evaluation.reporter.note("scoring the baseline on the same text")
    counts = _counts(evaluation)
    again = loader.evaluation(evaluation.rows, tokens=evaluation.spec.tokens)
    nats, hits = _unigram(again, guesses.unigram_nats(counts), len(store))
    signature = f"unigram|-ln((c+1)/(N+V))|N:{int(counts.sum())}|V:{len(counts)}|{how}"
    beside = guesses.token_scores(nats[read], hits[read], targets[read], bootstrap, how=signature, **options)
    return result.with_baselines({"unigram": beside})


def _counts(evaluation: EvaluationInput) -> np.ndarray:
    """(V,) how often each token is a target of the training split, or of a sample of it."""
    counts = np.zeros(evaluation.model.vocabulary, dtype=np.int64)
    for scored in evaluation.data.loader("train").evaluation(evaluation.rows, tokens=_COUNTED):
        targets = scored.batch.targets
        counts += np.bincount(targets[targets != IGNORE].numpy(), minlength=len(counts))
    return counts


def _unigram(batches: Iterable[Scored], costs: np.ndarray, documents: int) -> tuple[np.ndarray, np.ndarray]:
    """(nats (D,), hits (D,)) of always saying the commonest token, at these costs (V,)."""
    nats, hits, commonest = np.zeros(documents), np.zeros(documents), int(costs.argmin())
    for scored in batches:
        there = scored.batch.targets != IGNORE
        targets, owners = scored.batch.targets[there].numpy(), scored.documents[there].numpy()
        nats += np.bincount(owners, costs[targets], documents)
        hits += np.bincount(owners, targets == commonest, documents)
    return nats, hits
