"""A linear layer whose products, on a CPU, are oneDNN's where those are the quicker ones.

With one row, as in decoding, or some dozens, they read the weights two to four times as fast as PyTorch's own
(benchmarks/decoding.py). In training they are a tenth quicker over small matrices; over large ones PyTorch's own, which
are MKL's, are by 10 to 30 % on an Intel processor (a Xeon of 2.8 GHz; 256, 1,024 and 4,096 rows, 2^17 to 2^25 weights).
A large matrix that is read transposed, as for the gradient of x, takes oneDNN half as long again as MKL on AMD's, too
(an EPYC without AVX-512; 256 to 4,096 rows, 590,000 weights and more; up to 2^19 they differ by less than a tenth).

Shapes: N rows (all leading dimensions), I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.base import machine
from textmill.nn import fused

_WORTH_A_CALL = 1 << 17  # weights from which on oneDNN's quicker product makes up for its slower call
_LARGE = 1 << 17, 256  # weights and rows from which on MKL is the quicker one on Intel's processors
_LARGE_TRANSPOSED = 1 << 19  # weights above which a transposed matrix is MKL's on any


class _Product(torch.autograd.Function):
    """y = x · weightᵀ + bias, x (N, I). oneDNN makes y and dx, where it is quicker, PyTorch dweight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)  # a frozen weight asks for no x
        return plain_product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        grad_x = plain_product(grad, weight.t()) if ctx.needs_input_grad[0] else None
        grad_weight = grad.t() @ x if ctx.needs_input_grad[1] else None
        grad_bias = grad.sum(0) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (…, I) · weight (O, I) transposed + bias by oneDNN, float32, without a gradient: (…, O)."""
    if x.dim() != 2:  # more dimensions cost it a tenth
        y = onednn(x.reshape(-1, x.shape[-1]), weight, bias)
        return y.view(*x.shape[:-1], y.shape[-1])
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (…, I) · weight (O, I) transposed + bias (O,) -> (…, O), as `F.linear`."""
    if not onednn_serves(x, weight):
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return onednn(x, weight, bias) if weight.numel() >= _WORTH_A_CALL else F.linear(x, weight, bias)
    if not fused.worthwhile(x):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    return _Product.apply(rows, weight, bias).view(*x.shape[:-1], weight.shape[0])


def onednn_serves(x: Tensor, weight: Tensor) -> bool:
    """Whether `onednn` can make the product of x and weight: float32 on a CPU, not compiled."""
    return (
        not torch.compiler.is_compiling()  # asked first: the compiler cannot read the questions below
        and x.device.type == "cpu"
        and x.dtype is torch.float32
        and weight.dtype is torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    )


class Linear(nn.Linear):
    """`nn.Linear` by `product`.

    sections: where its matrix is several fused into one, their names and their rows, in order (queries, keys and
    values, say): who treats each on its own finds them here.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, *, sections: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.sections: dict[str, int] = dict(sections or {})

    def forward(self, input: Tensor) -> Tensor:
        return product(input, self.weight, self.bias)

    def times(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """The product of rows (N, I), its own bias left out, without a gradient: (N, O)."""
        return plain_product(x, self.weight, bias)

    def back(self, grad: Tensor) -> Tensor:
        """The gradient of rows (N, I) from that of their products (N, O)."""
        return plain_product(grad, self.weight.t())


def plain_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N, I) · weight (O, I) transposed + bias, for who works out gradients by himself: (N, O)."""
    large = weight.numel() >= _LARGE[0] and machine.is_intel()
    large |= weight.numel() > _LARGE_TRANSPOSED and not weight.is_contiguous()
    if onednn_serves(x, weight) and not (large and len(x) >= _LARGE[1]):
        return onednn(x, weight, bias)
    return F.linear(x, weight, bias)


def rows_of(sections: Mapping[str, int], name: str) -> slice:
    """The rows of one of several matrices that stand one under the other. Raises KeyError where there is none such."""
    start = 0
    for section, rows in sections.items():
        if section == name:
            return slice(start, start + rows)
        start += rows
    raise KeyError(name)
