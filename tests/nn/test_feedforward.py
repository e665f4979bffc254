"""The feed-forward layer against its formula."""

import math

import pytest
import torch

from textmill.nn.feedforward import FeedForward
from textmill.specs.model import DecoderSpec


def phi(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


ACTIVATIONS = {
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "gelu": lambda x: x * phi(x),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "swiglu": lambda x: x / (1 + math.exp(-x)),
    "geglu": lambda x: x * phi(x),
}


@pytest.mark.parametrize("bias", ["none", "all"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_by_hand(activation, bias):
    spec = DecoderSpec(d_model=6, heads=1, d_ff=5, activation=activation, bias=bias)
    layer = FeedForward(spec).double()
    x = torch.randn(1, 2, 6, dtype=torch.float64)
    y = layer(x)
    up, down = layer.up, layer.down
    add = lambda linear, i: 0.0 if linear.bias is None else linear.bias[i].item()  # noqa: E731
    for t in range(2):
        rows = [
            sum(up.weight[f, d].item() * x[0, t, d].item() for d in range(6)) + add(up, f)
            for f in range(up.weight.shape[0])
        ]
        inner = [ACTIVATIONS[activation](v) for v in rows[:5]]
        if spec.gated:
            inner = [a * b for a, b in zip(inner, rows[5:], strict=True)]
        want = [sum(down.weight[d, f].item() * inner[f] for f in range(5)) + add(down, d) for d in range(6)]
        assert y[0, t].tolist() == pytest.approx(want, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients(activation):
    layer = FeedForward(DecoderSpec(d_model=4, heads=2, d_ff=3, activation=activation)).double()
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))
