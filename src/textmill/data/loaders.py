"""What each objective reads: for every kind in specs/objective.py the loader that makes its batches.

All are called alike, and all are pure: `batch(step, rank, world)`, `documents(step)`, `steps_of(document, steps)`,
`steps_per_epoch`, and `evaluation(batch, tokens=…)`, which reads the same store in fixed order, documents apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from textmill.data import supervised
from textmill.data.batch import Batch
from textmill.data.buckets import BucketLoader
from textmill.data.denoising import ContinueView, InfillingView, SpansView
from textmill.data.examples import ExampleStore
from textmill.data.loader import Loader, Scored
from textmill.data.masked import MaskedView, NextSentenceView
from textmill.data.packing import BestFitPacking, RunningPacking
from textmill.data.special import SpecialTokens
from textmill.data.tokens import TokenStore
from textmill.data.view import ViewLoader
from textmill.specs.objective import (
    CausalObjective,
    ClassifyObjective,
    ContinueObjective,
    InfillingObjective,
    MaskedObjective,
    ObjectiveSpec,
    PairsObjective,
    RegressObjective,
    SpanObjective,
    SpansObjective,
    TagObjective,
)

# Objectives whose data is an example store, of records; that of all others is a token store, of plain text.
SUPERVISED = tuple(supervised.VIEWS)
_PACKINGS = {"running": RunningPacking, "best-fit": BestFitPacking}
_DENOISING: dict[str, Any] = {"infilling": InfillingView, "spans": SpansView, "continue": ContinueView}


class AnyLoader(Protocol):
    """What every loader here can do."""

    store: Any  # a TokenStore or an ExampleStore

    @property
    def steps_per_epoch(self) -> float: ...
    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch: ...
    def documents(self, step: int) -> list[tuple[str, int]]: ...
    def steps_of(self, document: str, steps: int) -> tuple[np.ndarray, np.ndarray]: ...
    def evaluation(self, batch: int, *, tokens: int | None = None) -> Iterator[Scored]: ...


class Factory(Protocol):
    """How a loader is made.

    sequence: most tokens a row holds, on either side. batch: rows of an update, over all ranks. packing: running or
    best-fit. Raises RecipeError when the tokenizer lacks what the objective needs, TextmillError for an empty store.
    """

    def __call__(
        self,
        spec: Any,
        store: Any,
        *,
        sequence: int,
        batch: int,
        seed: int,
        packing: str,
        tokens: SpecialTokens,
    ) -> AnyLoader: ...


def causal(
    spec: CausalObjective,
    store: TokenStore,
    *,
    sequence: int,
    batch: int,
    seed: int,
    packing: str,
    tokens: SpecialTokens,
) -> Loader:
    """Each token from those before it."""
    return Loader(_PACKINGS[packing](store, sequence), batch, seed)


def masked(
    spec: MaskedObjective,
    store: TokenStore,
    *,
    sequence: int,
    batch: int,
    seed: int,
    packing: str,
    tokens: SpecialTokens,
) -> ViewLoader:
    """Hidden tokens from all others; with `next_sentence` also whether two segments belong together."""
    if spec.next_sentence:
        return ViewLoader(NextSentenceView(spec, store, sequence, tokens), batch, seed)
    view = MaskedView(spec, store, sequence, tokens, packing)
    return ViewLoader(view, batch, seed, lambda: MaskedView(spec, store, sequence, tokens, "best-fit"))


def denoising(
    spec: InfillingObjective | SpansObjective | ContinueObjective,
    store: TokenStore,
    *,
    sequence: int,
    batch: int,
    seed: int,
    packing: str,
    tokens: SpecialTokens,
) -> ViewLoader | BucketLoader:
    """A text from what was left of it, or from what stood before it.

    A source cannot hold documents that do not see each other, so with best-fit each piece of a document is a row of
    its own, and rows of nearly equal length make a batch.
    """
    make = _DENOISING[spec.kind]
    if packing == "best-fit":
        return BucketLoader(make(spec, store, sequence, tokens, packing), batch=batch, seed=seed)
    view = make(spec, store, sequence, tokens, packing)
    return ViewLoader(view, batch, seed, lambda: make(spec, store, sequence, tokens, "best-fit"))


def records(
    spec: PairsObjective | ClassifyObjective | RegressObjective | TagObjective | SpanObjective,
    store: ExampleStore,
    *,
    sequence: int,
    batch: int,
    seed: int,
    packing: str,
    tokens: SpecialTokens,
) -> BucketLoader:
    """What records hold, in batches of rows of nearly equal length; packing plays no part."""
    view = supervised.VIEWS[spec.kind](spec, store, sequence, tokens)
    most = spec.batch_tokens if isinstance(spec, PairsObjective) else None
    return BucketLoader(view, batch=None if most else batch, batch_tokens=most, seed=seed)


LOADERS: dict[str, Factory] = {
    CausalObjective.kind: causal,
    MaskedObjective.kind: masked,
    InfillingObjective.kind: denoising,
    SpansObjective.kind: denoising,
    ContinueObjective.kind: denoising,
    **dict.fromkeys(SUPERVISED, records),
}


def loader(
    spec: ObjectiveSpec,
    store: TokenStore | ExampleStore,
    *,
    sequence: int,
    batch: int,
    seed: int,
    packing: str,
    tokens: SpecialTokens,
) -> AnyLoader:
    """The loader of an objective; see `Factory`."""
    return LOADERS[spec.kind](
        spec, store, sequence=sequence, batch=batch, seed=seed, packing=packing, tokens=tokens
    )
