"""The linear layer against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from textmill.nn.linear import Linear, product


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_the_formula(bias, dtype):
    torch.manual_seed(0)
    layer = Linear(24, 40, bias=bias).to(dtype)
    x = torch.randn(3, 5, 24, dtype=dtype, requires_grad=True)
    weights = torch.randn(3, 5, 40, dtype=dtype)
    ours = torch.autograd.grad((layer(x) * weights).sum(), [x, *layer.parameters()])
    plain = torch.autograd.grad(
        (F.linear(x, layer.weight, layer.bias) * weights).sum(), [x, *layer.parameters()]
    )
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_frozen_weights_get_no_gradient():
    weight = torch.randn(4, 3)
    x = torch.randn(2, 3, requires_grad=True)
    product(x, weight).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand(2, 3))
    assert weight.grad is None


def test_its_output_may_be_changed_in_place():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    y = product(x, weight).unflatten(-1, (2, 3))
    y.mul_(2)
    y.sum().backward()
    torch.testing.assert_close(weight.grad, (2 * x.detach()).sum((0, 1)).expand(6, 4))


def test_bfloat16_autocast_still_applies():
    x, weight = torch.randn(2, 8, requires_grad=True), torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert product(x, weight).dtype is torch.bfloat16
