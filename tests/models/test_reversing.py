"""Reversing a word: every family that reads a source must learn it without a mistake on words it has never seen."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from textmill.data.batch import IGNORE, Batch
from textmill.models.build import build
from textmill.objectives.loss import causal
from textmill.specs.model import EncoderDecoderSpec, RecurrentEncoderDecoderSpec
from textmill.specs.position import LearnedPositions, RotaryPositions, SinusoidalPositions, T5Positions

START, END, LETTERS = 0, 1, 18


def padded(rows):
    """Rows of ids as (B, T), 0 behind them, and which are real."""
    real = nn.utils.rnn.pad_sequence(
        [torch.ones_like(row, dtype=torch.bool) for row in rows], batch_first=True
    )
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True), real


def reversing(rows, generator, *, held_out=False):
    """Pairs of a word of up to 6 letters and its reverse, framed as texts are. Words are held out by their sum."""
    words = []
    while len(words) < rows:
        word = torch.randint(
            2, 2 + LETTERS, (int(torch.randint(1, 7, (), generator=generator)),), generator=generator
        )
        if (int(word.sum()) % 7 == 0) == held_out:
            words.append(word)
    start, end = torch.tensor([START]), torch.tensor([END])
    source, source_mask = padded([torch.cat([start, word, end]) for word in words])
    inputs, mask = padded([torch.cat([start, word.flip(0)]) for word in words])
    targets, _ = padded([torch.cat([word.flip(0), end]) for word in words])
    return Batch(inputs, torch.where(mask, targets, IGNORE), mask, source=source, source_mask=source_mask)


@torch.no_grad()
def share_right(model, batch):
    """Share of rows that greedy decoding reverses without a mistake, end included."""
    begun = batch.inputs[:, :1]
    logits, state = model.begin(
        Batch(begun, begun, source=batch.source, source_mask=batch.source_mask),
        capacity=batch.inputs.shape[1],
    )
    written = [logits.argmax(-1)]
    for _ in range(batch.inputs.shape[1] - 1):
        logits, state = model.step(written[-1][:, None], state)
        written.append(logits[:, 0].argmax(-1))
    right = (torch.stack(written, dim=1) == batch.targets) | (batch.targets == IGNORE)
    return right.all(1).float().mean().item()


SMALL = {"d_model": 64, "layers": 2, "heads": 4, "d_ff": 128, "context": 16, "dropout": 0.0}
T5 = {
    "norm": "rmsnorm",
    "placement": "pre",
    "bias": "none",
    "activation": "geglu_tanh",
    "attention_scale": 1.0,
}
SPECS = {
    "2017": EncoderDecoderSpec(**SMALL, position=SinusoidalPositions()),
    "bart": EncoderDecoderSpec(**SMALL, position=LearnedPositions(), activation="gelu", embedding_norm=True),
    "t5": EncoderDecoderSpec(**SMALL, position=T5Positions(), **T5),
    "rotary": EncoderDecoderSpec(**SMALL, position=RotaryPositions(), placement="pre", norm="rmsnorm"),
    **{
        f"{cell}-{score}{'-fed' if feeding else ''}": RecurrentEncoderDecoderSpec(
            cell=cell, d_model=64, layers=1, attention=score, input_feeding=feeding, dropout=0.0
        )
        for cell, score, feeding in itertools.product(
            ("gru", "lstm"), ("additive", "dot", "general"), (True, False)
        )
    },
}
STEPS, RATES = (
    (1200, 700),
    (0.003, 0.001, 0.005),
)  # Transformers, recurrent; norms before, norms after, recurrent


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_reversing_is_learned_without_a_mistake(name):
    spec = SPECS[name]
    recurrent = isinstance(spec, RecurrentEncoderDecoderSpec)
    model = build(spec, LETTERS + 2, seed=1).train()
    peak = RATES[2] if recurrent else RATES[spec.placement == "post"]
    optimizer = torch.optim.Adam(model.parameters(), lr=peak)
    generator, steps = torch.Generator().manual_seed(1), STEPS[recurrent]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = peak * min(1.0, (step + 1) / 50) * (1 - step / steps)
        nats, count = causal(model, reversing(64, generator))
        optimizer.zero_grad()
        (nats / count).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert share_right(model.eval(), reversing(200, generator, held_out=True)) == 1.0
