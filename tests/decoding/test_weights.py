"""Rounded weights: close to the model they came from, and it untouched."""

from __future__ import annotations

import pytest
import torch

from textmill.base.errors import TextmillError
from textmill.base.model_spec import DecoderSpec
from textmill.base.spec import GenerationSpec
from textmill.data.batch import IGNORE, Batch
from textmill.decoding.generate import generate
from textmill.decoding.weights import PackedLinear, RoundedLinear, prepare
from textmill.models.table import build

SPEC = DecoderSpec(d_model=64, layers=2, heads=4, kv_heads=2, d_ff=128, context=32, bias="all", qk_norm=True)
needs_bf16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16 products"
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
    ready = prepare(model, torch.bfloat16)
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
    ready = prepare(model, torch.bfloat16)
    pieces = list(generate(ready, [[1, 2, 3], [4]], GenerationSpec(tokens=6, temperature=0), ends=-1))
    assert len(pieces) == 12
    assert model.training


def test_float32_needs_nothing():
    model = build(SPEC, 200, seed=1)
    assert prepare(model) is model
    assert not model.training


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


def test_a_processor_without_bfloat16_refuses(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(TextmillError, match="no bfloat16 products.*decode in float32"):
        prepare(build(SPEC, 200), torch.bfloat16)
