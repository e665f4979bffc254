"""What a training step needs in memory, what this machine has, and how many rows at once therefore fit."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from textmill.base import machine
from textmill.base.errors import TextmillError
from textmill.models import cost
from textmill.objectives.loss import CPU_CHUNK
from textmill.specs.model import TrainedSpec, TransformerSpec
from textmill.specs.training import MuonSpec, TrainingSpec
from textmill.specs.tuning import TuningSpec
from textmill.training.device import Compute

_MEMINFO = Path("/proc/meminfo")
_SHARE = 0.8  # of what is free: the rest is for kernels' working space, fragmentation and the neighbours
_CPU_POSITIONS = 8192  # tokens at once from which a CPU gains nothing more by larger products
_CHUNK_FROM = 1 << 29  # bytes of whole logits from which the loss is worked out in chunks
_CHUNK_BYTES = 1 << 26  # of one such chunk
_ID_BYTES = (
    40  # of a position while a batch is put together: its place, input, target and document, and whose it is
)


@dataclass(frozen=True)
class Need:
    """Bytes of one rank's training step at its peak, by what they hold; what the process takes before any
    model is built (on a CPU some 300 MB) comes on top."""

    parameters: int
    gradients: int
    optimizer: int
    average: int
    activations: int  # logits included

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimizer + self.average + self.activations


@dataclass(frozen=True)
class Fit:
    """How a step is cut up so that it fits."""

    micro_batch: int  # rows computed at once
    loss_chunk: int | None  # tokens whose logits exist at once; None: all
    need: Need


def predict(
    model: TrainedSpec,
    training: TrainingSpec,
    vocabulary: int,
    sequence: int,
    rows: int,
    *,
    loss_chunk: int | None = None,
    precision: str = "fp32",
    ranks: int = 1,
    tuning: TuningSpec | None = None,
) -> Need:
    """The peak of a step on `rows` sequences of `sequence` tokens. Weights and optimiser are float32.

    AdamW keeps two numbers a parameter, Muon one for matrices inside blocks; what is frozen has neither these nor a
    gradient: under an adapter (`tuning`) that is all but the adapter, and in 8 bits a matrix takes a quarter. Under
    fsdp2 what belongs to parameters is shared out over `ranks`.
    """
    shares = ranks if training.parallel == "fsdp2" else 1
    weights = 4 * cost.parameters(model, vocabulary) // shares
    if tuning is None:
        number, inside = cost.trained(model, vocabulary, training.freeze)
    else:
        number = inside = cost.adapter(model, vocabulary, tuning)
        weights = 4 * number + cost.base_bytes(model, vocabulary, tuning.base)
    gradients = 4 * number // shares
    moments = 2 * gradients
    if isinstance(training.optimizer, MuonSpec) and isinstance(model, TransformerSpec):
        moments -= 4 * inside // shares
    activations = cost.activation_bytes(
        model,
        vocabulary,
        rows,
        sequence,
        element=2 if precision == "bf16" else 4,
        checkpointing=training.gradient_checkpointing,
        loss_chunk=loss_chunk or training.loss_chunk,
        still=0 if tuning is not None else cost.still(model, vocabulary, training.freeze),
    )
    return Need(weights, gradients, moments, gradients if training.average else 0, activations)


def fit(
    model: TrainedSpec,
    training: TrainingSpec,
    vocabulary: int,
    sequence: int,
    compute: Compute,
    *,
    ranks: int = 1,
    free: int | None = None,
    tuning: TuningSpec | None = None,
) -> Fit:
    """The micro-batch, and the chunk of the loss, that fit into what is free now; `training.micro_batch` and
    `training.loss_chunk` are kept where they are given.

    The largest cut of the rank's rows that fits is taken: all in 1, 2, 3, … parts. On a CPU
    no more is computed at once than makes products quick, since larger ones only cost memory there.
    Raises TextmillError when not even one row fits, or the ids alone of the rank's rows do not.
    """
    share = -(-training.batch // ranks)
    room = int(_SHARE * (free_bytes(compute.device) if free is None else free))
    most = share
    if compute.device.type == "cpu":
        most = min(share, max(1, _CPU_POSITIONS // sequence))
    sizes = sorted({-(-share // parts) for parts in range(1, share + 1)}, reverse=True)
    rows = [training.micro_batch] if training.micro_batch else [number for number in sizes if number <= most]
    fits = [
        _fit(model, training, vocabulary, sequence, min(number, share), compute, ranks, tuning)
        for number in rows
    ]
    for cut in fits:
        if cut.need.total <= room or training.micro_batch:
            _put_together(share, sequence, room)
            return cut
    raise TextmillError(
        f"one sequence of {sequence} tokens needs about {fits[-1].need.total / 1e9:.1f} GB, "
        f"and {room / 1e9:.1f} GB may be used",
        where="training",
        advice="lower training.sequence, set training.gradient_checkpointing, or choose a smaller model",
    )


def _put_together(rows: int, sequence: int, room: int) -> None:
    """Raises TextmillError when the ids alone of an update need more than `room` bytes."""
    if (ids := rows * sequence * _ID_BYTES) > room:
        raise TextmillError(
            f"the ids alone of an update of {rows:,} sequences of {sequence:,} tokens need about "
            f"{ids / 1e9:.1f} GB, and {room / 1e9:.1f} GB may be used",
            where="training.batch",
            advice=f"lower it: {max(1, room // (sequence * _ID_BYTES)):,} is the largest that fits into memory here",
        )


def _fit(
    model: TrainedSpec,
    training: TrainingSpec,
    vocabulary: int,
    sequence: int,
    rows: int,
    compute: Compute,
    ranks: int,
    tuning: TuningSpec | None,
) -> Fit:
    chunk = training.loss_chunk or _chunk(training, vocabulary, rows * sequence, compute)
    options = {"loss_chunk": chunk, "precision": compute.precision, "ranks": ranks, "tuning": tuning}
    need = predict(model, training, vocabulary, sequence, rows, **options)
    return Fit(rows, chunk, need)


def recomputed_blocks(
    model: TrainedSpec,
    training: TrainingSpec,
    vocabulary: int,
    sequence: int,
    rows: int,
    *,
    loss_chunk: int | None = None,
    precision: str = "fp32",
    ranks: int = 1,
) -> int:
    """How many blocks a step of micro-batches of `rows` sequences computes again: none, or as few as spare memory."""
    if not (training.gradient_checkpointing and isinstance(model, TransformerSpec)):
        return 0
    if rows * ranks < training.batch or training.parallel == "fsdp2":  # gradients are there all the time
        return sum(number for number, _ in cost.blocks(model))
    element = 2 if precision == "bf16" else 4
    return cost.recomputed_blocks(model, vocabulary, rows, sequence, element=element, loss_chunk=loss_chunk)


def _chunk(training: TrainingSpec, vocabulary: int, tokens: int, compute: Compute) -> int | None:
    """Tokens a chunk of the loss: always the same on a CPU, on a GPU when whole logits would be large."""
    if compute.device.type == "cpu":
        return CPU_CHUNK // 2 if training.gradient_checkpointing else CPU_CHUNK
    if 4 * vocabulary * tokens < _CHUNK_FROM:
        return None
    return max(64, _CHUNK_BYTES // (4 * vocabulary))


def free_bytes(device: torch.device) -> int:
    """Bytes this process could still take: of the GPU, or of the machine and its control group."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = [_available()]
    for limit, used, statistics, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        with contextlib.suppress(OSError, ValueError):  # no such group, or no limit ("max")
            most, taken = int((machine.CGROUP / limit).read_text()), int((machine.CGROUP / used).read_text())
            lines = (line.split() for line in (machine.CGROUP / statistics).read_text().splitlines())
            reclaimable = next((int(value) for name, value in lines if name == cache), 0)
            free.append(max(0, most - taken + reclaimable))
    return min(free)


def _available() -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (line.split() for line in _MEMINFO.read_text().splitlines())
        return 1024 * next(int(line[1]) for line in lines if line[0] == "MemAvailable:")
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def peak_bytes(device: torch.device) -> int:
    """The most memory this process has held: of the GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(
        OSError, StopIteration
    ):  # Linux; getrusage would count what started us before that
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
