"""Recurrent language models: reading step by step as at once, padding, packed documents, batches, gradients."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import nn

from helpers.models import VOCABULARY, batch_of, check_documents, check_lengths, check_steps, close, tokens
from textmill.base.errors import RecipeError, TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.models.build import build
from textmill.models.initial import kind_of_parameter
from textmill.nn import mode
from textmill.objectives.loss import causal
from textmill.specs.model import RecurrentSpec
from textmill.training.optimizer import fused_rows

SMALL = {"d_model": 12, "layers": 2, "heads": 2, "context": 32}
ALL = [
    pytest.param(RecurrentSpec(**SMALL, cell=cell, attention=seen, **more), id=f"{cell}-{seen}-{name}")
    for cell, seen, (name, more) in itertools.product(
        ("gru", "lstm"),
        (False, True),
        {"plain": {}, "wide": {"hidden": 16}, "untied": {"tied": False}}.items(),
    )
]


def make(spec, dtype=torch.float32):
    """A model whose weights are large enough for every part to matter, in eval mode."""
    model = build(spec, VOCABULARY, seed=1, dtype=dtype).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.4)
    return model


@pytest.mark.parametrize("spec", ALL)
def test_step_by_step_equals_at_once(spec):
    check_steps(make(spec), batch_of(tokens(2, 14)), 5, (1, 3, 1, 2, 1, 1))


@pytest.mark.parametrize("spec", ALL)
def test_rows_of_different_lengths_decode_as_alone(spec):
    check_lengths(make(spec))


@pytest.mark.parametrize("spec", ALL)
def test_packed_documents_give_what_they_give_alone(spec):
    check_documents(make(spec))


@torch.no_grad()
@pytest.mark.parametrize("spec", ALL)
def test_no_token_sees_the_future_or_its_neighbours(spec):
    model, x = make(spec), tokens(3, 9)
    whole = model(batch_of(x))
    changed = x.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % VOCABULARY
    close(model(batch_of(changed))[:, :6], whole[:, :6])
    assert (model(batch_of(changed))[:, 6:] - whole[:, 6:]).abs().max() > 0.01
    for row in range(3):
        close(model(batch_of(x[row : row + 1]))[0], whole[row])


@torch.no_grad()
@pytest.mark.parametrize("spec", ALL)
def test_states_are_reordered(spec):
    model, x = make(spec), tokens(2, 9)
    whole = model(batch_of(x))
    _, state = model.begin(batch_of(x[:, :6]), capacity=9)
    rows = torch.tensor([1, 0, 1])
    other = state.reorder(rows)
    model.step(x[:, 6:7] * 0, state)  # goes on by itself, without touching the other
    logits, _ = model.step(x[rows, 6:], other)
    close(logits, whole[rows, 6:])


@pytest.mark.parametrize("spec", ALL)
def test_the_loss_makes_the_logits_itself(spec):
    """`factors` give the logits, and the chunked loss their gradients: to the embedding from both of its ends."""
    model, x = make(spec).train(), tokens(2, 9)
    real = torch.ones(2, 8, dtype=torch.bool)
    real[1, 5:] = False
    batch = Batch(x[:, :-1], torch.where(real, x[:, 1:], IGNORE), mask=real)
    hidden, matrix = model.factors(batch)
    close(hidden @ matrix.T, model(batch), 1e-6)
    nats, count = causal(model, batch)
    nats.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    logits = model(batch)
    wanted = nn.functional.cross_entropy(logits[real], batch.targets[real], reduction="sum")
    wanted.backward()
    assert int(count) == int(real.sum())
    torch.testing.assert_close(nats, wanted)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_attention_over_states_is_captured():
    model, x = make(RecurrentSpec(**SMALL, attention=True)), tokens(2, 6)
    with mode.capture() as maps:
        seen = model(batch_of(x))
    close(seen, model(batch_of(x)))
    (weights,) = maps
    assert weights.shape == (2, 2, 6, 6)
    close(weights.sum(-1), torch.ones(2, 2, 6))
    assert weights.triu(1).eq(0).all()


def test_initial_values_are_a_function_of_the_seed():
    spec = RecurrentSpec(**SMALL, cell="lstm", attention=True, hidden=16)
    one, other = build(spec, 30, seed=1), build(spec, 30, seed=1)
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(one.embedding.weight, build(spec, 30, seed=2).embedding.weight)
    logits = one(batch_of(tokens(4, 12) % 30))
    assert logits.std() < 1.5  # a fresh model is not sure of anything


def test_kinds_of_parameters():
    model = build(RecurrentSpec(**SMALL, attention=True, hidden=16, tied=False), 30)
    kinds = kind_of_parameter(model)
    assert kinds["embedding.weight"] == "embedding"
    assert kinds["output.weight"] == "output"
    assert {kinds[name] for name in kinds if ".bias" in name} == {"vector"}
    assert kinds["recurrent.core.weight_hh_l1"] == kinds["attention.qkv.weight"] == "hidden"


def test_muon_sees_each_gate_by_itself():
    model = build(RecurrentSpec(**SMALL, cell="lstm", hidden=16, attention=True), 30)
    assert fused_rows(model, "recurrent.core.weight_ih_l0") == (16, 16, 16, 16)
    assert fused_rows(model, "attention.qkv.weight") == (16, 16, 16)


def test_dropout_falls_in_training_only():
    spec = RecurrentSpec(**SMALL, dropout=0.5)
    model, batch = make(spec), batch_of(tokens(2, 5))
    close(model(batch), model(batch))
    assert (model.train()(batch) - model(batch)).abs().max() > 0.01


def test_capacity_binds_attention():
    model, x = make(RecurrentSpec(**SMALL, attention=True)), tokens(2, 6)
    with pytest.raises(TextmillError, match="holds 5 tokens"):
        model.begin(batch_of(x), capacity=5)
    _, state = model.begin(batch_of(x), capacity=6)
    with pytest.raises(TextmillError, match="holds 6 tokens"):
        model.step(x[:, :1], state)
    with pytest.raises(RecipeError, match="divided among"):
        RecurrentSpec(d_model=10, attention=True, heads=4)


@torch.no_grad()
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_bfloat16_runs(cell):
    model = build(RecurrentSpec(**SMALL, cell=cell, attention=True), VOCABULARY, dtype=torch.bfloat16).eval()
    x = tokens(2, 6)
    assert model(batch_of(x)).dtype is torch.bfloat16
    _, state = model.begin(batch_of(x), capacity=7)
    assert model.step(x[:, :1], state)[0].isfinite().all()


def test_a_model_learns_to_count():
    """0 1 2 … again and again, from any place: the loss goes to nothing."""
    model = build(dataclasses.replace(RecurrentSpec(**SMALL), layers=1, tied=False), 7).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x = (torch.arange(13) + torch.arange(7)[:, None]) % 7
    batch = Batch(x[:, :-1], x[:, 1:])
    for _ in range(120):
        nats, count = causal(model, batch)
        optimizer.zero_grad()
        (nats / count).backward()
        optimizer.step()
    assert (nats / count).item() < 0.05
