"""A model made ready for decoding: its matrices rounded to fewer bits, or laid out for many rows.

Decoding one row reads every weight once a token, so it goes as fast as memory is read: in bfloat16 half as much
is, in 8 bits a quarter. Float32 weights need nothing done to them for one row, since nn/linear.py multiplies them at
that speed already; for some dozens of rows, as in translation, the order in which oneDNN reads them makes products up
to a quarter quicker (benchmarks/translation.py).

Where many are answered at once (`serving`), each row has to get the bits it gets alone. oneDNN's products do that in
float32 where the weights are laid out for 8 rows or more and no product has more than 1,024 inputs: beyond that it cuts
the inputs by the number of rows. So a matrix is laid out in pieces of that many, whose products are added in order.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.base.errors import RecipeError, TextmillError
from textmill.models.heads import Head
from textmill.models.output import OutputLayer
from textmill.nn.attention import Attention
from textmill.nn.eight_bits import EightBitLinear, packed
from textmill.nn.linear import onednn, onednn_serves
from textmill.nn.low_rank import LowRankEmbedding, LowRankLinear
from textmill.nn.packed_rows import PackedEmbedding
from textmill.nn.shared import M, evaluating, shared

KINDS = ("fp32", "bf16", "int8")
# Of a number, from 0 to 1: processors without VNNI add two products in 16 bits, 4 · 63 · 127 at most.
_STEPS = 63
_FINER = 2 * _STEPS  # what rounding to one of them leaves over is at most half of it: times this, at most 1
_MANY = 8  # rows decoded together from which on a layout of their own pays
_WIDEST = {"fp32": 1024, "bf16": 768}  # inputs of one product of what is served
_Layer = Callable[[Tensor, Tensor | None], nn.Module]
Made = dict[tuple[int, torch.Size, int], nn.Module]  # layers by where weight and bias stand, and its shape


class RoundedLinear(nn.Module):
    """x · weightᵀ + bias with weights and inputs rounded to bfloat16, sums in float32: (…, I) -> (…, O).

    On a processor the weights are kept in the order oneDNN reads them, which is half as quick again.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int = 1, widest: int | None = None) -> None:
        """widest: most inputs of one product; None: all at once."""
        super().__init__()
        self.packed = weight.device.type == "cpu"
        self.weight = weight.detach().to(torch.bfloat16)
        self.bias = None if bias is None else bias.detach().to(torch.bfloat16)
        if self.packed:
            self.widest = widest or weight.shape[1]
            self.pieces = _laid_out(self.weight, rows, self.widest)
            del self.weight

    def forward(self, x: Tensor) -> Tensor:
        rounded = x.to(torch.bfloat16)
        if not self.packed:
            return F.linear(rounded, self.weight, self.bias).to(x.dtype)
        return _product(rounded, self.pieces, self.widest, self.bias).to(x.dtype)


class PackedLinear(nn.Module):
    """x · weightᵀ + bias in float32 on a processor, the weights in the order oneDNN reads them: (…, I) -> (…, O).

    rows: how many are multiplied at once, about; any number may be.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int, widest: int | None = None) -> None:
        """widest: most inputs of one product; None: all at once."""
        super().__init__()
        self.widest = widest or weight.shape[1]
        self.pieces = _laid_out(weight.detach(), rows, self.widest)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        return _product(x, self.pieces, self.widest, self.bias)


def _laid_out(weight: Tensor, rows: int, widest: int) -> list[Tensor]:
    """weight (O, I) in pieces (O, ≤ widest), each in the order in which oneDNN reads it for about so many rows."""
    parts = weight.split(widest, 1)
    return [torch.ops.mkldnn._reorder_linear_weight(part.contiguous(), rows) for part in parts]


def _product(x: Tensor, pieces: list[Tensor], widest: int, bias: Tensor | None) -> Tensor:
    """x (…, I) · weightᵀ + bias, the sums over each piece's inputs added in order: (…, O)."""
    if len(pieces) == 1:
        return onednn(x.contiguous(), pieces[0], bias)
    y: Tensor | None = None
    for part, piece in zip(x.split(widest, -1), pieces, strict=True):
        if y is None:
            y = onednn(part.contiguous(), piece, bias)
        else:
            y += onednn(part.contiguous(), piece)
    assert y is not None
    return y


class QuantizedLinear(nn.Module):
    """x · weightᵀ + bias in whole numbers, sums exact: (…, I) -> (…, O) float32, on a processor.

    Weights have 8 bits and a scale for each output, largest magnitude 127. A row of x has a scale of its own too, and
    14 bits: as two rows of 7 bits, the second of which holds what rounding the first left over. Reading the weights is
    what takes the time, and they are read once for both; with 8 bits alone, a few large features leave too little to
    the others (Dettmers et al. 2022, "LLM.int8()", section 3). A row gets to the bit what it gets alone, whatever is
    multiplied beside it.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        whole, scales, self.sizes = packed(weight)  # a feature's size goes to x, which has 14 bits
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
        torch.mul(parts[1], _STEPS, out=parts[0]).round_().div_(_STEPS)
        parts[1].sub_(parts[0]).mul_(_FINER)
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        coarse, fine = product(parts.flatten(0, 1), 1 / _STEPS, _STEPS, self.packed).chunk(2)
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

        def packed_layer(weight: Tensor, bias: Tensor | None) -> nn.Module:
            return PackedLinear(weight, bias, rows)

        if rows < _MANY or not onednn_serves(first, first):
            return evaluating(model) if model.training else model
        return _with(model, packed_layer, packed_layer)
    layer = _layer(kind, first)
    copy = _with(model, layer, layer)
    for module in copy.modules():
        if isinstance(module, Attention):
            module.one_by_one = True
    return copy


def serving(
    model: M,
    kind: str = "fp32",
    *,
    rows: int,
    made: Made | None = None,
    spend: bool = False,
) -> M:
    """A copy of `model` for so many rows that come and go, each of which gets the bits it gets alone, where this
    processor's products allow it. Memory and errors as of `prepare`.

    made: the layers made so far, by the tensors they were made of: models that share a base share its layers, and are
    all there before the first is laid out. spend: `model` loses each matrix as it is laid out, and is of no use
    afterwards, so that no weight is ever there twice.
    """
    made = {} if made is None else made
    rows = max(rows, _MANY)
    first = next(model.parameters(), torch.zeros(0))
    if kind == "fp32":
        if not onednn_serves(first, first):
            return shared(model).eval()
    else:
        _layer(kind, first)

    def fresh(weight: Tensor, bias: Tensor | None) -> nn.Module:
        if kind == "int8":
            return QuantizedLinear(weight, bias)
        return (PackedLinear if kind == "fp32" else RoundedLinear)(weight, bias, rows, _WIDEST[kind])

    def known(weight: Tensor, bias: Tensor | None) -> nn.Module:
        key = (weight.data_ptr(), weight.shape, 0 if bias is None else bias.data_ptr())
        if key not in made:
            made[key] = fresh(weight, bias)
        return made[key]

    copy = _with(model, known, fresh, spend=spend)
    for module in copy.modules():
        if isinstance(module, (LowRankLinear, LowRankEmbedding)):
            module.row_by_row = True
        elif isinstance(module, Attention):  # prompts are always read in the same pieces
            module.one_by_one = False
    return copy


def _rounds(weight: Tensor) -> bool:
    return weight.device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _quantises(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and torch.backends.quantized.engine in ("x86", "fbgemm")


_LAYERS: dict[str, tuple[_Layer, Callable[[Tensor], bool]]] = {
    "bf16": (RoundedLinear, _rounds),
    "int8": (QuantizedLinear, _quantises),
}


def _layer(kind: str, first: Tensor) -> _Layer:
    """What multiplies in this kind. Raises RecipeError where there is none such, TextmillError where it does not
    work for a model whose first parameter this is."""
    if kind not in _LAYERS:
        raise RecipeError(f"{kind!r} is not one of {', '.join(KINDS)}", where="--weights")
    layer, works = _LAYERS[kind]
    if not works(first):
        raise TextmillError(f"this machine has no {kind} products here", advice="decode in float32")
    return layer


def _with(model: M, layer: _Layer, unpacked: _Layer, *, spend: bool = False) -> M:
    """The model over the same tensors, with other linear layers; `unpacked`: of matrices that are in 8 bits. spend: as
    in `serving`."""
    # The magnitudes of an adapter (DoRA) are worked out with the matrix of its base, as it is.
    needed = {
        module.frozen
        for module in model.modules()
        if isinstance(module, LowRankLinear) and module.squares is not None
    }

    def change(module: nn.Module) -> nn.Module | None:
        if isinstance(module, EightBitLinear):
            made = unpacked(module.matrix.unpacked(), module.bias)
        elif isinstance(module, nn.Linear) and not isinstance(module, Head):  # which is more than its matrix
            made = layer(module.weight, module.bias)
        else:
            return None
        if spend and module not in needed:
            module._parameters.pop("weight", None)
            module._modules.pop("matrix", None)
        return made

    copy = shared(model, change)
    for module in copy.modules():
        if (
            isinstance(module, OutputLayer) and module.output is None
        ):  # tied: the embedding is the output layer too
            module._modules["output"] = layer(module.embedding.weight, module.output_bias)
            module.output_bias = None  # it is added with the product
    if spend:
        for module in copy.modules():
            for name, child in module._modules.items():
                if isinstance(child, PackedEmbedding):
                    module._modules[name] = child.rows.keep()
    return copy.eval()
