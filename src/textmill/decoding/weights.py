"""A model made ready for decoding: matrices rounded to bfloat16, so that half as much memory is read.

Decoding one row reads every weight once a token, so it goes as fast as memory is read. Float32 weights need
nothing done to them: nn/linear.py multiplies them at that speed already.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.nn.attention import Attention


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


def prepare(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """`model` for decoding with matrices in `dtype`, float32 or bfloat16; in evaluation mode.

    In bfloat16 it is a copy that shares everything but the matrices: embeddings, norms, the cache and what
    passes between the matrices keep their own dtype. Its attention works out tokens one by one: a last bit lost
    there would become 0.02 in the logits by rounding. `model` is left as it was. In float32 it is `model`.
    Raises TextmillError when this processor has no bfloat16 products.
    """
    if dtype is torch.float32:
        return model.eval()
    if next(model.parameters()).device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise TextmillError(
            "this processor has no bfloat16 products, and doing without them is slower than float32",
            advice="decode in float32",
        )
    return _rounded(model).eval()


def _rounded(module: nn.Module) -> nn.Module:
    """The tree again, with its own dictionaries but the same tensors, and other linear layers."""
    if isinstance(module, nn.Linear):
        return RoundedLinear(module.weight, module.bias)
    new = copy.copy(module)
    children = {name: child if child is None else _rounded(child) for name, child in module._modules.items()}
    if "output" in children and children["output"] is None:  # tied: the embedding is the output layer too
        embedding = children["embedding"]
        assert isinstance(embedding, nn.Embedding)
        children["output"] = RoundedLinear(embedding.weight, None)
    new._modules = children
    if isinstance(new, Attention):
        new.one_by_one = True
    return new
