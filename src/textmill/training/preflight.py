"""What training will cost, measured before anything is spent. Nothing here prints or changes the model given."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from textmill.base.console import tracked
from textmill.base.errors import NonFiniteError
from textmill.models import names
from textmill.models.model import Model
from textmill.objectives.loss import Count, Loss, count_targets
from textmill.specs.training import TrainingSpec
from textmill.training import optimizer as optimizers
from textmill.training.device import Compute
from textmill.training.loop import Batches, StepResult, train


@dataclass(frozen=True)
class Timing:
    """Steps that were really made on a copy."""

    seconds_per_step: float  # the median
    tokens_per_second: float
    steps: int  # measured
    seconds: float  # of the whole run, validation and saving not counted
    micro_batch: int


def measure(
    model: Model,
    loss: Loss,
    loader: Batches,
    training: TrainingSpec,
    compute: Compute,
    *,
    micro_batch: int | None,
    steps: int = 3,
    count: Count = count_targets,
) -> Timing:
    """Time `steps` steps, after one that warms up, on a copy of the model.

    Everything a step costs is in it: batch, forward, backward, clipping, the optimiser's update.
    """
    made = _steps(
        model, loss, loader, training, compute, range(steps + 1), [1e-8] * (steps + 1), micro_batch, count
    )
    results = list(tracked(made, "timing", steps + 1, "steps"))
    typical = statistics.median(result.seconds for result in results[1:])
    return Timing(
        seconds_per_step=typical,
        tokens_per_second=results[-1].tokens / typical,
        steps=steps,
        seconds=typical * training.steps,
        micro_batch=results[-1].micro_batch,
    )


def extrapolated(short: Timing, long: Timing, rows: tuple[int, int], batch: int, steps: int) -> Timing:
    """The time of `steps` updates of `batch` rows, from two of so many rows each: what a row costs is what the longer
    one takes more, and the rest of an update is the same whatever its rows."""
    more = (long.seconds_per_step - short.seconds_per_step) / (rows[1] - rows[0])
    each = more if more > 0 else long.seconds_per_step / rows[1]
    seconds = long.seconds_per_step + each * (batch - rows[1])
    tokens = long.tokens_per_second * long.seconds_per_step * batch / rows[1]
    return Timing(seconds, tokens / seconds, long.steps, seconds * steps, long.micro_batch)


def _steps(
    model: Model,
    loss: Loss,
    loader: Batches,
    training: TrainingSpec,
    compute: Compute,
    steps: range,
    rates: list[float],
    micro_batch: int | None,
    count: Count,
) -> Iterator[StepResult]:
    """Steps on a copy of the model with a fresh optimiser."""
    trial = copy.deepcopy(model).to(compute.device)
    names.freeze(trial, training.freeze)
    optimizer = optimizers.build(trial, training.optimizer, layer_decay=training.layer_decay)
    return train(
        trial,
        loss,
        loader,
        optimizer,
        steps=steps,
        rates=lambda step: rates[step],
        micro_batch=micro_batch,
        clip=training.clip,
        autocast=compute.autocast,
        count=count,
    )


@dataclass(frozen=True)
class RangeTest:
    """A learning-rate range test."""

    rates: tuple[float, ...]  # peak learning rates tried, rising
    losses: tuple[float, ...]  # smoothed loss at each, nats per target; may end early, when it diverged
    suggestion: float  # a peak learning rate
    highest: float  # from here on the loss was no longer falling


def learning_rate_range(
    model: Model,
    loss: Loss,
    loader: Batches,
    training: TrainingSpec,
    compute: Compute,
    *,
    micro_batch: int | None = None,
    lowest: float = 1e-2,
    highest: float = 1e2,
    steps: int = 60,
    smoothing: float = 0.8,
    count: Count = count_targets,
) -> RangeTest:
    """Raise the learning rate exponentially from `lowest` to `highest` times the recipe's, and watch the loss.

    Smith 2017, section 3.3, with an exponential sweep. The suggestion is a tenth of the learning rate at which the
    smoothed loss was lowest: there it was about to rise, and a whole run wants a margin. The sweep ends
    when the loss has risen by half of what it had fallen, or is no longer finite. Rates are those of the
    optimiser's first group (Muon: of the matrices inside blocks), the others keep their proportion.
    """
    multiples = [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]
    peak = training.optimizer.lr
    losses: list[float] = []
    made = _steps(model, loss, loader, training, compute, range(steps), multiples, micro_batch, count)
    try:
        for result in tracked(made, "learning rates", steps, "tried"):
            smoothed = result.loss if not losses else smoothing * losses[-1] + (1 - smoothing) * result.loss
            losses.append(smoothed)
            if smoothed > min(losses) + 0.5 * max(losses[0] - min(losses), 0.1):
                break
    except NonFiniteError:
        pass  # the end of the sweep
    rates = tuple(peak * multiple for multiple in multiples[: len(losses)])
    best = min(range(len(losses)), key=losses.__getitem__) if losses else 0
    bottom = rates[best] if rates else peak * lowest
    return RangeTest(rates, tuple(losses), bottom / 10, bottom)
