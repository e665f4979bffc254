"""A model made ready for decoding: its matrices rounded to bfloat16, or laid out for many rows.

Decoding one row reads every weight once a token, so it goes as fast as memory is read: in bfloat16 half as much
is. Float32 weights need nothing done to them for one row, since nn/linear.py multiplies them at that speed already;
for some dozens of rows, as in translation, the order in which oneDNN reads them makes products up to a quarter
quicker (benchmarks/translation.py).
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.nn.attention import Attention
from textmill.nn.linear import onednn, onednn_serves

_MANY = 8  # rows decoded together from which on a layout of their own pays


class RoundedLinear(nn.Module):
    """x · weightᵀ + bias with weights and inputs rounded to bfloat16, sums in float32: (…, I) -> (…, O).

    On a processor the weights are kept in the order oneDNN reads them, which is half as quick again.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = weight.device.type == "cpu"
        self.weight = weight.detach().to(torch.bfloat16)
        self.bias = None if bias is None else bias.detach().to(torch.bfloat16)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, 1)

    def forward(self, x: Tensor) -> Tensor:
        rounded = x.to(torch.bfloat16)
        if not self.packed:
            return F.linear(rounded, self.weight, self.bias).to(x.dtype)
        y = torch.ops.mkldnn._linear_pointwise(rounded, self.weight, self.bias, "none", [], "")
        return y.to(x.dtype)


class PackedLinear(nn.Module):
    """x · weightᵀ + bias in float32 on a processor, the weights in the order oneDNN reads them: (…, I) -> (…, O).

    rows: how many are multiplied at once, about; any number may be.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        return onednn(x, self.weight, self.bias)


def prepare(model: nn.Module, dtype: torch.dtype = torch.float32, *, rows: int = 1) -> nn.Module:
    """`model` for decoding with matrices in `dtype`, float32 or bfloat16; in evaluation mode.

    rows: how many rows are decoded together. From 8 on, float32 matrices on a processor are laid out for them, in a
    copy that shares everything else, and takes as much memory again as they do.

    In bfloat16 it is a copy that shares everything but the matrices: embeddings, norms, the cache and what
    passes between the matrices keep their own dtype. Its attention works out tokens one by one: a last bit lost
    there would become 0.02 in the logits by rounding. `model` is left as it was; in float32, for few rows, it is the
    result.
    Raises TextmillError when this processor has no bfloat16 products.
    """
    if dtype is torch.float32:
        if rows < _MANY or not onednn_serves(first := next(model.parameters(), torch.zeros(0)), first):
            return model.eval()
        return _changed(model, lambda weight, bias: PackedLinear(weight, bias, rows)).eval()
    if next(model.parameters()).device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise TextmillError(
            "this processor has no bfloat16 products, and doing without them is slower than float32",
            advice="decode in float32",
        )
    return _one_by_one(_changed(model, RoundedLinear)).eval()


def _changed(module: nn.Module, layer: Callable[[Tensor, Tensor | None], nn.Module]) -> nn.Module:
    """The tree again, with its own dictionaries but the same tensors, and other linear layers."""
    if isinstance(module, nn.Linear):
        return layer(module.weight, module.bias)
    new = copy.copy(module)
    children = {
        name: child if child is None else _changed(child, layer) for name, child in module._modules.items()
    }
    if "output" in children and children["output"] is None:  # tied: the embedding is the output layer too
        embedding = children["embedding"]
        assert isinstance(embedding, nn.Embedding)
        children["output"] = layer(embedding.weight, None)
    new._modules = children
    return new


def _one_by_one(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, Attention):
            module.one_by_one = True
    return model
