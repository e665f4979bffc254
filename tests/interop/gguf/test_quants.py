"""Packed numbers become the same float32 bits as in the format's own Python package, and go back the same way."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from textmill.base.errors import TextmillError
from textmill.interop.gguf.quants import _BLOCKS, _PLAIN, BY_TABLE, check, pack, unpack
from textmill.interop.gguf.reader import TYPES

KINDS = {kind.name: kind for kind in TYPES.values()}


def some_blocks(kind, blocks, seed=0):
    """Any bytes there can be, with scales that are finite."""
    rng = np.random.default_rng(seed)
    packed = rng.integers(0, 256, (blocks, kind.bytes), dtype=np.uint8)
    halves = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "Q4_1": (0, 2), "Q5_1": (0, 2)}
    halves |= {"TQ1_0": (52,), "TQ2_0": (64,), "MXFP4": (), "NVFP4": ()}  # these two have exponents
    if kind.name == "IQ1_M":  # whose float16 lies in the high halves of four numbers
        packed[:, 49::2] = packed[:, 49::2] & 0x0F | np.array([[0, 0, 0, 0x30]], dtype=np.uint8)
        return packed.reshape(-1)
    for at in halves.get(kind.name, (0, 2) if kind.name in ("Q4_K", "Q5_K") else (0,)):
        scales = rng.normal(size=blocks).astype(np.float16)
        packed[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    return packed.reshape(-1)


@pytest.mark.filterwarnings("ignore:overflow")  # of exponents that no file has
@pytest.mark.parametrize("name", [*_BLOCKS, *BY_TABLE])
def test_equal_to_the_bit(name):
    quants = pytest.importorskip("gguf.quants")
    from gguf import GGMLQuantizationType

    kind = KINDS[name]
    packed = some_blocks(kind, 300)
    wanted = quants.dequantize(packed.reshape(1, -1), GGMLQuantizationType[name]).reshape(-1)
    found = unpack(packed, kind, torch.empty(300, kind.elements)).numpy().reshape(-1)
    assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("name", ["F16", "BF16", "F32"])
def test_plain_numbers(name):
    values = torch.randn(7, 5)
    packed = values.to(_PLAIN[name]).view(torch.uint8).numpy().reshape(-1)
    assert torch.equal(unpack(packed, KINDS[name], torch.empty(7, 5)), values.to(_PLAIN[name]).float())


def test_plain_numbers_that_are_not_aligned():
    values = torch.randn(6)
    shifted = np.zeros(25, np.uint8)
    shifted[1:] = values.view(torch.uint8).numpy()
    assert torch.equal(unpack(shifted[1:], KINDS["F32"], torch.empty(6)), values)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", ["Q8_0", "Q4_K"])
def test_other_dtypes_are_float32_rounded(name, dtype):
    kind = KINDS[name]
    packed = some_blocks(kind, 64)
    exact = unpack(packed, kind, torch.empty(64, kind.elements))
    assert torch.equal(unpack(packed, kind, torch.empty(64, kind.elements, dtype=dtype)), exact.to(dtype))


def test_pieces_do_not_show(monkeypatch):
    kind = KINDS["Q5_0"]
    packed = some_blocks(kind, 101)
    whole = unpack(packed, kind, torch.empty(101 * 32))
    monkeypatch.setattr("textmill.interop.gguf.quants._PIECE", 7 * 32)
    for dtype in (torch.float32, torch.bfloat16):
        assert torch.equal(unpack(packed, kind, torch.empty(101 * 32, dtype=dtype)), whole.to(dtype))


def test_a_type_that_is_not_read_is_named():
    with pytest.raises(TextmillError, match="Q8_K.*Q4_K.*IQ2_XXS"):
        unpack(np.zeros(292, np.uint8), KINDS["Q8_K"], torch.empty(256), "some.gguf")


@pytest.mark.parametrize("name", ["F32", "F16", "Q8_0"])
def test_packing_is_the_reference_s(name):
    quants = pytest.importorskip("gguf.quants")
    from gguf import GGMLQuantizationType

    weight = torch.randn(40, 96) * torch.logspace(-6, 3, 40)[:, None]
    weight[3] = 0
    weight[4] = torch.arange(96) * 0.5 - 20  # halves, to be rounded away from zero
    wanted = quants.quantize(weight.numpy(), GGMLQuantizationType[name]).reshape(-1).view(np.uint8)
    assert np.array_equal(pack(weight, name), wanted)


def test_packed_and_unpacked():
    weight = torch.randn(8, 64)
    found = unpack(pack(weight, "Q8_0"), KINDS["Q8_0"], torch.empty(8, 64))
    step = weight.view(8, 2, 32).abs().amax(-1, keepdim=True) / 127
    # Half a step, and what rounding the step itself to float16 adds over 127 of them.
    assert ((found - weight).view(8, 2, 32).abs() <= step * (0.5 + 127 * 2**-11)).all()
    half = unpack(pack(weight, "F16"), KINDS["F16"], torch.empty(8, 64))
    assert torch.equal(half, weight.half().float())


def test_numbers_beyond_float16_are_refused():
    with pytest.raises(TextmillError, match="q8_0"):
        pack(torch.tensor([1e6]), "F16")


def test_a_type_whose_tables_are_not_installed_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setitem(sys.modules, "gguf.quants", None)
    check(KINDS["IQ4_XS"], "m.gguf")
    with pytest.raises(TextmillError, match="IQ2_S.* gguf") as caught:
        check(KINDS["IQ2_S"], "m.gguf")
    assert "textmill[export]" in caught.value.advice
