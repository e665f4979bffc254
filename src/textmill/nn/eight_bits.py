"""Weights in whole numbers of 8 bits: a quarter of the memory of float32, for a base that is not trained.

    weight[o, i] ≈ whole[o, i] · scales[o] · sizes[i]

A scale for each output, largest magnitude 127. A feature whose weights are large for all outputs would leave few of the
8 bits to the others, so its size is kept apart (Xiao et al. 2023, "SmoothQuant", move it the other way).

Products unpack a few rows at a time, so that no whole matrix exists in float32; beside thousands of tokens that costs
little. Decoding has products in whole numbers over the same weights (decoding/layout.py).

Shapes: N rows (all leading dimensions), I inputs, O outputs, V vocabulary, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from textmill.nn.linear import plain_product

_UNPACKED = 1 << 22  # numbers unpacked at once


def packed(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """weight (O, I) -> whole (O, I) int8, scales (O,) and sizes (I,) float32; some rows after the other."""
    weight = weight.detach()
    squares = torch.zeros(weight.shape[1], dtype=torch.float64, device=weight.device)
    for rows in _some(*weight.shape):
        squares += weight[rows].float().square().sum(0)
    sizes = (squares / len(weight)).sqrt_().float().clamp_(min=1e-12)
    whole = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scales = torch.empty(len(weight), dtype=torch.float32, device=weight.device)
    for rows in _some(*weight.shape):
        part = weight[rows].float() / sizes
        scales[rows] = (part.abs().amax(1) / 127).clamp_(min=1e-12)
        whole[rows] = part.div_(scales[rows, None]).round_().clamp_(-127, 127).to(torch.int8)
    return whole, scales, sizes


def _some(rows: int, width: int) -> Iterator[slice]:
    """All rows of a matrix, so many at a time as make `_UNPACKED` numbers."""
    step = max(1, _UNPACKED // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


class EightBits(nn.Module):
    """A matrix of 8 bits. It has no parameters, so it is neither trained nor counted as such."""

    whole: Tensor
    scales: Tensor
    sizes: Tensor
    parts = ("whole", "scales", "sizes")

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        for name, part in zip(self.parts, packed(weight), strict=True):
            self.register_buffer(name, part)

    def unpacked(self, rows: slice | Tensor = slice(None)) -> Tensor:
        """Rows of the matrix in float32, (…, I); rows: a slice, or their numbers (…)."""
        return self.whole[rows] * self.scales[rows].unsqueeze(-1) * self.sizes

    def pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """The matrix in float32, some rows after the other."""
        for rows in _some(*self.whole.shape):
            yield rows, self.unpacked(rows)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: EightBitLinear) -> Tensor:
        ctx.layer = layer
        return layer.times(x, layer.bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.back(grads[0]), None


class EightBitLinear(nn.Module):
    """x · weightᵀ + bias over a matrix of 8 bits, (…, I) -> (…, O); gradients reach x only."""

    def __init__(self, matrix: EightBits, bias: nn.Parameter | None, sections: Mapping[str, int]) -> None:
        super().__init__()
        self.matrix, self.bias, self.sections = matrix, bias, dict(sections)
        self.out_features, self.in_features = matrix.whole.shape

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        return _Product.apply(rows, self).view(*x.shape[:-1], self.out_features)

    def times(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `Linear.times`."""
        if len(self.matrix.whole) * x.shape[-1] <= _UNPACKED:
            return plain_product(x, self.matrix.unpacked().to(x.dtype), bias)
        y = x.new_empty(len(x), self.out_features)
        for rows, weight in self.matrix.pieces():
            y[:, rows] = plain_product(x, weight.to(x.dtype), None if bias is None else bias[rows])
        return y

    def back(self, grad: Tensor) -> Tensor:
        """As `Linear.back`."""
        total = None
        for rows, weight in self.matrix.pieces():
            some = plain_product(grad[:, rows], weight.t().to(grad.dtype))
            total = some if total is None else total.add_(some)
        assert total is not None
        return total


class EightBitEmbedding(nn.Module):
    """The rows of a matrix of 8 bits by id: (…) -> (…, D)."""

    def __init__(self, matrix: EightBits) -> None:
        super().__init__()
        self.matrix = matrix
        self.num_embeddings, self.embedding_dim = matrix.whole.shape

    def forward(self, ids: Tensor) -> Tensor:
        return self.matrix.unpacked(ids)


def holding(model: nn.Module) -> Callable[[str, Tensor], dict[str, Tensor]]:
    """How a model holds the weights that are read for it: (a weight's name, its numbers) -> part of a state dict.

    A matrix that the model has in 8 bits is packed, and no view of the given numbers is kept of the others either. Of a
    model without such matrices, all is as it was given.
    """
    places: dict[str, list[str]] = {}  # of a weight: all names of the matrix it becomes
    named = [(path, module) for path, module in model.named_modules(remove_duplicate=False)]
    for path, module in named:
        if isinstance(module, (EightBitLinear, EightBitEmbedding)):
            same = [name for name, other in named if other is module.matrix]
            places[f"{path}.weight"] = same

    def held(name: str, weight: Tensor) -> dict[str, Tensor]:
        if name in places:
            parts = dict(zip(EightBits.parts, packed(weight), strict=True))
            return {f"{place}.{part}": numbers for place in places[name] for part, numbers in parts.items()}
        return {name: weight.clone() if places else weight}

    return held
