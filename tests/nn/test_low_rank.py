"""Low-rank additions against the equations of their papers, by hand, and their gradients against autograd's."""

import math

import pytest
import torch
import torch.nn.functional as F

from textmill.nn.eight_bits import EightBitEmbedding, EightBitLinear, EightBits
from textmill.nn.linear import Linear
from textmill.nn.low_rank import WHOLE, LowRank, LowRankEmbedding, LowRankLinear
from textmill.specs.tuning import LoRATuning


def frozen(weight, bias=None, sections=None):
    layer = Linear(len(weight[0]), len(weight), bias=bias is not None, sections=sections)
    layer.weight = torch.nn.Parameter(torch.tensor(weight), requires_grad=False)
    if bias is not None:
        layer.bias = torch.nn.Parameter(torch.tensor(bias), requires_grad=False)
    return layer


def low(a, b, scale, magnitude=None):
    addition = LowRank(len(a[0]), len(b), len(a), scale, magnitude=magnitude is not None)
    addition.a.data, addition.b.data = torch.tensor(a), torch.tensor(b)
    if addition.magnitude is not None:
        addition.magnitude.data = torch.tensor(magnitude)
    return addition


WEIGHT = [[1.0, 2.0], [0.0, 3.0]]
A, B = [[1.0, 1.0]], [[2.0], [0.0]]


@pytest.mark.parametrize("training", [True, False])
def test_lora_adds_scaled_b_a_x(training):
    """Hu et al. 2021, equation 3: (1·1 + 2·1) + 0.5 · 2 · (1 + 1) = 5; the second row has no addition: 3."""
    layer = LowRankLinear(frozen(WEIGHT, [0.0, 10.0]), {WHOLE: low(A, B, 0.5)}).train(training)
    torch.testing.assert_close(layer(torch.tensor([[1.0, 1.0]])), torch.tensor([[5.0, 13.0]]))


def test_scales_are_those_of_the_papers():
    assert LoRATuning(rank=16, alpha=8.0).scale == 0.5
    assert LoRATuning(rank=16, alpha=8.0, rslora=True).scale == 2.0  # Kalajdzievski 2023: alpha / sqrt(rank)


def test_dora_scales_rows_to_their_magnitude():
    """Liu et al. 2024, equation 5: W + s b a = [[2, 3], [0, 3]], its rows divided by √13 and 3, times 13 and 6."""
    layer = LowRankLinear(frozen(WEIGHT), {WHOLE: low(A, B, 0.5, [13.0, 6.0])})
    expected = [2 * 13 / math.sqrt(13) + 3 * 13 / math.sqrt(13), 6.0]
    torch.testing.assert_close(layer(torch.tensor([[1.0, 1.0]])), torch.tensor([expected]))
    torch.testing.assert_close(layer.matrix() @ torch.ones(2), torch.tensor(expected))


def test_dora_leaves_its_bias_alone_and_its_norm_has_no_gradient():
    layer = LowRankLinear(frozen(WEIGHT, [1.0, 1.0]), {WHOLE: low(A, B, 0.5, [13.0, 6.0])})
    x = torch.tensor([[1.0, 1.0]])
    torch.testing.assert_close(layer(x)[0, 1], torch.tensor(7.0))
    layer(x).sum().backward()
    addition = layer.additions[WHOLE]
    norms = torch.tensor([math.sqrt(13), 3.0])  # constants: d y / d b = m / ‖·‖ · s · a x
    torch.testing.assert_close(addition.b.grad[:, 0], torch.tensor([13.0, 6.0]) / norms * 0.5 * 2)


def test_an_embedding_is_a_linear_layer_over_one_hot_vectors():
    base = torch.nn.Embedding.from_pretrained(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    layer = LowRankEmbedding(base, low([[1.0, 2.0, 3.0]], [[1.0], [10.0]], 2.0))
    ids = torch.tensor([2, 0])
    torch.testing.assert_close(layer(ids), torch.tensor([[7.0, 61.0], [3.0, 20.0]]))
    torch.testing.assert_close(layer.matrix()[ids], layer(ids))


SECTIONS = {"q": 8, "k": 4, "v": 4}


@pytest.mark.parametrize("names", [(WHOLE,), ("q",), ("v",), ("q", "v"), ("q", "k", "v")])
@pytest.mark.parametrize("eight", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_gradient_by_hand_is_autograds(names, eight, dropout):
    """The function with a gradient of its own, against products with W and with s b a written out."""
    torch.manual_seed(0)
    base = Linear(6, 16, sections=SECTIONS).requires_grad_(False)
    if eight:
        base = EightBitLinear(EightBits(base.weight), base.bias, SECTIONS)
    rows = {WHOLE: 16} | SECTIONS
    additions = {name: LowRank(6, rows[name], 3, 0.7) for name in names}
    for addition in additions.values():
        torch.nn.init.normal_(addition.a), torch.nn.init.normal_(addition.b)
    layer = LowRankLinear(base, additions, dropout)
    x = torch.randn(2, 5, 6, requires_grad=True)
    wanted = [x, *(tensor for addition in additions.values() for tensor in (addition.a, addition.b))]
    plain = base.weight.detach() if isinstance(base, Linear) else base.matrix.unpacked()
    change = torch.zeros_like(plain)
    for name, addition in additions.items():
        start = layer.rows[name].start
        change = change + F.pad(addition.delta(), (0, 0, start, 16 - start - rows[name]))
    torch.manual_seed(1)
    by_hand = layer(x)
    torch.manual_seed(1)  # the same numbers are left out
    written_out = F.linear(x, plain, base.bias) + F.linear(layer.dropout(x), change)
    torch.testing.assert_close(by_hand, written_out)
    slope = torch.randn_like(written_out)
    ours, theirs = (torch.autograd.grad(y, wanted, slope, retain_graph=True) for y in (by_hand, written_out))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    layer.eval()
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, plain + change, base.bias))
        torch.testing.assert_close(layer.matrix(), plain + change)


@pytest.mark.parametrize("magnitude", [False, True])
def test_a_new_addition_changes_nothing_to_the_bit(magnitude):
    torch.manual_seed(0)
    base, x = Linear(6, 16, sections=SECTIONS), torch.randn(5, 6)
    additions = {
        "q": LowRank(6, 8, 3, 0.7, magnitude=magnitude),
        "v": LowRank(6, 4, 3, 0.7, magnitude=magnitude),
    }
    layer = LowRankLinear(base, additions).eval()
    layer.reset(torch.Generator().manual_seed(1))
    assert additions["q"].a.abs().max() > 0
    assert torch.equal(layer(x), base(x))


def test_dropout_falls_on_what_the_addition_reads_alone():
    torch.manual_seed(0)
    base = Linear(64, 4).requires_grad_(False)
    layer = LowRankLinear(base, {WHOLE: LowRank(64, 4, 2, 1.0)}, dropout=0.5)
    layer.reset(torch.Generator().manual_seed(1))
    x = torch.randn(8, 64)
    torch.testing.assert_close(layer(x), base(x))  # b is zero, so whatever is dropped, nothing is added
    torch.nn.init.normal_(layer.additions[WHOLE].b)
    assert not torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("rows", [3, 5000])
def test_eight_bits_are_near_and_their_gradient_is_that_of_what_they_hold(rows):
    """Each number is within half a step of its row's scale; products are those of the unpacked matrix."""
    torch.manual_seed(0)
    weight = torch.randn(rows, 1000)
    weight[:, 7] *= 50  # a feature large for all outputs leaves the others their bits
    matrix = EightBits(weight)
    assert matrix.whole.dtype is torch.int8
    assert ((matrix.unpacked() - weight).abs() <= 0.501 * matrix.scales[:, None] * matrix.sizes).all()
    layer = EightBitLinear(matrix, torch.nn.Parameter(torch.randn(rows), requires_grad=False), {})
    x = torch.randn(2, 4, 1000, requires_grad=True)
    plain = F.linear(x, matrix.unpacked(), layer.bias)
    torch.testing.assert_close(layer(x), plain, rtol=1e-4, atol=1e-3)
    slope = torch.randn_like(plain)
    ours, theirs = (torch.autograd.grad(y, [x], slope)[0] for y in (layer(x), plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)
    ids = torch.tensor([[0, 2], [1, 1]])
    assert torch.equal(EightBitEmbedding(matrix)(ids), matrix.unpacked()[ids])
