"""Convolutions against PyTorch's own over each text alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from textmill.nn.convolution import Convolutions


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return Convolutions(2, 4).double()


def by_pytorch(layer: Convolutions, text: torch.Tensor) -> torch.Tensor:
    """text (T, D) -> (T, 3D)."""
    x = said = text.T[None]
    for number, linear in enumerate(layer.layers):
        kernel = linear.weight.view(len(linear.weight), 3, -1).transpose(1, 2)
        made = F.gelu(F.conv1d(x, kernel, linear.bias, padding=1))
        said = x = said + made if number else made
    return torch.cat((said[0].T, text), dim=-1)


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 7])
def test_each_text_is_read_as_if_it_stood_alone(layer, length):
    text = torch.randn(length, 4, dtype=torch.float64)
    expected, other = by_pytorch(layer, text), torch.randn(3, 4, dtype=torch.float64)
    assert expected.shape[-1] == layer.width == 12
    torch.testing.assert_close(layer(text[None])[0], expected)
    # 1. Padding on either side, and a neighbour in a packed row, change nothing.
    rows = torch.stack([torch.cat((text, other)), torch.cat((other, text))])
    real = torch.stack([torch.arange(length + 3) < length, torch.arange(length + 3) >= 3])
    torch.testing.assert_close(layer(rows, real)[real].view(2, length, 12), expected.expand(2, -1, -1))
    documents = (torch.arange(length + 3) >= 3).long()[None]
    torch.testing.assert_close(layer(rows[1:], None, documents)[0, 3:], expected)
