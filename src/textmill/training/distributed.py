"""Several ranks: where this one stands, what they add up, and how gradients and weights travel.

Started by `torchrun`, which sets RANK, WORLD_SIZE and LOCAL_RANK. Two ways of sharing the work:

- ddp: each rank holds the whole model; gradients are summed in fixed buckets, and travel while the backward
  pass still runs (Li et al. 2020). Buckets never change, so a resumed run adds in the same order.
- fsdp2: weights, gradients and optimiser state are cut up over the ranks by block (Zhao et al. 2023), with
  PyTorch's `fully_shard`. Checkpoints hold whole tensors either way, so ranks may come and go between runs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from textmill.base.errors import DamagedError
from textmill.models.model import Model

BUCKET_BYTES = 25 << 20
CPU = torch.device("cpu")


@dataclass(frozen=True)
class World:
    """The ranks of a run. `World()` is one process alone."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    sharded: bool = False  # fsdp2: parameters are cut up over the ranks

    @property
    def first(self) -> bool:
        """Whether this rank writes files and talks to the person."""
        return self.rank == 0

    def sum_many(self, values: Sequence[float | Tensor]) -> list[float]:
        """The sums over all ranks of a few numbers, in float64."""
        numbers = torch.stack([torch.as_tensor(value, device=self.device).double() for value in values])
        if self.size > 1:
            torch.distributed.all_reduce(numbers)
        return numbers.tolist()

    def sum(self, value: float | Tensor) -> float:
        """The sum over all ranks of one number."""
        return self.sum_many([value])[0]

    def most(self, value: int) -> int:
        """The largest of a number of each rank."""
        numbers = torch.tensor([value], device=self.device)
        if self.size > 1:
            torch.distributed.all_reduce(numbers, op=torch.distributed.ReduceOp.MAX)
        return int(numbers)

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            self.sum(0)

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors of a state that may be sharded. Every rank must call it, with the same names."""
        return {name: full(tensor) for name, tensor in tensors.items()}


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be cut up over ranks (a collective, if it is)."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor that may be cut up over ranks."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def placed(value: Tensor, like: Tensor) -> Tensor:
    """A copy of a whole tensor where `like` is: on its device, and cut up over the ranks as it is."""
    if value.ndim and hasattr(like, "full_tensor"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(like, DTensor)
        mine = value.to(like.device)
        return distribute_tensor(mine, like.device_mesh, like.placements, src_data_rank=None)
    return value.to(like.device, copy=True)


@torch.no_grad()
def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy whole tensors into the parameters and buffers of a model, which may be cut up over ranks.

    Raises DamagedError when a name is missing, left over, or of another shape.
    """
    held = dict(model.named_parameters()) | dict(model.named_buffers())
    if different := sorted(held.keys() ^ tensors.keys()):
        raise DamagedError(f"the weights and the model differ in {different[0]}", where="model")
    for name, tensor in held.items():
        if tensor.shape != tensors[name].shape:
            raise DamagedError(
                f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}", where="model"
            )
        tensor.copy_(placed(tensors[name], tensor))


def under_torchrun() -> bool:
    """Whether this process was started as one of several ranks, or as the only one by torchrun."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextlib.contextmanager
def join(device: torch.device, parallel: str) -> Iterator[World]:
    """Join the other ranks (gloo on CPUs, nccl on GPUs) within the block; alone without torchrun."""
    if not under_torchrun():
        yield World(device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        yield World(rank, size, device, sharded=parallel == "fsdp2" and size > 1)
    finally:
        torch.distributed.destroy_process_group()


def shard(model: Model, world: World, *, bf16: bool = False) -> Model:
    """Cut a model up over the ranks, each block on its own and the rest together (fsdp2), in place.

    Gradients are summed, not averaged: the loss is divided by the global number of targets already.
    What losses call beside `forward` gathers the weights as that does, so every loss works as on one rank.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if bf16 else None
    options: dict[str, Any] = {"mesh": mesh, **({"mp_policy": policy} if policy else {})}
    blocks = model.all_blocks()
    for part in (*blocks, model):
        sharded = fully_shard(part, **options)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum
    for block in blocks:
        register_fsdp_forward_method(block, "remember")
    for name in model.gathered:
        register_fsdp_forward_method(model, name)
    return model


class Reducer:
    """Sums gradients over ranks, bucket by bucket, while the backward pass runs.

    Buckets are launched in one order on every rank, the reverse of the model's own, whatever the order in
    which gradients become ready. Alone, or sharded (where fsdp2 does this itself), it does nothing.
    """

    def __init__(self, model: nn.Module, world: World) -> None:
        self.world, self.model = world, model
        self.active = world.size > 1 and not world.sharded
        self.armed = False
        self._buckets: list[list[Tensor]] = []
        self._bucket_of: dict[Tensor, int] = {}
        self._waiting: list[int] = []
        self._flights: list[tuple[Any, Tensor]] = []
        if self.active:
            self._fill(reversed([weight for weight in model.parameters() if weight.requires_grad]))

    def _fill(self, weights: Iterator[Tensor]) -> None:
        size = BUCKET_BYTES
        for weight in weights:
            number = weight.numel() * weight.element_size()
            if size + number > BUCKET_BYTES or self._buckets[-1][0].dtype != weight.dtype:
                self._buckets.append([])
                size = 0
            self._buckets[-1].append(weight)
            self._bucket_of[weight] = len(self._buckets) - 1
            size += number
            weight.register_post_accumulate_grad_hook(self._ready)

    @contextlib.contextmanager
    def micro(self, *, last: bool, overlap: bool) -> Iterator[None]:
        """Around one micro-batch: gradients may travel only when the last one adds to them."""
        if self.world.sharded:
            self.model.set_requires_gradient_sync(last)  # type: ignore[operator]
        self.armed = self.active and last and overlap
        self._waiting = [len(bucket) for bucket in self._buckets]
        try:
            yield
        finally:
            self.armed = False

    def _ready(self, weight: Tensor) -> None:
        if not self.armed:
            return
        self._waiting[self._bucket_of[weight]] -= 1
        while len(self._flights) < len(self._buckets) and self._waiting[len(self._flights)] == 0:
            self._launch()

    def _launch(self) -> None:
        bucket = self._buckets[len(self._flights)]
        parts = [weight.grad if weight.grad is not None else torch.zeros_like(weight) for weight in bucket]
        present = [float(weight.grad is not None) for weight in bucket]
        flags = torch.tensor(present, dtype=bucket[0].dtype, device=bucket[0].device)
        flat = torch.cat([*(part.flatten() for part in parts), flags])
        self._flights.append((torch.distributed.all_reduce(flat, async_op=True), flat))

    @torch.no_grad()
    def finish(self) -> None:
        """Leave the sum over all ranks in every gradient; none where no rank has one, as one process would."""
        if not self.active:
            return
        while len(self._flights) < len(self._buckets):
            self._launch()
        summed = []
        for bucket, (flight, flat) in zip(self._buckets, self._flights, strict=True):
            flight.wait()
            summed.append(flat.split([*(weight.numel() for weight in bucket), len(bucket)]))
        present = torch.cat([flags.float() for *_, flags in summed]).tolist()
        weights = [weight for bucket in self._buckets for weight in bucket]
        parts = [part for *parts, _ in summed for part in parts]
        for weight, part, ranks in zip(weights, parts, present, strict=True):
            weight.grad = part.view_as(weight) if ranks else None
        self._flights = []
