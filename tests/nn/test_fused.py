"""The hand-written gradients of a CPU run equal those of the plain formulas."""

import pytest
import torch
import torch.nn.functional as F

from textmill.nn import fused, position


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_rms_norm():
    x, weight = double(2, 3, 8), double(8)
    torch.testing.assert_close(fused.rms_norm(x, weight, 1e-6), F.rms_norm(x, (8,), weight, 1e-6))
    assert torch.autograd.gradcheck(lambda x, w: fused.rms_norm(x, w, 1e-6), (x, weight))


@pytest.mark.parametrize("activation", ["swiglu", "geglu"])
def test_gate(activation):
    both = double(2, 3, 8)
    gate, up = both.chunk(2, dim=-1)
    plain = {"swiglu": F.silu, "geglu": F.gelu}[activation]
    torch.testing.assert_close(fused.gate(both, activation), plain(gate) * up)
    assert torch.autograd.gradcheck(lambda x: fused.gate(x, activation), (both,))


@pytest.mark.parametrize("rows", [1, 2])
def test_rotate_in_place(rows):
    x = double(2, 5, 4, 6)
    rates = position.rotary_frequencies(6, 100.0, None, torch.device("cpu"))
    cos, sin = position.rotation(torch.arange(5).expand(rows, 5), rates)
    want = torch.cat((position.rotate(x[:, :, :3], cos, sin), x[:, :, 3:]), dim=2)
    torch.testing.assert_close(fused.rotate_(x.clone(), cos, sin, 3), want)
    assert torch.autograd.gradcheck(lambda x: fused.rotate_(x.clone(), cos, sin, 3), (x,))


@pytest.mark.parametrize("shape", [(7,), (3, 5, 129), (200, 500)])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.999])
def test_dropout_scales_what_it_keeps(shape, probability):
    torch.manual_seed(0)
    x = torch.ones(shape, requires_grad=True)
    y = fused.dropout(x, probability)
    kept = y > 0
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - probability)), rtol=1e-2, atol=0)
    y.backward(torch.full(shape, 3.0))
    torch.testing.assert_close(x.grad, 3 * y)
    torch.manual_seed(0)
    assert torch.equal(fused.dropout(x, probability), y)


@pytest.mark.parametrize("probability", [0.1, 0.3])
def test_dropout_is_fair_and_independent(probability):
    torch.manual_seed(1)
    rows = 40_000
    left_out = (fused.dropout(torch.ones(rows, 16, requires_grad=True), probability) == 0).double()
    spread = (probability * (1 - probability) / rows) ** 0.5
    assert (left_out.mean(0) - probability).abs().max() < 5 * spread  # each place by itself
    together = torch.corrcoef(left_out.T).fill_diagonal_(0)  # places that share a draw, and those that do not
    assert together.abs().max() < 5 / rows**0.5
    along = left_out.flatten()
    for lag in (1, 3, 4, 16):
        assert torch.corrcoef(torch.stack([along[:-lag], along[lag:]]))[0, 1].abs() < 5 / len(along) ** 0.5


def test_left_alone_where_it_does_not_help():
    assert fused.worthwhile(double(2))
    assert not fused.worthwhile(torch.randn(2))
    assert not fused.worthwhile(torch.randn(2, dtype=torch.bfloat16, requires_grad=True))
    with torch.no_grad():
        assert not fused.worthwhile(double(2))
