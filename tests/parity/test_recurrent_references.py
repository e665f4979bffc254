"""Whole recurrent models, in float64, against PyTorch's own modules and cells put together by hand, weights copied."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from textmill.data.batch import Batch
from textmill.models.build import build
from textmill.specs.model import RecurrentEncoderDecoderSpec, RecurrentSpec

VOCABULARY = 20
CELLS = {"gru": (nn.GRU, nn.GRUCell), "lstm": (nn.LSTM, nn.LSTMCell)}
VARIANTS = list(
    itertools.product(("gru", "lstm"), ("additive", "dot", "general", "none"), (True, False), (True, False))
)


def make(spec):
    model = build(spec, VOCABULARY, dtype=torch.float64).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    return model


def copied(kind, module, *shape, **more):
    """PyTorch's own module with the weights of ours, under the same names."""
    peer = kind(*shape, batch_first=True, **more).double()
    peer.load_state_dict({name.removeprefix("core."): value for name, value in module.state_dict().items()})
    return peer


def tokens(*shape):
    return torch.randint(0, VOCABULARY, shape)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("tied", [True, False])
def test_language_model(cell, tied):
    spec = RecurrentSpec(cell=cell, d_model=6, hidden=8, layers=2, tied=tied)
    model, x = make(spec), tokens(2, 7)
    layers = copied(CELLS[cell][0], model.recurrent, 6, 8, num_layers=2)
    states = layers(model.embedding.weight[x])[0]
    hidden = states @ model.projection.weight.T + model.projection.bias
    logits = hidden @ (model.embedding if tied else model.output).weight.T
    found = model(Batch(x, x))
    torch.testing.assert_close(found, logits, rtol=0, atol=1e-10)
    (ours,) = torch.autograd.grad(found.logsumexp(-1).sum(), model.embedding.weight)
    (theirs,) = torch.autograd.grad(logits.logsumexp(-1).sum(), model.embedding.weight)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_self_attention_over_states():
    """softmax(q kᵀ / sqrt(E)) v in each head over the states so far, added to them."""
    model, x = make(RecurrentSpec(d_model=8, layers=1, attention=True, heads=2)), tokens(1, 5)
    states = copied(nn.GRU, model.recurrent, 8, 8)(model.embedding.weight[x])[0][0]
    q, k, v = (states @ model.attention.qkv.weight.T).view(5, 3, 2, 4).unbind(1)
    mixed = torch.zeros(5, 2, 4, dtype=torch.float64)
    for t, head in itertools.product(range(5), range(2)):
        scores = torch.stack([q[t, head] @ k[s, head] / 2 for s in range(t + 1)])
        mixed[t, head] = sum(w * v[s, head] for s, w in enumerate(scores.softmax(0)))
    hidden = states + mixed.view(5, 8) @ model.attention.output.weight.T
    logits = hidden @ model.embedding.weight.T
    torch.testing.assert_close(model(Batch(x, x))[0], logits, rtol=0, atol=1e-10)


def by_hand(model, spec, source, inputs):
    """One pair, one token at a time, with PyTorch's cells: logits (T, V). Bahdanau et al. 2015, Luong et al. 2015."""
    width, lstm = spec.width, spec.cell == "lstm"
    whole, cell = CELLS[spec.cell]
    ways = 2 if spec.bidirectional else 1
    encoder = copied(whole, model.encoder, 6, width // ways, num_layers=2, bidirectional=spec.bidirectional)
    memory, last = encoder(model.embedding.weight[source][None])
    memory = memory[0]
    states = []
    for kind, state in enumerate(last if lstm else (last,)):
        rows = [torch.cat(list(state[ways * layer : ways * (layer + 1), 0])) for layer in range(2)]
        if spec.bridge:
            rows = [row @ b.weight.T + b.bias for row, b in zip(rows, model.bridge[kind], strict=True)]
            rows = [torch.tanh(row) for row in rows] if kind == 0 else rows
        states.append(rows)
    cells = []
    for layer in range(2):
        weights = {
            n: getattr(model.decoder.core, f"{n}_l{layer}")
            for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        cells.append(cell(weights["weight_ih"].shape[1], width).double())
        cells[-1].load_state_dict(weights)
    fed, logits = torch.zeros(width, dtype=torch.float64), []
    for token in inputs:
        x = model.embedding.weight[token]
        if spec.input_feeding and spec.attention != "none":
            x = torch.cat([x, fed])
        for layer in range(2):
            now = tuple(kind[layer] for kind in states)
            after = cells[layer](x, now if lstm else now[0])
            for kind, value in enumerate(after if lstm else (after,)):
                states[kind][layer] = value
            x = states[0][layer]
        if spec.attention != "none":
            a = model.alignment
            if spec.attention == "additive":
                inner = torch.tanh(a.query.weight @ x + memory @ a.key.weight.T)
                scores = inner @ a.score.weight[0]
            else:
                scores = memory @ (x if spec.attention == "dot" else a.key.weight.T @ x)
            context = scores.softmax(0) @ memory
            x = fed = torch.tanh(a.combine.weight @ torch.cat([context, x]))
        hidden = F.linear(x, model.projection.weight, model.projection.bias)
        logits.append(model.embedding.weight @ hidden)
    return torch.stack(logits)


@pytest.mark.parametrize(("cell", "attention", "feeding", "both"), VARIANTS)
def test_sequence_to_sequence(cell, attention, feeding, both):
    spec = RecurrentEncoderDecoderSpec(
        cell=cell,
        d_model=6,
        hidden=8,
        attention=attention,
        input_feeding=feeding,
        bidirectional=both,
        bridge=both,
    )
    model, source, inputs = make(spec), tokens(2, 6), tokens(2, 5)
    real = torch.ones(2, 6, dtype=torch.bool)
    real[0, 4:] = False
    logits = model(Batch(inputs, inputs, source=source, source_mask=real))
    wanted = torch.stack([by_hand(model, spec, source[row, real[row]], inputs[row]) for row in range(2)])
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-10)
    # The cells by hand hold copies of their weights; those that are the same tensors get the same gradients.
    shared = [model.embedding.weight, *([] if model.alignment is None else model.alignment.parameters())]
    ours = torch.autograd.grad(logits.logsumexp(-1).sum(), shared)
    theirs = torch.autograd.grad(wanted.logsumexp(-1).sum(), shared)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
