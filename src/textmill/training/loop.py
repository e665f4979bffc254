"""The training loop: a generator of steps. Whoever iterates logs, saves, evaluates and stops."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from textmill.base.errors import NonFiniteError, TextmillError
from textmill.data.batch import Batch
from textmill.data.buckets import idle
from textmill.models.model import Model
from textmill.objectives.loss import Loss, count_targets
from textmill.training.distributed import Reducer, World, local
from textmill.training.optimizer import Optimizer


class Batches(Protocol):
    """What the loop reads: a pure function of the step."""

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch: ...


@dataclass(frozen=True)
class StepResult:
    """One update that was made. Sums and counts are over the whole global batch."""

    step: int  # index of the step, from 0: after it, step + 1 updates have been made
    nats: float  # sum of the loss
    targets: int  # positions that bore loss
    grad_norm: float  # of the whole gradient, before clipping
    rate: float  # share of the peak learning rate
    seconds: float  # wall time of the step, waiting for the caller not counted
    tokens: int  # positions computed, padding included
    micro_batch: int  # most rows computed at once on a rank: batches of fewer leave it as it was

    @property
    def loss(self) -> float:
        """Nats per target."""
        return self.nats / max(self.targets, 1)


def train(
    model: Model,
    loss: Loss,
    loader: Batches,
    optimizer: Optimizer,
    *,
    steps: range,
    rates: Callable[[int], float],
    micro_batch: int | None = None,
    clip: float | None = None,
    seed: int = 0,
    world: World | None = None,
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    count: Callable[[Batch], int] = count_targets,
    baseline: Loss | None = None,
    during: Callable[[int], contextlib.AbstractContextManager[None]] = lambda step: contextlib.nullcontext(),
) -> Iterator[StepResult]:
    """Make the updates of `steps`, and yield a StepResult after each.

    The loss of a step is the sum of nats over the global batch divided by its number of targets, however it
    is cut up: `micro_batch` rows at a time on each rank (None: all of a rank's rows). Randomness is seeded
    from (seed, step, rank, micro-batch), so a resumed run draws the same numbers and no random state is kept.
    When memory runs out, the micro-batch is halved and the same step is made again from its beginning.
    baseline: what the rows of a step are to know the mean of (objectives.loss.Losses); it is taken before, over the
    whole global batch.
    during: what holds while the gradients of a step are made (`nn.mode.computing`): recomputed blocks, and whatever
    follows a schedule of steps.

    Raises NonFiniteError, before the update, when the loss or the gradient norm is NaN or infinite.
    """
    world = world or World()
    work = _Work(model, loss, optimizer, world, seed, autocast, micro_batch)
    for step in steps:
        started = time.perf_counter()
        model.train()
        batch = loader.batch(step, world.rank, world.size).to(world.device, non_blocking=True)
        targets, tokens = world.sum_many((count(batch), batch.inputs.numel()))
        with during(step):
            if baseline is not None:
                batch = work.with_baseline(batch, step, baseline)
            nats, counted = work.gradients(batch, step, max(targets, 1.0))
        if counted != targets:
            raise TextmillError(
                f"the loss counted {counted:.0f} targets in a batch of {targets:.0f}",
                advice="give `train` the `count` that belongs to this loss",
            )
        norm = global_norm(optimizer.parameters(), world)
        _check_finite(step, nats, norm, optimizer)
        if clip is not None and norm > clip:
            _scale_gradients(optimizer.parameters(), clip / norm)
        rate = rates(step)
        optimizer.step(rate)
        optimizer.zero_grad()
        seconds = time.perf_counter() - started
        yield StepResult(
            step, nats, int(targets), norm, rate, seconds, int(tokens), work.micro_batch or len(batch)
        )


def _check_finite(step: int, nats: float, norm: float, optimizer: Optimizer) -> None:
    if math.isfinite(nats) and math.isfinite(norm):
        return
    optimizer.zero_grad()
    quantity = "gradient" if math.isfinite(nats) else "loss"
    raise NonFiniteError(
        f"the {quantity} of step {step + 1} is not a finite number; the weights were left as they were before it",
        step=step,
        advice="lower the learning rate, lengthen the warm-up, or look at the documents of this batch",
    )


@dataclass
class _Work:
    """How one rank computes the gradient of its share of a step."""

    model: Model
    loss: Loss
    optimizer: Optimizer
    world: World
    seed: int
    autocast: Callable[[], contextlib.AbstractContextManager[Any]]
    micro_batch: int | None
    settled: int = 0  # steps made since the micro-batch was last changed
    reducer: Reducer = field(init=False)

    def __post_init__(self) -> None:
        self.reducer = Reducer(self.model, self.world)

    def rows(self, batch: Batch) -> int:
        """Rows computed at once."""
        return min(self.micro_batch or len(batch), len(batch))

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """The batch in pieces that are computed at once. Ranks gather sharded weights in step, so each has as many
        pieces as the one with most: what is missing are rows again, of which nothing is learned."""
        rows = self.rows(batch)
        pieces = [batch.rows(start, start + rows) for start in range(0, len(batch), rows)]
        if self.world.sharded:
            pieces += [idle(pieces[0])] * (self.world.most(len(pieces)) - len(pieces))
        return pieces

    @torch.no_grad()
    def with_baseline(self, batch: Batch, step: int, baseline: Loss) -> Batch:
        """The batch, each row with the mean that `baseline` sums up over the rows of all ranks."""
        sums = [batch.inputs.new_zeros(2, dtype=torch.float64)]
        for index, piece in enumerate(self.micro_batches(batch)):
            torch.manual_seed(_seed(self.seed, step, self.world.rank, index))
            with self.autocast():
                some = baseline(self.model, piece)
            sums.append(torch.stack([part.double() for part in some]))
        total, number = self.world.sum_many(list(torch.stack(sums).sum(0)))
        mean = torch.full((len(batch),), total / max(number, 1.0), dtype=torch.float64)
        return replace(batch, baseline=mean.to(batch.inputs.device))

    def gradients(self, batch: Batch, step: int, targets: float) -> tuple[float, float]:
        """Leave the gradient of the global mean loss in the parameters; (nats, targets) over all ranks.

        When memory runs out, the micro-batch is halved and the step begun again. Several ranks must agree on
        that before gradients travel, so until a size has served for two steps they wait for each other.
        """
        proved = self.settled >= 2
        while True:
            rows = self.rows(batch)
            sums = self._accumulate(self.micro_batches(batch), step, targets, overlap=proved)
            if self.world.size > 1 and not proved and not self.world.sharded:
                sums = None if self.world.sum(float(sums is None)) else sums
            if sums is not None:
                break
            self._halve(rows, alone=self.world.size == 1 or not (proved or self.world.sharded))
        self.reducer.finish()
        self.settled += 1
        nats, counted = self.world.sum_many(sums)
        return nats, counted

    def _accumulate(
        self, pieces: list[Batch], step: int, targets: float, *, overlap: bool
    ) -> list[Tensor] | None:
        """Gradients of all micro-batches, and the sums of nats and targets; None when memory ran out."""
        nats, counted = [], []
        try:
            for index, piece in enumerate(pieces):
                torch.manual_seed(_seed(self.seed, step, self.world.rank, index))
                with self.reducer.micro(last=index == len(pieces) - 1, overlap=overlap):
                    with self.autocast():
                        some, number = self.loss(self.model, piece)
                    some.backward(torch.full_like(some, 1.0 / targets))
                nats.append(some.detach().double())
                counted.append(number)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return None
        return [torch.stack(nats).sum(), torch.stack(counted).sum()]

    def _halve(self, rows: int, *, alone: bool) -> None:
        self.optimizer.zero_grad()
        if self.world.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows == 1 or not alone:
            raise TextmillError(
                f"out of memory while computing {rows} sequences at once",
                advice="lower training.micro_batch or training.sequence, or recompute activations with "
                "training.gradient_checkpointing",
            )
        self.micro_batch, self.settled = rows // 2, 0


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the device or of this machine, did not suffice."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return "can't allocate memory" in text or "not enough memory" in text or "out of memory" in text


def _seed(*numbers: int) -> int:
    """One seed of 63 bits from several numbers."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@torch.no_grad()
def global_norm(weights: list[Tensor], world: World) -> float:
    """Euclidean norm of all gradients together, as one vector."""
    gradients = [local(weight.grad) for weight in weights if weight.grad is not None]
    if not gradients:
        return 0.0
    norm = torch.stack(torch._foreach_norm(gradients)).double().norm()
    return norm.item() if not world.sharded else math.sqrt(world.sum(norm.square()))


@torch.no_grad()
def _scale_gradients(weights: list[Tensor], factor: float) -> None:
    torch._foreach_mul_([local(weight.grad) for weight in weights if weight.grad is not None], factor)
