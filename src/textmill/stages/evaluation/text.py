"""How well a model of plain text does: bits per byte, hidden tokens, what was left out of a text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from textmill.base.console import Reporter
from textmill.data.batch import IGNORE, Batch
from textmill.data.loader import Scored, evaluation_batches
from textmill.data.tokens import TokenStore
from textmill.metrics import baselines, guesses, perplexity
from textmill.metrics.score import Score, Sums, share
from textmill.specs.objective import InfillingObjective, MaskedObjective, SpansObjective
from textmill.specs.recipe import EvaluationSpec
from textmill.stages.evaluation.measure import POSITIONS, Asked, Measured, some
from textmill.stages.workspace import inputs
from textmill.training.scoring import Look, nothing, score_documents, score_guesses

_OVERLAP = 0.5  # share of the context that later pieces of a long document start with
_NATS = "nats per token"
_COUNTED = 1 << 21  # training tokens a unigram model of targets is counted from, at most


def causal(asked: Asked) -> Measured:
    """Bits per byte of each token from those before it."""
    store, context = inputs.part(asked.prepared, asked.spec.part), asked.recipe.model.context
    return _beside(asked, store, *language_model(asked.model, store, asked.spec, asked.reporter, context))


def continued(asked: Asked) -> Measured:
    """Bits per byte of each half of a stretch of text from the half before it: every token once."""
    store = asked.loader.store
    batches = asked.loader.evaluation(asked.rows, tokens=asked.spec.tokens)
    how = f"halves of {asked.recipe.sequence}"
    return _beside(asked, store, *_bits(asked.model, batches, store, asked.spec, asked.reporter, how))


def language_model(
    model: Any, store: TokenStore, spec: EvaluationSpec, reporter: Reporter, context: int
) -> tuple[Measured, np.ndarray]:
    """Bits per byte of a store under any model that goes on with text, and the documents that were scored.

    Raises TextmillError when the store is empty.
    """
    some(store, spec.part)
    overlap = int(context * _OVERLAP)
    rows = max(1, POSITIONS // context)
    batches = evaluation_batches(store, context, rows, overlap=overlap, tokens=spec.tokens)
    return _bits(model, batches, store, spec, reporter, f"context:{context}|overlap:{overlap}")


def _bits(
    model: Any,
    batches: Iterable[Scored],
    store: TokenStore,
    spec: EvaluationSpec,
    reporter: Reporter,
    how: str,
) -> tuple[Measured, np.ndarray]:
    total = min(store.tokens, spec.tokens or store.tokens)
    nats, targets = score_documents(
        model,
        batches,
        len(store),
        progress=lambda done: reporter.progress("scoring", done, total, "tokens"),
    )
    # A sample cuts documents short: their bytes count in the share of their tokens that was scored.
    lengths = store.offsets[1:] - store.offsets[:-1]
    read = targets > 0
    sizes = store.bytes * (targets / lengths)
    scores = perplexity.language_model(
        nats[read], targets[read], sizes[read], resamples=spec.bootstrap, how=how
    )
    found = Measured(scores, {}, int(read.sum()), int(targets.sum()), int(sizes.sum()))
    return found, np.flatnonzero(read)


def _beside(asked: Asked, store: TokenStore, measured: Measured, chosen: np.ndarray) -> Measured:
    """The same with what it should beat: baselines on the `chosen` documents, those the model was scored on."""
    asked.reporter.note("scoring the baselines on the same text")
    spec = asked.spec
    found: dict[str, Score] = {}
    if "unigram" in spec.baselines:
        ids = [store.document(document) for document in chosen]
        found["unigram"] = baselines.unigram(
            inputs.part(asked.prepared, "train").ids,
            np.concatenate(ids),
            np.cumsum([0, *map(len, ids)]),
            store.bytes[chosen],
            store.vocabulary,
            resamples=spec.bootstrap,
        )
    if names := [name for name in spec.baselines if name != "unigram"]:
        corpus, wanted = asked.prepared.open_corpus(), set(chosen.tolist())
        test = (one.text for place, one in enumerate(corpus.documents(spec.part)) if place in wanted)
        train = (one.text for one in corpus.documents("train"))
        found |= baselines.compressors(names, train, test, limit=spec.baseline_bytes)
    return measured.with_baselines({name: {"bits per byte": found[name]} for name in spec.baselines})


def masked(asked: Asked) -> Measured:
    """Hidden tokens from all others, and whether two segments belong together where that was learnt."""
    sentences, objective = _Sentences(asked.model), asked.recipe.objective
    assert isinstance(objective, MaskedObjective)
    how = f"share:{objective.share:g}|sequence:{asked.recipe.sequence}"
    found = _guessed(asked, "masked accuracy", "hidden token", how, sentences.look)
    return found if not sentences.right else replace(found, scores={**found.scores, **sentences.score(asked)})


def denoised(asked: Asked) -> Measured:
    """The tokens of the target when its beginning is known, in nats first."""
    objective = asked.recipe.objective
    assert isinstance(objective, (InfillingObjective, SpansObjective))
    how = (
        f"{objective.kind}|share:{objective.share:g}|span:{objective.span:g}|sequence:{asked.recipe.sequence}"
    )
    found = _guessed(asked, "token accuracy", "token", how)
    return replace(found, scores=dict(sorted(found.scores.items(), key=lambda item: item[0] != _NATS)))


def _guessed(asked: Asked, accuracy: str, what: str, how: str, look: Look = nothing) -> Measured:
    """Nats and accuracy of the targets an objective makes of text, and those of a unigram model of them."""
    loader, store = asked.loader, asked.loader.store
    batches = loader.evaluation(asked.rows, tokens=asked.spec.tokens)
    nats, hits, targets = score_guesses(
        asked.model,
        batches,
        len(store),
        progress=lambda done: asked.reporter.progress("scoring", done, unit="tokens"),
        look=look,
    )
    read = targets > 0
    options: dict[str, Any] = {"accuracy": accuracy, "what": what, **asked.options}
    scores = guesses.token_scores(nats[read], hits[read], targets[read], how=how, **options)
    found = Measured(scores, {}, int(read.sum()), int(targets.sum()), int(store.bytes[read].sum()))
    if "unigram" not in asked.spec.baselines:
        return found
    asked.reporter.note("scoring the baseline on the same text")
    counts = _counts(asked)
    again = loader.evaluation(asked.rows, tokens=asked.spec.tokens)
    nats, hits = _unigram(again, guesses.unigram_nats(counts), len(store))
    said = f"unigram|-ln((c+1)/(N+V))|N:{int(counts.sum())}|V:{len(counts)}|{how}"
    beside = guesses.token_scores(nats[read], hits[read], targets[read], how=said, **options)
    return found.with_baselines({"unigram": beside})


def _counts(asked: Asked) -> np.ndarray:
    """(V,) how often each token is a target of the training part, or of a sample of it."""
    counts = np.zeros(asked.model.vocabulary, dtype=np.int64)
    for scored in asked.loader_of("train").evaluation(asked.rows, tokens=_COUNTED):
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


class _Sentences:
    """Decisions whether a second segment follows the first, kept while hidden tokens are scored."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.right: list[np.ndarray] = []
        self.owners: list[np.ndarray] = []

    def look(self, states: Tensor, batch: Batch, scored: Scored) -> None:
        """The rows of a batch. A row belongs to the document of its first hidden token; one without is left out."""
        if batch.labels is None:
            return
        right = (self.model.next_sentence(states).argmax(-1) == batch.labels).cpu()
        there = scored.documents >= 0
        first = scored.documents.gather(1, there.int().argmax(1, keepdim=True))[:, 0]
        kept = there.any(1)
        self.right.append(right[kept].numpy())
        self.owners.append(first[kept].numpy())

    def score(self, asked: Asked) -> dict[str, Score]:
        """The share of right decisions; documents are resampled."""
        _, owner = np.unique(np.concatenate(self.owners), return_inverse=True)
        columns = np.stack([np.bincount(owner, np.concatenate(self.right)), np.bincount(owner)], axis=1)
        name = "next-sentence accuracy"
        return {
            name: Sums.of(columns, **asked.options).score("next-sentence-accuracy|right/rows", share(0, 1))
        }
