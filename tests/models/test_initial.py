"""Initial weights are a function of (spec, vocabulary, seed); rates and scales follow the width."""

import math

import pytest
import torch

from textmill.data.batch import Batch
from textmill.models import initial
from textmill.models.build import build, empty
from textmill.specs.model import DecoderSpec
from textmill.specs.position import LearnedPositions, RelativePositions, T5Positions

SPEC = DecoderSpec(d_model=64, layers=3, heads=4, d_ff=96, tied=False, bias="all", norm="layernorm")


def test_seeded_and_apart_from_the_global_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = build(SPEC, 100, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = build(SPEC, 100, seed=3), build(SPEC, 100, seed=4)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    assert one.training


def test_adding_a_layer_changes_no_other_embedding():
    deeper = DecoderSpec(d_model=64, layers=4, heads=4, d_ff=96)
    shallow = DecoderSpec(d_model=64, layers=3, heads=4, d_ff=96)
    a, b = build(deeper, 100), build(shallow, 100)
    assert torch.equal(a.embedding.weight, b.embedding.weight)
    assert torch.equal(a.blocks[1].attention.qkv.weight, b.blocks[1].attention.qkv.weight)


def test_dtype_is_rounded_from_float32():
    a, b = build(SPEC, 100), build(SPEC, 100, dtype=torch.bfloat16)
    assert torch.equal(a.embedding.weight.bfloat16(), b.embedding.weight)


@pytest.mark.parametrize("base", [None, 16])
def test_the_table(base):
    spec = DecoderSpec(
        d_model=256, layers=3, heads=4, d_ff=512, tied=False, bias="all", norm="layernorm", base_width=base
    )
    m = 256 / base if base else 1
    assert initial.width_multiplier(spec) == m
    for name, weight in build(spec, 500).named_parameters():
        if name.endswith(".bias"):
            assert not weight.any()
        elif weight.ndim == 1:
            assert (weight == (1 / m if name == "norm.weight" else 1)).all()
        else:
            std = 0.02
            if name.startswith("blocks"):
                std /= math.sqrt(m)
            if ("output.weight" in name and name != "output.weight") or "down" in name:
                std /= math.sqrt(2 * 3)
            assert weight.std().item() == pytest.approx(std, rel=0.02)
            assert abs(weight.mean().item()) < std / 50


def test_kinds_and_rates():
    spec = DecoderSpec(d_model=64, layers=1, heads=4, d_ff=96, tied=False, bias="qkv", base_width=16)
    model = empty(spec, 100)
    kinds, rates = initial.kind_of_parameter(model), initial.learning_rate_scale(model)
    assert kinds["embedding.weight"] == "embedding"
    assert kinds["output.weight"] == "output"
    assert kinds["blocks.0.attention.qkv.weight"] == kinds["blocks.0.feedforward.down.weight"] == "hidden"
    assert kinds["blocks.0.attention.qkv.bias"] == kinds["norm.weight"] == "vector"
    assert rates["blocks.0.attention.qkv.weight"] == rates["norm.weight"] == 0.25
    assert rates["embedding.weight"] == rates["output.weight"] == rates["blocks.0.attention_norm.weight"] == 1
    assert set(initial.learning_rate_scale(empty(SPEC, 100)).values()) == {1.0}
    tables = {
        LearnedPositions(): ("position_embedding.weight", "embedding"),
        T5Positions(): ("position_bias.weight", "vector"),
        RelativePositions(): ("blocks.0.attention.relative_keys", "vector"),
    }
    for position, (name, kind) in tables.items():
        spec = DecoderSpec(d_model=64, layers=1, heads=4, d_ff=96, position=position)
        assert initial.kind_of_parameter(empty(spec, 100))[name] == kind


def test_post_norm_models_scale_their_last_norm():
    spec = DecoderSpec(d_model=64, layers=2, heads=4, d_ff=96, placement="post", base_width=16)
    model = build(spec, 100)
    assert (model.blocks[1].feedforward_norm.weight == 0.25).all()
    assert (model.blocks[0].feedforward_norm.weight == 1).all()


def _change(width: int, base: int | None) -> float:
    """How far four Adam steps of one rate move the logits of a model of this width."""
    spec = DecoderSpec(
        d_model=width, layers=2, heads=width // 16, d_ff=2 * width, context=16, base_width=base
    )
    model = build(spec, 64)
    rates = initial.learning_rate_scale(model)
    groups = [{"params": [p], "lr": 4e-3 * rates[name]} for name, p in model.named_parameters()]
    optimizer = torch.optim.Adam(groups)
    x = torch.randint(0, 64, (4, 16), generator=torch.Generator().manual_seed(0))
    batch = Batch(inputs=x, targets=x)
    before = model(batch).detach()
    for _ in range(4):
        optimizer.zero_grad()
        logits = model(batch)
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), x[:, 1:].flatten()).backward()
        optimizer.step()
    return (model(batch) - before).square().mean().sqrt().item()


def test_one_rate_serves_all_widths():
    """The coordinate check of µP (Yang et al. 2022, appendix D.1): without it, wider models move further."""
    plain = _change(512, None) / _change(64, None)
    mup = _change(512, 64) / _change(64, 64)
    assert plain > 2
    assert 0.5 < mup < 1.5
