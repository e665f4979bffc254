"""Muon: momentum whose matrices are orthogonalised before they are applied (Jordan et al. 2024)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from textmill.training.distributed import full, placed

# Quintic x -> ax + bx³ + cx⁵ that drives singular values in (0, 1] into about (0.7, 1.2) in five rounds.
BATCH_ELEMENTS = 1 << 22  # matrices orthogonalised together hold at most this, which bounds the memory
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """About the nearest half-orthogonal matrix UVᵀ of each matrix: (..., m, n) -> (..., m, n), same dtype.

    Newton-Schulz iteration: singular values end between about 0.7 and 1.2, which serves Muon as well as 1.
    Products are made in float32 on a CPU (bfloat16 there is many times slower) and bfloat16 on a GPU.
    """
    a, b, c = COEFFICIENTS
    x = matrices.to(torch.bfloat16) if matrices.is_cuda else matrices
    wide = x.shape[-2] > x.shape[-1]
    x = (x.mT if wide else x).contiguous()
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.add(x * a, (b * gram + c * (gram @ gram)) @ x)
    return (x.mT if wide else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Muon for two-dimensional parameters, with decoupled weight decay.

    m ← βm + (1 - β)g;  u = (1 - β)g + βm (Nesterov);  w ← (1 - lr·decay)w - lr·√max(1, rows/columns)·orth(u)

    Matrices of one shape are orthogonalised together. A group may give `splits`, the rows of each of the
    matrices that stand on top of each other in a parameter (queries, keys, values). Under FSDP2 each rank
    gathers the whole matrix, does the same work as the others and keeps its own shard.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        iterations: int = 5,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "iterations": iterations, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            splits = group.get("splits") or [(weight.shape[0],) for weight in group["params"]]
            pairs = [(w, rows) for w, rows in zip(group["params"], splits, strict=True) if w.grad is not None]
            if pairs:
                self._update([weight for weight, _ in pairs], [rows for _, rows in pairs], group)

    def _update(self, weights: list[Tensor], splits: list[tuple[int, ...]], group: dict[str, Any]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        buffers = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_lerp_(buffers, gradients, 1.0 - group["momentum"])
        ahead = [full(tensor) for tensor in torch._foreach_lerp(gradients, buffers, group["momentum"])]
        _orthogonalise_in_place(
            [part for whole, rows in zip(ahead, splits, strict=True) for part in whole.split(rows)],
            group["iterations"],
        )
        updates = [placed(whole, weight) for whole, weight in zip(ahead, weights, strict=True)]
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1.0 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, updates, alpha=-group["lr"])


def _orthogonalise_in_place(matrices: list[Tensor], iterations: int) -> None:
    """Each matrix becomes √max(1, rows/columns) times its orthogonalised self; equal shapes go together."""
    shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
    for matrix in matrices:
        shapes[matrix.shape].append(matrix)
    for shape, group in shapes.items():
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        together = max(1, BATCH_ELEMENTS // shape.numel())
        for start in range(0, len(group), together):
            some = group[start : start + together]
            for matrix, update in zip(some, orthogonalise(torch.stack(some), iterations), strict=True):
                matrix.copy_(update).mul_(scale)
