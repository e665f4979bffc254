"""A model made ready for decoding: the same numbers, from weights laid out for few rows at a time.

Decoding one row reads every weight once a token, so it goes as fast as memory is read. PyTorch's float32
product of one to some dozens of rows reaches less than half of that on the processors we measured, oneDNN's
nearly all of it (benchmarks/decoding.py); and weights rounded to bfloat16 are half as much to read.

A prepared model is another module tree over the same parameters (no copy in float32), for inference only.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.base.errors import TextmillError

Module = TypeVar("Module", bound=nn.Module)


class DecodingLinear(nn.Module):
    """x · weightᵀ + bias by PyTorch's own product, with the weights in their own dtype: (…, I) -> (…, O)."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias).to(x.dtype)


class OneDNNLinear(nn.Module):
    """The same by oneDNN. In bfloat16 the weights are kept in the order oneDNN reads them only."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        weight, self.dtype = weight.detach().to(dtype), dtype
        # In float32 the usual order reads as fast as oneDNN's own, so the weights are shared, not copied.
        packed = dtype is not torch.float32
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, 1) if packed else weight
        self.bias = None if bias is None else bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.weight, self.bias, "none", [], "")
        return y.to(x.dtype)


def prepare(model: Module, dtype: torch.dtype = torch.float32) -> Module:
    """A copy of `model` for decoding whose matrices are read in `dtype` (float32 or bfloat16).

    Embeddings, norms, the cache and everything between the matrices stay as they are. `model` is left as it
    was; while both live, a change of its float32 weights shows in both. Raises TextmillError when this
    processor cannot multiply bfloat16 quickly.
    """
    device = next(model.parameters()).device
    if device.type == "cpu" and dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise TextmillError(
            "this processor has no bfloat16 arithmetic, and doing without is slower than float32",
            advice="decode in float32",
        )
    return _prepared(model, dtype, linear_for(device, dtype)).eval()


def linear_for(device: torch.device, dtype: torch.dtype) -> type[DecodingLinear] | type[OneDNNLinear]:
    """Which product is the quick one: oneDNN's on a processor where PyTorch was built with it."""
    onednn = device.type == "cpu" and torch.backends.mkldnn.is_available()
    return OneDNNLinear if onednn and dtype in (torch.float32, torch.bfloat16) else DecodingLinear


def _prepared(module: nn.Module, dtype: torch.dtype, linear: type[nn.Module]) -> nn.Module:
    """The tree again, its own dictionaries but the same tensors, with other linear layers."""
    if isinstance(module, nn.Linear):
        return linear(module.weight, module.bias, dtype)
    new = copy.copy(module)
    for held in ("_parameters", "_buffers"):
        setattr(new, held, dict(getattr(module, held)))
    children = {
        name: None if child is None else _prepared(child, dtype, linear)
        for name, child in module._modules.items()
    }
    if "output" in children and children["output"] is None:  # tied: the embedding is the output layer too
        children["output"] = linear(module.embedding.weight, None, dtype)
    new._modules = children
    return new
