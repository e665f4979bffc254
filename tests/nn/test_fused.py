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


def test_left_alone_where_it_does_not_help():
    assert fused.worthwhile(double(2))
    assert not fused.worthwhile(torch.randn(2))
    assert not fused.worthwhile(torch.randn(2, dtype=torch.bfloat16, requires_grad=True))
    with torch.no_grad():
        assert not fused.worthwhile(double(2))
