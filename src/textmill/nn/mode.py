"""How models compute inside a block of code: a matter of the caller, never of the model.

    with computing(recomputed_blocks=4):         # a training step
        nats, targets = loss(model, batch)
    with capture() as weights:                   # a look inside
        model(batch)

It holds for one thread (or one asyncio task) and ends with its block, so one model may answer in one thread while
it, or another, trains in the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Mode:
    """What a caller may ask of the models it calls."""

    eager: bool = False  # attention follows its formula step by step instead of using the fused kernel
    weights: list[Tensor] | None = None  # collects the attention weights (B, H, T, S) of every layer
    source_weights: list[Tensor] | None = None  # the same, of layers that read a source only
    recomputed_blocks: int = 0  # so many, from the first, are computed again in the backward pass
    teacher_forcing: float = 1.0  # how often a recurrent decoder in training reads the target, not its guess
    check: Callable[[], object] | None = None  # called before each pass; what it raises ends it
    between: Callable[[], None] | None = None  # called after each block: something else may be done there
    rows: tuple[int, ...] = ()  # of a batch, so many of each model, where several are computed as one

    def record(self, weights: Tensor, *, source: bool) -> None:
        """Give attention weights (B, H, T, S) to who collects them. source: they are over a source."""
        if self.weights is not None:
            self.weights.append(weights.detach())
        if source and self.source_weights is not None:
            self.source_weights.append(weights.detach())


PLAIN = Mode()
_MODE = ContextVar("mode", default=PLAIN)


def current() -> Mode:
    """The mode that holds here. A model that is compiled, or exported, as one graph knows the plain one only."""
    if torch.compiler.is_compiling():
        return PLAIN
    mode = _MODE.get()
    if mode.check is not None:
        mode.check()
    return mode


@contextlib.contextmanager
def computing(**changes: object) -> Iterator[None]:
    """Inside the block these fields of the mode are other than around it."""
    token = _MODE.set(replace(_MODE.get(), **changes))  # pyrefly: ignore[bad-argument-type]
    try:
        yield
    finally:
        _MODE.reset(token)


@contextlib.contextmanager
def capture() -> Iterator[list[Tensor]]:
    """Collect the attention weights (B, H, T, S) of every layer run inside the block, in order."""
    weights: list[Tensor] = []
    with computing(eager=True, weights=weights):
        yield weights


@contextlib.contextmanager
def capture_sources() -> Iterator[list[Tensor]]:
    """The same, but only of layers that read a source: (B, H, T, S) over its S tokens, or (B / G, H, G · T, S)
    where G rows share a source. It stays empty with a model that reads none."""
    weights: list[Tensor] = []
    with computing(eager=True, source_weights=weights):
        yield weights
