"""Norms against their formulas, and the hand-written gradients against finite differences."""

import math

import pytest
import torch

from textmill.nn import norm

X = (3, 5, 6)


def random_norm(kind: str):
    layer = norm.build(kind, 6, 1e-5, bias=True).double()
    for parameter in layer.parameters():
        parameter.data.normal_()
    return layer


def check_rows(kind, formula):
    """Each token's output against a formula of (its row, weights, biases), in Python's own numbers."""
    layer, x = random_norm(kind), torch.randn(X, dtype=torch.float64)
    weights, biases = layer.weight.tolist(), layer.bias.tolist() if kind == "layernorm" else None
    for row, found in zip(x.flatten(0, 1).tolist(), layer(x).flatten(0, 1).tolist(), strict=True):
        assert found == pytest.approx(formula(row, weights, biases), rel=1e-12)


def test_rmsnorm_by_hand():
    def formula(row, weights, _):
        root = math.sqrt(sum(v * v for v in row) / 6 + 1e-5)
        return [v / root * w for v, w in zip(row, weights, strict=True)]

    check_rows("rmsnorm", formula)


def test_layernorm_by_hand():
    def formula(row, weights, biases):
        mean = sum(row) / 6
        root = math.sqrt(sum((v - mean) ** 2 for v in row) / 6 + 1e-5)
        return [(v - mean) / root * w + c for v, w, c in zip(row, weights, biases, strict=True)]

    check_rows("layernorm", formula)


def test_batchnorm_by_hand_leaves_padding_out():
    layer, x = random_norm("batchnorm").train(), torch.randn(X, dtype=torch.float64)
    real = torch.rand(3, 5) < 0.6
    y = layer(x, real)
    for d in range(6):
        column = x[..., d][real].tolist()
        mean = sum(column) / len(column)
        variance = sum((v - mean) ** 2 for v in column) / len(column)
        want = [
            (v - mean) / math.sqrt(variance + 1e-5) * layer.weight[d].item() + layer.bias[d].item()
            for v in column
        ]
        assert y[..., d][real].tolist() == pytest.approx(want, rel=1e-10)
        assert layer.running_mean[d].item() == pytest.approx(0.1 * mean, rel=1e-10)
        unbiased = variance * len(column) / (len(column) - 1)
        assert layer.running_var[d].item() == pytest.approx(0.9 + 0.1 * unbiased, rel=1e-10)
    assert not y[~real].any()


def test_batchnorm_in_eval_treats_each_token_alone():
    layer, x = random_norm("batchnorm"), torch.randn(X, dtype=torch.float64)
    layer(x)
    layer.eval()
    torch.testing.assert_close(layer(x)[1, 2], layer(x[1:2, 2:3])[0, 0])


@pytest.mark.parametrize("kind", ["rmsnorm", "layernorm", "batchnorm"])
def test_gradients(kind):
    layer = random_norm(kind)
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    parameters = tuple(layer.parameters())

    def run(x, *_):
        return layer(x)

    assert torch.autograd.gradcheck(run, (x, *parameters))
