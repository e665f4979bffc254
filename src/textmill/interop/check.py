"""One way to a model's logits, held against the reference; see interop/parity.py.

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

TOLERANCE = 1e-4
QUALITY = 0.02  # nats per token: the mean KL from which on numbers of fewer bits have cost too much
_USUAL = 8.0  # logits up to here are held to the tolerance itself


@dataclass(frozen=True)
class Check:
    """One way to the logits, held against the reference. A way that was not tried has no numbers, and says why."""

    name: str
    state: Literal["ok", "failed", "skipped"]
    max_difference: float | None = None  # of logits; of weights where those are compared
    mean_kl: float | None = None  # nats per token
    tolerance: float | None = None
    first_disagreement: tuple[int, int] | None = None  # (text, token) where the likeliest token first differs
    seconds: float | None = None
    why: str = ""


def compare(
    name: str, reference: list[Tensor], other: Callable[[], list[Tensor]], *, tolerance: float = TOLERANCE
) -> Check:
    """Hold the logits of `other()` against `reference`: one tensor (T, V) a text, both. NaN fails."""
    started = time.perf_counter()
    logits = other()
    seconds = time.perf_counter() - started
    scale = max(1.0, max(float(r.abs().max()) for r in reference) / _USUAL)
    pairs = list(zip((text.float() for text in logits), reference, strict=True))
    deltas = torch.stack([(tried - expected).abs().max() for tried, expected in pairs])
    delta = float(deltas.max())  # which passes NaN on
    nats = [
        nn.functional.kl_div(
            tried.log_softmax(-1), expected.log_softmax(-1), reduction="sum", log_target=True
        )
        for tried, expected in pairs
    ]
    first = None
    for text, (tried, expected) in enumerate(pairs):
        differs = (tried.argmax(-1) != expected.argmax(-1)).nonzero()
        if len(differs):
            first = (text, int(differs[0]))
            break
    allowed = tolerance * scale
    why = "" if delta <= allowed else "the logits differ"
    mean_kl = float(sum(nats)) / sum(map(len, reference))
    return Check(name, "failed" if why else "ok", delta, mean_kl, allowed, first, round(seconds, 3), why)


def same_weights(name: str, model: nn.Module, other: nn.Module) -> Check:
    """Whether two models hold the same weights, to the bit. Their logits may still differ in the last digit: a
    processor adds up in another order where memory begins at another address."""
    started = time.perf_counter()
    weights, others = dict(model.state_dict()), dict(other.state_dict())
    why = "" if weights.keys() == others.keys() else "they hold other weights"
    delta = 0.0
    for key in weights.keys() & others.keys():
        a, b = weights[key].detach().cpu(), others[key].detach().cpu()
        if a.shape != b.shape or not torch.equal(a, b.to(a.dtype)):
            why = why or f"{key} differs"
            if a.shape == b.shape:
                delta = max(delta, float((a.double() - b.double()).abs().max()))
    seconds = round(time.perf_counter() - started, 3)
    return Check(name, "failed" if why else "ok", delta, None, 0.0, None, seconds, why)


def by_divergence(check: Check) -> Check:
    """The same check of numbers of fewer bits: passed where their mean KL is small, whatever single logits do."""
    good = check.mean_kl is not None and check.mean_kl <= QUALITY
    why = "" if good else f"its mean KL is over {QUALITY} nats per token"
    return dataclasses.replace(check, state="ok" if good else "failed", tolerance=None, why=why)
