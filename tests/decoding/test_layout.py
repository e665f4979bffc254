"""Rounded weights: close to the model they came from, and it untouched."""

from __future__ import annotations

import math

import pytest
import torch

from textmill.base.errors import RecipeError, TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.decoding.generate import generate
from textmill.decoding.layout import PackedLinear, QuantizedLinear, RoundedLinear, prepare
from textmill.models.build import build
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec

SPEC = DecoderSpec(d_model=64, layers=2, heads=4, kv_heads=2, d_ff=128, context=32, bias="all", qk_norm=True)
needs_bf16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16 products"
)


needs_int8 = pytest.mark.skipif(
    torch.backends.quantized.engine not in ("x86", "fbgemm"), reason="no products of 8 bits here"
)


def batch() -> Batch:
    inputs = torch.randint(200, (3, 20), generator=torch.Generator().manual_seed(0))
    return Batch(inputs, torch.full_like(inputs, IGNORE))


@needs_bf16
@pytest.mark.parametrize("tied", [True, False])
def test_bfloat16_weights_give_nearly_the_same_logits(tied):
    spec = DecoderSpec(**{**SPEC.__dict__, "tied": tied})
    model = build(spec, 200, seed=1).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ready = prepare(model, "bf16")
    with torch.inference_mode():
        exact, near = model(batch()), ready(batch())
    assert near.dtype is torch.float32
    error = (near - exact).norm() / exact.norm()
    assert 1e-5 < float(error) < 2e-2  # bfloat16 keeps 8 bits: half a percent a product
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.blocks[0].attention.qkv.weight.dtype is torch.float32
    assert isinstance(ready.output, RoundedLinear)  # a tied model's too: it is the largest of all
    assert (model.output is None) == tied
    assert ready.blocks[0].attention_norm.weight is model.blocks[0].attention_norm.weight


@needs_bf16
def test_it_generates():
    model = build(SPEC, 200, seed=1)
    ready = prepare(model, "bf16")
    pieces = list(generate(ready, [[1, 2, 3], [4]], GenerationSpec(tokens=6, temperature=0), ends=-1))
    assert len(pieces) == 12
    assert model.training


def test_float32_needs_nothing():
    model = build(SPEC, 200, seed=1).eval()
    assert prepare(model) is model
    assert not prepare(model.train()).training
    assert model.training


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize("tied", [True, False])
def test_float32_for_many_rows_gives_the_same(tied):
    spec = DecoderSpec(**{**SPEC.__dict__, "tied": tied})
    model = build(spec, 200, seed=1)
    ready = prepare(model, rows=32)
    with torch.inference_mode():
        torch.testing.assert_close(ready(batch()), model.eval()(batch()), rtol=0, atol=1e-5)
    assert isinstance(ready.output, PackedLinear)
    assert (model.output is None) == tied
    spec = GenerationSpec(tokens=6, temperature=0)
    prompts = [[1, 2, 3], [4], [5, 6]]
    told = [[piece.id for piece in generate(one, prompts, spec, ends=-1)] for one in (model, ready)]
    assert told[0] == told[1]


@needs_int8
def test_whole_numbers_give_nearly_the_same_and_each_row_what_it_gets_alone():
    model = build(SPEC, 200, seed=1).eval()
    ready = prepare(model, "int8")
    assert isinstance(ready.output, QuantizedLinear)
    with torch.inference_mode():
        exact, near = model(batch()), ready(batch())
        assert 1e-4 < float((near - exact).norm() / exact.norm()) < 5e-2
        x = torch.randn(3, 5, 64) * torch.tensor([1.0, 100.0, 1e-6])[:, None, None]
        layer, weight = ready.blocks[0].feedforward.up, model.blocks[0].feedforward.up
        together = layer(x)
        for row in range(3):
            for place in range(5):
                assert torch.equal(layer(x[row, place]), together[row, place])
        wanted = weight(x) - weight.bias
        error = (together - layer.bias - wanted).norm(dim=-1) / wanted.norm(dim=-1)
        assert 1e-3 < float(error.max()) < 0.015
        assert torch.equal(layer(torch.zeros(2, 64)), layer.bias.expand(2, -1))


@needs_int8
def test_eight_bits_by_hand():
    weight, x = torch.tensor([[1.0, -0.5], [0.002, 0.001]]), torch.tensor([[0.3, -1.2]])
    sizes = [math.sqrt((1 + 0.002**2) / 2), math.sqrt((0.5**2 + 0.001**2) / 2)]  # of a feature, over outputs
    read = [0.3 * sizes[0], -1.2 * sizes[1]]
    largest = max(map(abs, read))
    coarse = [round(value / largest * 63) / 63 for value in read]
    fine = [
        round((value / largest - part) * 126 * 63) / 63 / 126
        for value, part in zip(read, coarse, strict=True)
    ]
    for output, row in enumerate(weight.tolist()):
        balanced = [value / size for value, size in zip(row, sizes, strict=True)]
        scale = max(map(abs, balanced)) / 127
        whole = [round(value / scale) * scale for value in balanced]
        expected = sum((c + f) * largest * w for c, f, w in zip(coarse, fine, whole, strict=True))
        assert float(QuantizedLinear(weight, None)(x)[0, output]) == pytest.approx(expected, rel=1e-5)


@needs_int8
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_numbers_of_all_do_not_overflow_where_products_are_added_in_16_bits(sign):
    weight, x = torch.full((16, 96), sign), torch.ones(2, 96)
    torch.testing.assert_close(QuantizedLinear(weight, None)(x), torch.full((2, 16), 96 * sign))


def test_an_unknown_kind_is_refused():
    with pytest.raises(RecipeError, match="'int4' is not one of fp32, bf16, int8"):
        prepare(build(SPEC, 200), "int4")


def test_a_processor_without_bfloat16_refuses(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(TextmillError, match="no bf16 products.*decode in float32"):
        prepare(build(SPEC, 200), "bf16")
