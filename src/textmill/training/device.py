"""Where and how to compute: device, precision, threads, allocator, compilation, and this machine's peak."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from textmill.base import machine
from textmill.base.errors import RecipeError
from textmill.models.model import Model
from textmill.nn.linear import plain_product
from textmill.specs.training import TrainingSpec


@dataclass(frozen=True)
class Compute:
    """What a run computes on, with `auto` worked out."""

    device: torch.device
    precision: str  # fp32 or bf16, of the products; weights and optimiser stay float32
    compile: bool

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Products in bfloat16 within the block, where that was chosen."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            yield

    @property
    def dtype(self) -> torch.dtype:
        """The type products are made in."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


def choose(spec: TrainingSpec) -> Compute:
    """Device, precision and compilation for a recipe on this machine.

    Raises RecipeError when the recipe asks for what the machine does not have.
    """
    gpu = torch.cuda.is_available()
    if spec.device == "cuda" and not gpu:
        raise RecipeError(
            "no GPU is usable here", where="training.device", advice='set it to "auto" or "cpu"'
        )
    device = torch.device("cuda" if gpu and spec.device != "cpu" else "cpu")
    precision = spec.precision
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "bf16" and device.type == "cpu" and not cpu_has_bf16():
        raise RecipeError(
            "this processor has no bfloat16 instructions: matrix products would be many times slower than in float32",
            where="training.precision",
            advice='set it to "auto" or "fp32"',
        )
    wanted = {"on": True, "off": False, "auto": device.type == "cuda"}[spec.compile]
    return Compute(device, precision, wanted)


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False


def prepare(compute: Compute, spec: TrainingSpec) -> None:
    """Set this process up for training: allocator and threads. Call it before the model is built.

    Freed memory is kept for the next step, which is quicker, unless the recipe recomputes activations to
    spare memory: then it is given back at once.
    """
    if compute.device.type == "cpu":
        (machine.spare_memory if spec.gradient_checkpointing else machine.keep_memory)()
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(machine.usable_cores())


def compile_blocks(model: Model) -> None:
    """Compile each block of a model in place, so that all blocks share one compilation; names stay."""
    for block in model.all_blocks() or [model]:
        block.compile()


_PEAKS: dict[tuple[str, torch.dtype, int], float] = {}


def peak_flops(compute: Compute, seconds: float = 0.5) -> float:
    """Floating-point operations a second of this machine's own best matrix product, measured once a process.

    The yardstick of MFU: the fastest of several square products, as training would have them.
    """
    key = (str(compute.device), compute.dtype, torch.get_num_threads())
    if key not in _PEAKS:
        _PEAKS[key] = _measure_peak(compute, seconds)
    return _PEAKS[key]


@torch.no_grad()
def _measure_peak(compute: Compute, seconds: float) -> float:
    gpu = compute.device.type == "cuda"
    size = 8192 if gpu else 1024
    a, b = (torch.randn(size, size, device=compute.device, dtype=compute.dtype) for _ in range(2))
    best, end = math.inf, time.perf_counter() + seconds
    for turn in range(10_000):
        if gpu:
            torch.cuda.synchronize()
        started = time.perf_counter()
        plain_product(a, b)
        if gpu:
            torch.cuda.synchronize()
        if turn:
            best = min(best, time.perf_counter() - started)
        if turn >= 3 and time.perf_counter() > end:
            break
    return 2 * size**3 / best
