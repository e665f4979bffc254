"""Recurrent sequence to sequence: both paths, stepping, padding on either side, scheduled sampling, reversing."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from helpers.models import VOCABULARY, check_steps, close, tokens
from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.models.build import build
from textmill.nn import mode
from textmill.objectives.loss import causal
from textmill.specs.model import RecurrentEncoderDecoderSpec

SMALL = {"d_model": 8, "hidden": 12, "layers": 2, "dropout": 0.0}
ALL = [
    pytest.param(
        RecurrentEncoderDecoderSpec(
            **SMALL,
            cell=cell,
            attention=score,
            input_feeding=feeding,
            bidirectional=both,
            bridge=both,
            tied=both,
        ),
        id=f"{cell}-{score}-{'fed' if feeding else 'unfed'}-{'both-ways' if both else 'forwards'}",
    )
    for cell, score, feeding, both in itertools.product(
        ("gru", "lstm"), ("additive", "dot", "general", "none"), (True, False), (True, False)
    )
]
SOME = ALL[::5]


def make(spec):
    model = build(spec, VOCABULARY, seed=1).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.4)
    return model


def pairs(rows=3, length=6, source=5):
    inputs = tokens(rows, length)
    return Batch(inputs, inputs, source=tokens(rows, source, seed=4))


def padded(rows, side):
    """Rows of ids of several lengths as one tensor, and what of it is real."""
    width = max(map(len, rows))
    ids, real = (
        torch.zeros(len(rows), width, dtype=torch.long),
        torch.zeros(len(rows), width, dtype=torch.bool),
    )
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids[i, place], real[i, place] = row, True
    return ids, real


@pytest.mark.parametrize("spec", ALL)
def test_step_by_step_equals_at_once(spec):
    check_steps(make(spec), pairs(2, 9), 3, (1, 3, 1, 1))


@torch.no_grad()
@pytest.mark.parametrize("spec", ALL)
def test_one_call_of_the_kernel_equals_the_path_by_token(spec):
    """Without input feeding the decoder runs at once: what it does one token at a time, to 1e-6."""
    model, batch = make(spec), pairs()
    state = model._read_source(batch, (model.source_embedding or model.embedding)(batch.source))
    by_token, _ = model._by_token(model.embedding(batch.inputs), state, None)
    close(model.hidden(batch), by_token, 1e-6)


@torch.no_grad()
@pytest.mark.parametrize("spec", ALL)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_is_harmless(spec, side):
    model = make(spec)
    sources = [tokens(n, seed=n) for n in (3, 6, 1)]
    targets = [tokens(n, seed=n) for n in (5, 4, 7)]
    alone = [model(Batch(t[None], t[None], source=s[None]))[0] for s, t in zip(sources, targets, strict=True)]
    source, source_mask = padded(sources, side)
    inputs, mask = padded(targets, side)
    batch = Batch(inputs, inputs, mask=mask, source=source, source_mask=source_mask)
    whole = model(batch)
    last, state = model.begin(batch, capacity=9)
    new, _ = model.step(tokens(3, 2, seed=9), state)
    memory = model.encode(source, source_mask)
    for i in range(3):
        close(whole[i, mask[i]], alone[i])
        close(last[i], alone[i][-1])
        close(memory[i, source_mask[i]], model.encode(sources[i][None])[0])
        longer = torch.cat([targets[i], tokens(3, 2, seed=9)[i]])[None]
        close(new[i], model(Batch(longer, longer, source=sources[i][None]))[0, -2:])


@torch.no_grad()
@pytest.mark.parametrize("spec", SOME)
def test_states_are_reordered(spec):
    model, batch = make(spec), pairs(3, 6)
    x = batch.inputs
    whole = model(batch)
    _, state = model.begin(Batch(x[:, :3], x[:, :3], source=batch.source), capacity=6)
    rows = torch.tensor([2, 0, 0, 1, 2])
    beams = state.reorder(rows)
    logits, beams = model.step(x[rows, 3:5], beams)
    close(logits, whole[rows, 3:5])
    shuffled = beams.reorder(torch.tensor([4, 2, 1, 3, 0]))  # beams of one source change places
    assert shuffled.memory is beams.memory
    close(model.step(x[rows, 5:], shuffled)[0], whole[rows, 5:])
    fewer = beams.reorder(torch.tensor([3, 4]))
    close(model.step(x[rows[3:], 5:], fewer)[0], whole[rows[3:], 5:])


@pytest.mark.parametrize("spec", SOME)
def test_the_loss_makes_the_logits_itself(spec):
    model, batch = make(spec).train(), pairs()
    real = torch.ones(3, 6, dtype=torch.bool)
    real[1, 4:] = False
    batch = Batch(batch.inputs, torch.where(real, tokens(3, 6, seed=8), IGNORE), real, source=batch.source)
    nats, count = causal(model, batch)
    nats.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    wanted = nn.functional.cross_entropy(model(batch)[real], batch.targets[real], reduction="sum")
    wanted.backward()
    assert int(count) == int(real.sum())
    torch.testing.assert_close(nats, wanted)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("feeding", [True, False])
def test_attention_over_the_source_is_captured(feeding):
    model = make(RecurrentEncoderDecoderSpec(**SMALL, input_feeding=feeding))
    batch = pairs()
    real = torch.ones(3, 5, dtype=torch.bool)
    real[0, 2:] = False
    batch = Batch(batch.inputs, batch.targets, source=batch.source, source_mask=real)
    with mode.capture() as maps:
        model(batch)
    (weights,) = maps
    assert weights.shape == (3, 1, 6, 5)
    close(weights.sum(-1), torch.ones(3, 1, 6))
    assert weights[0, ..., 2:].eq(0).all()


@pytest.mark.parametrize("spec", SOME)
def test_scheduled_sampling(spec):
    """At ratio 0 the decoder reads its own guesses, as greedy decoding would; draws are those of the seed."""
    model, batch = make(spec).train(), pairs(4, 7)
    told = model(batch)
    with mode.computing(teacher_forcing=0.0):
        guessed = model(batch)
    close(guessed[:, 0], told[:, 0])
    _, state = model.begin(Batch(batch.inputs[:, :1], batch.inputs[:, :1], source=batch.source), 7)
    read = told[:, 0].argmax(-1)
    for place in range(1, 7):
        logits, state = model.step(read[:, None], state)
        close(guessed[:, place], logits[:, 0])
        read = logits[:, 0].argmax(-1)
    with mode.computing(teacher_forcing=0.5):
        torch.manual_seed(1)
        one = model(batch)
        torch.manual_seed(1)
        close(model(batch), one)
        torch.manual_seed(2)
        assert (model(batch) - one).abs().max() > 1e-3
        one.sum().backward()
        assert model.eval()(batch).allclose(told)  # it is for training only


def test_the_first_real_token_is_never_a_guess():
    model = make(RecurrentEncoderDecoderSpec(**SMALL)).train()
    inputs = tokens(2, 4)
    real = torch.tensor([[False, False, True, True], [True] * 4])
    source = tokens(2, 3)
    with mode.computing(teacher_forcing=0.0):
        found = model(Batch(inputs, inputs, mask=real, source=source))
        alone = model(Batch(inputs[:1, 2:], inputs[:1, 2:], source=source[:1]))
    close(found[0, 2:], alone[0])


def test_what_it_cannot_read():
    model, x = make(RecurrentEncoderDecoderSpec(**SMALL)), tokens(1, 4)
    with pytest.raises(TextmillError, match="no source"):
        model(Batch(x, x))
    with pytest.raises(TextmillError, match="sequence of its own"):
        model(Batch(x, x, source=x, documents=torch.tensor([[0, 0, 1, 1]])))
