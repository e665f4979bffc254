"""Elementwise steps with their gradients written by hand, for training on a CPU.

There, these steps cost memory traffic and page faults, not arithmetic. Each function here reads and writes
fewer temporaries than automatic differentiation of the same formula does, and keeps less for the backward
pass. On a GPU the compiler fuses the plain formula, so `worthwhile` says no.

Shapes: B sequences, T tokens, N heads, E features of a head, D features, F inner features.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def worthwhile(x: Tensor) -> bool:
    """Whether the functions of this module should be used on `x` rather than the plain formula."""
    return (
        not torch.compiler.is_compiling()
        and x.requires_grad
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)  # statistics of narrower numbers want a wider one
        and torch.is_grad_enabled()
    )


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        # y = x·s·w with s = (mean(x²) + eps)^-½, so ds/dx = -s³·x/D.
        (grad,) = grads
        x, weight, scale = ctx.saved_tensors
        product = (grad * x).view(-1, x.shape[-1])
        grad_weight = product.T @ scale.view(-1) if ctx.needs_input_grad[1] else None
        along = (product @ weight).view_as(scale)
        along.mul_(scale.pow(3)).div_(x.shape[-1])
        grad_x = (grad * weight).mul_(scale).addcmul_(x, along, value=-1)
        return grad_x, grad_weight, None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.heads = heads
        ctx.mark_dirty(x)
        return _rotate_in_place(x, cos, sin, heads)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = grads
        cos, sin = ctx.saved_tensors
        return _rotate_in_place(grad.clone(), cos, -sin, ctx.heads), None, None, None


def _rotate_in_place(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    first, second = x[:, :, :heads].chunk(2, dim=-1)
    turned = first * sin
    first.mul_(cos).addcmul_(second, sin, value=-1)
    second.mul_(cos).add_(turned)
    return x


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor, activation: str) -> Tensor:
        ctx.save_for_backward(both)
        ctx.activation = activation
        gate, up = both.chunk(2, dim=-1)
        return _gated(gate, activation).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        result = torch.empty_like(both)
        grad_gate, grad_up = result.chunk(2, dim=-1)
        torch.mul(grad, _gated(gate, ctx.activation), out=grad_up)
        if ctx.activation == "swiglu":
            grad_gate.copy_(torch.ops.aten.silu_backward(grad * up, gate))
        else:
            form = _GELU[ctx.activation]
            grad_gate.copy_(torch.ops.aten.gelu_backward(grad * up, gate, approximate=form))
        return result, None


_GELU = {"geglu": "none", "geglu_tanh": "tanh"}


def _gated(gate: Tensor, activation: str) -> Tensor:
    return F.silu(gate) if activation == "swiglu" else F.gelu(gate, approximate=_GELU[activation])


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        # One draw of 64 bits serves four numbers: a number is left out where its 16 bits are among the lowest.
        draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        parts = draws.view(torch.int16)[: x.numel()].view(x.shape)
        kept = torch.ge(parts, dropped - 2**15, out=torch.empty(x.shape, dtype=x.dtype))
        kept.mul_(_DROPOUT_STEPS / (_DROPOUT_STEPS - dropped))
        ctx.save_for_backward(kept)
        return x * kept

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        (kept,) = ctx.saved_tensors
        return grad * kept, None


_DROPOUT_STEPS = 2**16


class _TiedEmbedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(tokens)
        return weight[tokens], weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        rows, whole = grads
        (tokens,) = ctx.saved_tensors
        return whole.index_add_(0, tokens.flatten(), rows.flatten(0, -2)), None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight over the last dimension."""
    return _RMSNorm.apply(x, weight, eps)


def rotate_(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    """Rotate the first `heads` heads of x (B, T, N, E) in place; as `position.rotate`."""
    return _Rotate.apply(x, cos.to(x.dtype), sin.to(x.dtype), heads)


def gate(both: Tensor, activation: str) -> Tensor:
    """act(first half) · second half: (B, T, 2F) -> (B, T, F); activation is `swiglu`, `geglu` or `geglu_tanh`."""
    return _Gate.apply(both, activation)


def tied_embedding(tokens: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of weight (V, D) for tokens (…) -> (…, D), and the weight again, for an output layer to read.

    Autograd would make a second (V, D) gradient for the rows and add it to that of the output layer. Here the
    rows are added to the output layer's, in place: so whoever reads the weight again must give back a gradient
    that is its own to keep.
    """
    return _TiedEmbedding.apply(weight, tokens)


def dropout(x: Tensor, probability: float) -> Tensor:
    """x with each number left out with `probability`, to the nearest 1/65536, and the others scaled to the same mean.

    The bits are drawn from torch's own generator, so its state says what is left out.
    """
    return _Dropout.apply(x, min(round(probability * _DROPOUT_STEPS), _DROPOUT_STEPS - 1))
