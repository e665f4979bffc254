"""The packed numbers of a GGUF file: into weights, and, for what is exported, back.

A type packs blocks of 32 or 256 numbers as small integers with a scale (and a minimum) for a block or a part of it.
Each function below unpacks n blocks (n, bytes) uint8 into (n, elements) float32, with the operations of the format's
reference implementation in its order, so that the results are equal to the bit. `unpack` runs them over pieces small
enough to stay in the processor's cache, straight into the weight's own memory and dtype.


Types whose numbers stand in tables of the format (IQ1 to IQ3, ternary ones, NVFP4) are unpacked by the format's own
Python package, `gguf`, which brings those tables; it is imported where a file has such a type.

Bits of a byte are written here from the highest to the lowest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import TextmillError
from textmill.interop.gguf.reader import TensorType

_PIECE = 1 << 17  # numbers unpacked at once: 512 kB of float32
_F16_MOST = 65504.0


def check(kind: TensorType, where: object) -> None:
    """Raise TextmillError for a type that is not unpacked here, or not without the `gguf` package."""
    if kind.name in _PLAIN or kind.name in _BLOCKS:
        return
    if kind.name not in BY_TABLE:
        raise TextmillError(
            f"has tensors of the type {kind.name}, which is not read here",
            where=where,
            advice=f"fetch the file in another type: {', '.join((*_PLAIN, *_BLOCKS, *BY_TABLE))} are read",
        )
    try:
        import gguf.quants  # noqa: F401
    except ImportError:
        raise TextmillError(
            f"has tensors of the type {kind.name}, whose tables are in the package gguf",
            where=where,
            advice="pip install 'textmill[export]'",
        ) from None


def unpack(packed: np.ndarray, kind: TensorType, out: Tensor, where: object = "") -> Tensor:
    """Fill `out`, contiguous, of any shape and floating dtype, from the packed bytes of as many numbers; and return it.

    Raises TextmillError for a type that is not unpacked here.
    """
    if kind.name in _PLAIN:
        return _plain(packed, _PLAIN[kind.name], out)
    check(kind, where)
    function = _BLOCKS.get(kind.name) or functools.partial(_by_table, kind.name)
    blocks = torch.from_numpy(packed).view(-1, kind.bytes)
    flat = out.view(-1, kind.elements)
    step = _PIECE // kind.elements
    direct = out.dtype is torch.float32
    scratch = None if direct else torch.empty(min(step, len(blocks)), kind.elements)
    for first in range(0, len(blocks), step):
        piece, target = blocks[first : first + step], flat[first : first + step]
        if scratch is None:
            function(piece, target)
        else:
            function(piece, scratch[: len(piece)])
            target.copy_(scratch[: len(piece)])
    return out


def _plain(packed: np.ndarray, dtype: torch.dtype, out: Tensor) -> Tensor:
    if packed.ctypes.data % dtype.itemsize:
        packed = packed.copy()
    return out.copy_(torch.from_numpy(packed).view(dtype).view(out.shape))


def _half(blocks: Tensor, at: int) -> Tensor:
    """The float16 at byte `at` of each block, as (n, 1) float32."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).float()


# Shifting and masking go over four bytes at once: PyTorch has quick loops for int32, and none for shifts of uint8.


def _nibbles(packed: Tensor) -> Tensor:
    """(…, m) bytes to (…, 2, m): the low halves, then the high ones."""
    words = packed.contiguous().view(torch.int32)
    return torch.stack((words & 0x0F0F0F0F, (words >> 4) & 0x0F0F0F0F), dim=-2).view(torch.uint8)


def _quarters(packed: Tensor) -> Tensor:
    """(…, m) bytes to (…, 4, m): each byte's pairs of bits, the lowest first."""
    words = packed.contiguous().view(torch.int32)
    return torch.stack([(words >> shift) & 0x03030303 for shift in (0, 2, 4, 6)], dim=-2).view(torch.uint8)


def _bits(packed: Tensor) -> Tensor:
    """(…, m) bytes to (…, 8, m): each byte's bits, the lowest first."""
    words = packed.contiguous().view(torch.int32)
    return torch.stack([(words >> shift) & 0x01010101 for shift in range(8)], dim=-2).view(torch.uint8)


@functools.cache
def _spread_bits() -> Tensor:
    """(256,) int64: for each byte eight bytes, 16 where its bit is set, the lowest bit first."""
    bits = torch.tensor([[16 * (byte >> bit & 1) for bit in range(8)] for byte in range(256)])
    return bits.to(torch.uint8).view(torch.int64).flatten()


def _fifth_bits(packed: Tensor) -> Tensor:
    """(n, 4) bytes to (n, 32): bit j of them all, worth 16, belongs to number j."""
    return _spread_bits()[packed.long()].view(torch.uint8)


def _q8_0(blocks: Tensor, out: Tensor) -> None:
    """d, 32 signed bytes q: d·q."""
    out.copy_(blocks[:, 2:].view(torch.int8)).mul_(_half(blocks, 0))


def _q4_0(blocks: Tensor, out: Tensor) -> None:
    """d, 16 bytes of halves q: d·(q - 8)."""
    out.copy_(_nibbles(blocks[:, 2:]).flatten(1)).sub_(8).mul_(_half(blocks, 0))


def _q4_1(blocks: Tensor, out: Tensor) -> None:
    """d, m, 16 bytes of halves q: d·q + m."""
    out.copy_(_nibbles(blocks[:, 4:]).flatten(1)).mul_(_half(blocks, 0)).add_(_half(blocks, 2))


def _q5_0(blocks: Tensor, out: Tensor) -> None:
    """d, 32 fifth bits, 16 bytes of halves: d·(q - 16)."""
    numbers = _nibbles(blocks[:, 6:]).flatten(1) | _fifth_bits(blocks[:, 2:6])
    out.copy_(numbers).sub_(16).mul_(_half(blocks, 0))


def _q5_1(blocks: Tensor, out: Tensor) -> None:
    """d, m, 32 fifth bits, 16 bytes of halves: d·q + m."""
    numbers = _nibbles(blocks[:, 8:]).flatten(1) | _fifth_bits(blocks[:, 4:8])
    out.copy_(numbers).mul_(_half(blocks, 0)).add_(_half(blocks, 2))


def _q2_k(blocks: Tensor, out: Tensor) -> None:
    """16 bytes of (minimum, scale) halves, 64 bytes of quarters q, d, dmin; 16 numbers share a scale."""
    scales, parts = blocks[:, :16], out.view(-1, 16, 16)
    numbers = _quarters(blocks[:, 16:80].unflatten(1, (2, 32)))  # (n, 2, 4, 32)
    parts.copy_(numbers.reshape(-1, 16, 16))
    parts.mul_((_half(blocks, 80) * (scales & 15)).unsqueeze(-1))
    parts.sub_((_half(blocks, 82) * (scales >> 4)).unsqueeze(-1))


def _q3_k(blocks: Tensor, out: Tensor) -> None:
    """32 bytes of third bits (0 means minus 4), 64 bytes of quarters, 16 scales of 6 bits less 32, d."""
    low, high = blocks[:, 96:104], blocks[:, 104:108]
    scales = _nibbles(low).flatten(1) | (_quarters(high).flatten(1) << 4)
    numbers = _quarters(blocks[:, 32:96].unflatten(1, (2, 32))).flatten(1)
    third = _bits(blocks[:, :32]).flatten(1) * 4
    parts = out.copy_(numbers + third).sub_(4).view(-1, 16, 16)
    parts.mul_((_half(blocks, 108) * (scales.float() - 32)).unsqueeze(-1))


def _six_bit_scales(packed: Tensor) -> tuple[Tensor, Tensor]:
    """12 bytes to 8 scales and 8 minima of 6 bits, (n, 8) float32 both.

    With a byte's bits as letters, the first four bytes hold the high bits of the last four scales and the first four
    scales (EEAAAAAA), the next four the same of the minima (eeaaaaaa), the last four the low halves (eeeeEEEE).
    """
    scale, least, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:12]
    scales = torch.cat((scale & 63, (rest & 15) | ((scale >> 2) & 48)), dim=1)
    minima = torch.cat((least & 63, (rest >> 4) | ((least >> 2) & 48)), dim=1)
    return scales.float(), minima.float()


def _scaled(blocks: Tensor, numbers: Tensor, out: Tensor) -> None:
    """d·scale·q - dmin·minimum over (n, 8, 32) numbers; d, dmin and the scales are the block's first 16 bytes."""
    scales, minima = _six_bit_scales(blocks[:, 4:16])
    parts = out.view(-1, 8, 32)
    parts.copy_(numbers)
    parts.mul_((_half(blocks, 0) * scales).unsqueeze(-1)).sub_((_half(blocks, 2) * minima).unsqueeze(-1))


def _q4_k(blocks: Tensor, out: Tensor) -> None:
    """d, dmin, 12 bytes of scales, 128 bytes of halves."""
    _scaled(blocks, _nibbles(blocks[:, 16:].unflatten(1, (4, 32))).flatten(1, 2), out)


def _q5_k(blocks: Tensor, out: Tensor) -> None:
    """d, dmin, 12 bytes of scales, 32 bytes of fifth bits, 128 bytes of halves."""
    low = _nibbles(blocks[:, 48:].unflatten(1, (4, 32))).flatten(1, 2)
    _scaled(blocks, low.add_(_bits(blocks[:, 16:48]), alpha=16), out)


def _q6_k(blocks: Tensor, out: Tensor) -> None:
    """128 bytes of halves, 64 bytes of quarters above them, 16 signed scales, d: d·scale·(q - 32)."""
    low = _nibbles(blocks[:, :128].unflatten(1, (2, 64))).flatten(1)
    high = _quarters(blocks[:, 128:192].unflatten(1, (2, 32))).flatten(1)
    scales = blocks[:, 192:208].view(torch.int8)
    parts = out.copy_(low.add_(high, alpha=16)).sub_(32).view(-1, 16, 16)
    parts.mul_((_half(blocks, 208) * scales).unsqueeze(-1))


def _looked_up(numbers: Tensor, table: tuple[int, ...]) -> Tensor:
    """What small integers (uint8, any shape) stand for, float32."""
    return torch.tensor(table, dtype=torch.float32)[numbers.long()]


def _mxfp4(blocks: Tensor, out: Tensor) -> None:
    """An exponent e, 16 bytes of halves: 2^(e - 128) · value (OCP Microscaling Formats 1.0; values twice as large)."""
    exponent = blocks[:, :1].to(torch.int32)
    scale = torch.where(exponent < 2, 0x00200000 << exponent.clamp(max=1), (exponent - 1) << 23)
    out.copy_(_looked_up(_nibbles(blocks[:, 1:]).flatten(1), _E2M1)).mul_(scale.view(torch.float32))


def _iq4_nl(blocks: Tensor, out: Tensor) -> None:
    """d, 16 bytes of halves: d·value."""
    out.copy_(_looked_up(_nibbles(blocks[:, 2:]).flatten(1), _UNEVEN)).mul_(_half(blocks, 0))


def _iq4_xs(blocks: Tensor, out: Tensor) -> None:
    """d, 8 scales of 6 bits less 32 (2 bytes of their high pairs, 4 of their low halves), 128 bytes of halves."""
    high = torch.stack([blocks[:, 2 + part // 4] >> 2 * (part % 4) & 3 for part in range(8)], dim=1)
    low = torch.stack([blocks[:, 4 + part // 2] >> 4 * (part % 2) & 15 for part in range(8)], dim=1)
    scales = _half(blocks, 0) * ((low | high << 4).float() - 32)
    numbers = _nibbles(blocks[:, 8:].unflatten(1, (8, 16))).flatten(2)
    out.view(-1, 8, 32).copy_(_looked_up(numbers, _UNEVEN)).mul_(scales.unsqueeze(-1))


def _by_table(name: str, blocks: Tensor, out: Tensor) -> None:
    """What the format's own package makes of them."""
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    out.copy_(torch.from_numpy(dequantize(blocks.numpy(), GGMLQuantizationType[name])).view(out.shape))


_E2M1 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # twice what four bits mean in MXFP4
_UNEVEN = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)  # of IQ4
_PLAIN: Mapping[str, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
}
_BLOCKS: Mapping[str, Callable[[Tensor, Tensor], None]] = {
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
    "MXFP4": _mxfp4,
    "IQ4_NL": _iq4_nl,
    "IQ4_XS": _iq4_xs,
}
BY_TABLE = (
    *("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"),
    *("TQ1_0", "TQ2_0", "NVFP4"),
)


def pack(weight: Tensor, kind: str, where: object = "") -> np.ndarray:
    """(bytes,) uint8: numbers packed as F32, F16 or Q8_0, as the format's reference implementation packs them.

    Q8_0 wants a last dimension that is a multiple of 32. Raises TextmillError where a number is out of float16's range.
    """
    weight = weight.detach().float().contiguous()
    if kind == "F32":
        return weight.reshape(-1).view(torch.uint8).numpy()
    if kind == "F16":
        if weight.numel() and float(weight.abs().max()) > _F16_MOST:
            raise TextmillError(
                "holds numbers that float16 cannot hold", where=where, advice='export it as "q8_0"'
            )
        return weight.half().reshape(-1).view(torch.uint8).numpy()
    assert kind == "Q8_0"
    blocks = weight.view(-1, 32)
    scale = blocks.abs().amax(dim=1, keepdim=True) / 127
    numbers = blocks * torch.where(scale == 0, 0.0, 1 / scale)
    size = numbers.abs()
    whole = size.floor()  # rounded half away from zero, as C does
    rounded = (whole + (2 * (size - whole)).floor()) * numbers.sign()
    packed = torch.cat((scale.half().view(torch.uint8), rounded.to(torch.int8).view(torch.uint8)), dim=1)
    return packed.reshape(-1).numpy()
