"""Recurrent layers and alignment against their published formulas, one number at a time; rows cut into runs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from textmill.nn.alignment import Alignment
from textmill.nn.recurrent import Recurrent, cut, initial_values
from textmill.specs.model import RecurrentSpec

CELLS = ("gru", "lstm")


def make(cell, inputs=3, width=4, layers=2, **more):
    """Layers in float64 whose weights are large enough for every part to matter."""
    module = Recurrent(cell, inputs, width, layers, **more).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.0, 0.7)
    return module


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def gru_step(x, h, w, u, b, d):
    """PyTorch's GRU, by its documented formula; gates in the order r, z, n."""
    new = torch.zeros_like(h)
    size = len(h)
    for k in range(size):
        reset = sigmoid(w[k] @ x + b[k] + u[k] @ h + d[k])
        update = sigmoid(w[size + k] @ x + b[size + k] + u[size + k] @ h + d[size + k])
        inner = w[2 * size + k] @ x + b[2 * size + k] + reset * (u[2 * size + k] @ h + d[2 * size + k])
        new[k] = (1 - update) * torch.tanh(inner) + update * h[k]
    return (new,)


def lstm_step(x, h, c, w, u, b, d):
    """PyTorch's LSTM, by its documented formula; gates in the order i, f, g, o."""
    new, cell = torch.zeros_like(h), torch.zeros_like(c)
    size = len(h)
    for k in range(size):
        i, f, g, o = (
            w[j * size + k] @ x + b[j * size + k] + u[j * size + k] @ h + d[j * size + k] for j in range(4)
        )
        cell[k] = sigmoid(f) * c[k] + sigmoid(i) * torch.tanh(g)
        new[k] = sigmoid(o) * torch.tanh(cell[k])
    return new, cell


def by_formula(module, cell, x, states, way=""):
    """One row (T, I) through one way of all layers: outputs (T, W), last states [(h, …) of each layer]."""
    last = []
    for layer in range(module.layers):
        weights = [
            getattr(module.core, f"{name}_l{layer}{way}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        step, now, outputs = {"gru": gru_step, "lstm": lstm_step}[cell], states[layer], []
        for vector in x:
            now = step(vector, *now, *weights)
            outputs.append(now[0])
        x = torch.stack(outputs)
        last.append(now)
    return x, last


def zeros(module, width):
    return [(torch.zeros(width, dtype=torch.float64),) * module.kinds for _ in range(module.layers)]


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_layers_follow_their_formulas(cell):
    module, x = make(cell), torch.randn(2, 5, 3, dtype=torch.float64)
    outputs, states = module(x)
    for row in range(2):
        wanted, last = by_formula(module, cell, x[row], zeros(module, 4))
        torch.testing.assert_close(outputs[row], wanted, rtol=0, atol=1e-10)
        for kind in range(module.kinds):
            expected = torch.stack([one[kind] for one in last])
            torch.testing.assert_close(states[kind][:, row], expected, rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_states_are_begun_from(cell):
    module, x = make(cell), torch.randn(2, 6, 3, dtype=torch.float64)
    whole, last = module(x)
    _, middle = module(x[:, :4])
    rest, end = module(x[:, 4:], None, middle)
    torch.testing.assert_close(rest, whole[:, 4:], rtol=0, atol=1e-12)
    for one, other in zip(end, last, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_both_ways_read_each_row_to_its_own_end(cell):
    """The way back begins at a row's last real token, whichever side the padding is on."""
    module = make(cell, width=6, layers=1, bidirectional=True)
    x, real = torch.randn(3, 5, 3, dtype=torch.float64), torch.ones(3, 5, dtype=torch.bool)
    real[1, 3:] = False
    real[2, :2] = False
    outputs, states = module(x, cut(real, None))
    assert outputs[~real].eq(0).all()
    for row in range(3):
        alone = x[row, real[row]]
        there, one = by_formula(module, cell, alone, zeros(module, 3))
        back, other = by_formula(module, cell, alone.flip(0), zeros(module, 3), "_reverse")
        torch.testing.assert_close(
            outputs[row, real[row]], torch.cat([there, back.flip(0)], -1), rtol=0, atol=1e-10
        )
        for kind in range(module.kinds):
            expected = torch.cat([one[0][kind], other[0][kind]])
            torch.testing.assert_close(states[kind][0, row], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_the_two_directions_of_deeper_layers_stand_side_by_side(cell):
    module = make(cell, width=6, layers=2, bidirectional=True)
    _, states = module(torch.randn(2, 5, 3, dtype=torch.float64))
    last = module.core(torch.randn(2, 5, 3, dtype=torch.float64))[1]
    assert [state.shape for state in states] == [(2, 2, 6)] * module.kinds
    assert (last if cell == "gru" else last[0]).shape == (4, 2, 3)


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(1, 4), max_size=4), st.integers(0, 3)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(CELLS), st.booleans())
def test_runs_give_what_they_give_alone(rows, cell, packed):
    """Rows of padding, documents of some lengths and padding: each document as if it were alone."""
    torch.manual_seed(1)
    module = make(cell, inputs=2, width=3, layers=1)
    length = max(before + sum(sizes) + after for before, sizes, after in rows) or 1
    real = torch.zeros(len(rows), length, dtype=torch.bool)
    documents = torch.full((len(rows), length), -1)
    places = []
    for row, (before, sizes, _) in enumerate(rows):
        at = before
        for number, size in enumerate(sizes):
            real[row, at : at + size] = True
            documents[row, at : at + size] = number
            places.append((row, at, size))
            at += size
    x = torch.randn(len(rows), length, 2, dtype=torch.float64)
    if not packed:  # all of a row is one run
        places = [(row, before, sum(sizes)) for row, (before, sizes, _) in enumerate(rows) if sum(sizes)]
    with torch.no_grad():
        outputs, states = module(x, cut(real, documents if packed else None))
        for row, at, size in places:
            alone, last = module(x[row : row + 1, at : at + size])
            torch.testing.assert_close(outputs[row, at : at + size], alone[0], rtol=0, atol=1e-12)
            if at + size == int(real[row].nonzero().max()) + 1:
                torch.testing.assert_close(states[0][0, row], last[0][0, 0], rtol=0, atol=1e-12)
    runs = cut(real, documents if packed else None)
    if runs is not None:
        assert torch.equal(runs.real(*real.shape), real)


def test_rows_are_cut_only_where_they_must_be():
    full, right = torch.ones(2, 4, dtype=torch.bool), torch.tensor([[True] * 4, [True, True, False, False]])
    assert cut(None, None) is None
    assert cut(full, None) is None
    assert cut(None, torch.tensor([[3, 3], [5, 5]])) is None
    assert cut(right, None, exact=False) is None
    assert cut(right, None) is not None
    assert cut(right.flip(1), None, exact=False) is not None
    assert cut(None, torch.tensor([[3, 3], [5, 6]]), exact=False) is not None


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_runs(cell):
    """Weights get from packed rows what they get from the documents one by one; padding gets nothing."""
    module = make(cell, layers=2)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    documents = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 9]])
    real = documents < 9
    outputs, _ = module(x, cut(real, documents))
    outputs.square().sum().backward()
    packed = [parameter.grad.clone() for parameter in module.parameters()]
    module.zero_grad()
    assert x.grad[1, 4].eq(0).all()
    for piece in (x[:1, :2], x[:1, 2:], x[1:, :4]):
        module(piece.detach())[0].square().sum().backward()
    for one, parameter in zip(packed, module.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("score", ["additive", "dot", "general"])
def test_alignment_follows_its_formula(score):
    module = Alignment(score, 4).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    queries, values = torch.randn(2, 3, 4).double(), torch.randn(2, 5, 4).double()
    real = torch.ones(2, 5, dtype=torch.bool)
    real[1, 3:] = False
    found, weights = module(queries, module.memory(values, real))
    for b in range(2):
        for t in range(3):
            q, scores = queries[b, t], []
            for m in values[b, real[b]]:
                if score == "additive":  # Bahdanau et al. 2015, appendix A.1.2
                    scores.append(
                        module.score.weight[0] @ torch.tanh(module.query.weight @ q + module.key.weight @ m)
                    )
                elif score == "general":  # Luong et al. 2015, equation 8
                    scores.append(q @ module.key.weight @ m)
                else:
                    scores.append(q @ m)
            shares = torch.stack(scores).exp()
            shares = shares / shares.sum()
            context = sum(share * m for share, m in zip(shares, values[b, real[b]], strict=True))
            state = torch.tanh(module.combine.weight @ torch.cat([context, q]))  # equation 5
            torch.testing.assert_close(found[b, t], state, rtol=0, atol=1e-10)
            torch.testing.assert_close(weights[b, t, real[b]], shares, rtol=0, atol=1e-10)
            assert weights[b, t, ~real[b]].eq(0).all()


def test_a_source_of_padding_only_is_no_number_less():
    module = Alignment("general", 4)
    memory = module.memory(torch.zeros(1, 3, 4), torch.zeros(1, 3, dtype=torch.bool))
    assert module(torch.randn(1, 2, 4), memory)[0].isfinite().all()


def test_initial_values():
    generator = torch.Generator().manual_seed(1)
    spec = RecurrentSpec(cell="lstm", d_model=16, hidden=25)
    bias = nn.Parameter(torch.empty(100))
    initial_values("recurrent.core.bias_ih_l0", bias, spec, generator)
    assert bias[25:50].eq(1).all()
    assert bias[:25].abs().max() <= 0.2
    initial_values("recurrent.core.bias_hh_l0", bias, spec, generator)
    assert bias[25:50].eq(0).all()
    matrix = nn.Parameter(torch.empty(100, 25))
    initial_values("recurrent.core.weight_hh_l0", matrix, spec, generator)
    assert 0.19 < matrix.abs().max() <= 0.2
    table = nn.Parameter(torch.empty(1000, 16))
    for name, tied, wanted in (
        ("embedding.weight", True, 1.0),
        ("embedding.weight", False, 1.0),
        ("output.weight", False, 0.5),
    ):
        spec = RecurrentSpec(d_model=64 if wanted == 0.5 else 16, tied=tied)
        initial_values(name, table, spec, generator)
        assert abs(table.std().item() - wanted) < 0.02
