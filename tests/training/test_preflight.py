"""Trial steps: they change nothing, and foretell the time of a run."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from textmill.models.build import build
from textmill.objectives.loss import causal
from textmill.specs.model import DecoderSpec
from textmill.specs.training import AdamWSpec, MuonSpec, TrainingSpec
from textmill.training import device, preflight
from textmill.training import optimizer as optimizers
from textmill.training.loop import train

COMPUTE = device.Compute(torch.device("cpu"), "fp32", False)


def test_measuring_changes_nothing(make_model, loader):
    model = make_model(torch.float32)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    training = TrainingSpec(steps=50)
    timing = preflight.measure(model, causal, loader, training, COMPUTE, micro_batch=4)
    assert timing.seconds == pytest.approx(50 * timing.seconds_per_step)
    assert timing.tokens_per_second == pytest.approx(96 / timing.seconds_per_step)
    assert timing.micro_batch == 4
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name])
        assert weight.grad is None


@pytest.mark.long
@pytest.mark.parametrize("optimizer", [AdamWSpec(lr=1e-3), MuonSpec()])
def test_the_range_test_suggests_a_rate_that_learns(make_model, loader, optimizer):
    model = make_model(torch.float32)
    training = TrainingSpec(optimizer=optimizer)
    found = preflight.learning_rate_range(model, causal, loader, training, COMPUTE, steps=50)
    assert found.rates[0] == pytest.approx(optimizer.lr / 100)
    assert len(found.losses) == len(found.rates)
    assert found.highest in found.rates
    assert found.suggestion == pytest.approx(found.highest / 10)
    assert min(found.losses) < found.losses[0] - 0.2

    def trained(lr):
        trial = make_model(torch.float32)
        built = optimizers.build(trial, optimizer)
        rate = lr / optimizer.lr
        steps = train(trial, causal, loader, built, steps=range(40), rates=lambda step: rate, clip=1.0)
        return statistics.mean([result.loss for result in steps][-5:])

    assert trained(found.suggestion) < trained(found.suggestion / 100)


def test_a_sweep_that_leaves_the_numbers_ends(make_model, loader):
    def breaks(model, batch):
        nats, targets = causal(model, batch)
        return (nats * float("nan") if model.norm.weight.min() < 0.9 else nats), targets

    model = make_model(torch.float32)
    training = TrainingSpec(optimizer=AdamWSpec(lr=0.1))
    found = preflight.learning_rate_range(model, breaks, loader, training, COMPUTE, steps=40)
    assert 0 < len(found.losses) < 40
    assert all(math.isfinite(loss) for loss in found.losses)


def test_an_update_of_many_rows_is_foretold_from_two_of_few():
    """By hand: 2 s whatever the rows, and half a second a row."""
    short, long = (preflight.Timing(2 + rows / 2, 100 * rows / (2 + rows / 2), 3, 0.0, 1) for rows in (2, 4))
    timing = preflight.extrapolated(short, long, (2, 4), batch=1000, steps=10)
    assert (timing.seconds_per_step, timing.seconds) == pytest.approx((502, 5020))
    assert timing.tokens_per_second == pytest.approx(100 * 1000 / 502)


@pytest.mark.figures
@pytest.mark.slow
def test_time_is_foretold_within_a_quarter(make_loader):
    device.prepare(COMPUTE, TrainingSpec())
    spec = DecoderSpec(d_model=192, layers=4, heads=3, d_ff=512, context=128)
    loader = make_loader(16, 128)
    for optimizer in (AdamWSpec(), MuonSpec()):
        training = TrainingSpec(steps=30, batch=16, optimizer=optimizer)
        model = build(spec, 4096)
        timing = preflight.measure(model, causal, loader, training, COMPUTE, micro_batch=16)
        built = optimizers.build(model, optimizer)
        steps = train(model, causal, loader, built, steps=range(30), rates=lambda step: 1.0, clip=1.0)
        real = sum(result.seconds for result in steps)
        assert timing.seconds == pytest.approx(real, rel=0.25)
