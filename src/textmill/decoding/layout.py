"""A model made ready for decoding: its matrices rounded to fewer bits, or laid out for many rows.

Decoding one row reads every weight once a token, so it goes as fast as memory is read: in bfloat16 half as much
is, in 8 bits a quarter. Float32 weights need nothing done to them for one row, since nn/linear.py multiplies them at
that speed already; for some dozens of rows, as in translation, the order in which oneDNN reads them makes products up
to a quarter quicker (benchmarks/translation.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.base.errors import RecipeError, TextmillError
from textmill.models.output import OutputLayer
from textmill.nn.attention import Attention
from textmill.nn.eight_bits import packed
from textmill.nn.linear import onednn, onednn_serves
from textmill.nn.shared import M, evaluating, shared

KINDS = ("fp32", "bf16", "int8")
_FINER = 254  # what rounding to 1/127 leaves over is at most half of that: times this, at most 1
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


class QuantizedLinear(nn.Module):
    """x · weightᵀ + bias in whole numbers, sums exact: (…, I) -> (…, O) float32, on a processor.

    Weights have 8 bits and a scale for each output, largest magnitude 127. A row of x has a scale of its own too, and
    16 bits: as two rows of 8 bits, the second of which holds what rounding the first left over. Reading the weights is
    what takes the time, and they are read once for both; with 8 bits alone, a few large features leave too little to
    the others (Dettmers et al. 2022, "LLM.int8()", section 3). A row gets to the bit what it gets alone, whatever is
    multiplied beside it.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        whole, scales, self.sizes = packed(weight)  # a feature's size goes to x, which has 16 bits
        with (
            warnings.catch_warnings()
        ):  # quantised tensors will leave PyTorch; its packed products have no other door
            warnings.simplefilter("ignore")
            zeros = torch.zeros(len(scales), dtype=torch.int64)
            matrix = torch._make_per_channel_quantized_tensor(whole, scales.double(), zeros, 0)
            self.packed = torch.ops.quantized.linear_prepack(matrix, None)
        self.bias = None if bias is None else bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]) * self.sizes
        largest = rows.abs().amax(1, keepdim=True).clamp_(min=1e-30)
        parts = torch.empty(2, *rows.shape, dtype=torch.float32)
        torch.div(rows, largest, out=parts[1])
        torch.mul(parts[1], 127, out=parts[0]).round_().div_(127)
        parts[1].sub_(parts[0]).mul_(_FINER)
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        coarse, fine = product(parts.flatten(0, 1), 1 / 127, 127, self.packed).chunk(2)
        y = coarse.add_(fine, alpha=1 / _FINER).mul_(largest)
        if self.bias is not None:
            y += self.bias
        return y.view(*x.shape[:-1], -1).to(x.dtype)


def prepare(model: M, kind: str = "fp32", *, rows: int = 1) -> M:
    """`model` for decoding with matrices in float32, bfloat16 or whole numbers of 8 bits; in evaluation mode.

    rows: how many rows are decoded together. From 8 on, float32 matrices on a processor are laid out for them, in a
    copy that shares everything else, and takes as much memory again as they do.

    In bfloat16 and int8 it is a copy that shares everything but the matrices: embeddings, norms, the cache and what
    passes between the matrices keep their own dtype. Its attention works out tokens one by one: a last bit lost
    there would become 0.02 in the logits by rounding. `model` is left as it was; in float32, for few rows, it is the
    result.
    Raises RecipeError for a kind there is not, TextmillError when this processor cannot multiply in it.
    """
    first = next(model.parameters(), torch.zeros(0))
    if kind == "fp32":
        if rows < _MANY or not onednn_serves(first, first):
            return evaluating(model) if model.training else model
        return _with(model, lambda weight, bias: PackedLinear(weight, bias, rows))
    if kind not in _LAYERS:
        raise RecipeError(f"{kind!r} is not one of {', '.join(KINDS)}", where="--weights")
    layer, works = _LAYERS[kind]
    if not works(first):
        raise TextmillError(f"this machine has no {kind} products here", advice="decode in float32")
    copy = _with(model, layer)
    for module in copy.modules():
        if isinstance(module, Attention):
            module.one_by_one = True
    return copy


def _rounds(weight: Tensor) -> bool:
    return weight.device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _quantises(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and torch.backends.quantized.engine in ("x86", "fbgemm")


_LAYERS: dict[str, tuple[Callable[[Tensor, Tensor | None], nn.Module], Callable[[Tensor], bool]]] = {
    "bf16": (RoundedLinear, _rounds),
    "int8": (QuantizedLinear, _quantises),
}


def _with(model: M, layer: Callable[[Tensor, Tensor | None], nn.Module]) -> M:
    """The model over the same tensors, with other linear layers."""
    copy = shared(
        model, lambda module: layer(module.weight, module.bias) if isinstance(module, nn.Linear) else None
    )
    for module in copy.modules():
        if (
            isinstance(module, OutputLayer) and module.output is None
        ):  # tied: the embedding is the output layer too
            module._modules["output"] = layer(module.embedding.weight, module.output_bias)
            module.output_bias = None  # it is added with the product
    return copy.eval()
