"""Predicted memory, and the cut of a step that fits into what is free."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from textmill.base import machine
from textmill.base.errors import TextmillError
from textmill.models import names
from textmill.models.build import build
from textmill.specs.model import DecoderSpec
from textmill.specs.training import AdamWSpec, AverageSpec, MuonSpec, TrainingSpec
from textmill.training import memory
from textmill.training import optimizer as optimizers
from textmill.training.device import Compute

CPU = Compute(torch.device("cpu"), "fp32", False)
SPEC = DecoderSpec(d_model=64, layers=2, heads=4, d_ff=128, context=32)
TRAINING = TrainingSpec(batch=24)


@pytest.mark.parametrize("optimizer", [TrainingSpec().optimizer, MuonSpec()])
def test_weights_and_optimiser_state_are_counted_exactly(make_model, optimizer):
    model = make_model(torch.float32)
    built = optimizers.build(model, optimizer)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    built.step(1.0)
    need = memory.predict(model.spec, TrainingSpec(optimizer=optimizer, average=AverageSpec()), 37, 12, 1)
    weights = sum(weight.numel() * 4 for weight in model.parameters())
    moments = sum(tensor.numel() * 4 for tensor in built.state().values() if tensor.ndim)
    assert (need.parameters, need.gradients, need.average, need.optimizer) == (
        weights,
        weights,
        weights,
        moments,
    )


def _need(rows, **changes):
    return memory.predict(
        SPEC, dataclasses.replace(TRAINING, **changes), 1000, 32, rows, loss_chunk=512
    ).total


def test_the_largest_cut_that_fits_is_taken():
    for rows in (24, 12, 8, 6, 1):
        free = int(_need(rows) / 0.8) + 100
        assert memory.fit(SPEC, TRAINING, 1000, 32, CPU, free=free).micro_batch == rows
    with pytest.raises(TextmillError, match="one sequence of 32 tokens needs"):
        memory.fit(SPEC, TRAINING, 1000, 32, CPU, free=1000)


def test_what_the_recipe_gives_is_kept():
    given = dataclasses.replace(TRAINING, micro_batch=5, loss_chunk=7)
    fit = memory.fit(SPEC, given, 1000, 32, CPU, free=100_000)
    assert (fit.micro_batch, fit.loss_chunk) == (5, 7)
    shared = memory.fit(SPEC, dataclasses.replace(TRAINING, micro_batch=100), 1000, 32, CPU, ranks=2)
    assert shared.micro_batch == 12


def test_a_batch_whose_ids_do_not_fit_is_refused_before_it_is_made():
    for micro in (None, 2):
        huge = dataclasses.replace(TRAINING, batch=100_000_000, micro_batch=micro)
        with pytest.raises(TextmillError, match=r"ids alone .* 128.0 GB") as caught:
            memory.fit(SPEC, huge, 1000, 32, CPU, free=8 << 30)
        assert caught.value.where == "training.batch"


def test_large_logits_are_cut():
    gpu = Compute(torch.device("cuda"), "bf16", True)
    assert memory.fit(SPEC, TRAINING, 1000, 32, gpu, free=1 << 34).loss_chunk is None
    fit = memory.fit(SPEC, TRAINING, 250_000, 32, gpu, free=1 << 34)
    assert fit.loss_chunk is not None
    assert 4 * 250_000 * fit.loss_chunk <= 1 << 26
    assert memory.fit(SPEC, TRAINING, 1000, 32, CPU, free=1 << 34).loss_chunk == 512


def test_limits_of_a_control_group_count(tmp_path, monkeypatch):
    free = memory.free_bytes(torch.device("cpu"))
    assert free > 1 << 20
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 400000\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert memory.free_bytes(torch.device("cpu")) == 900_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(torch.device("cpu")) > 900_000


def test_what_is_frozen_needs_neither_gradients_nor_moments():
    """Counted on a model whose weights are frozen, trained for a step."""
    spec = DecoderSpec(d_model=16, layers=2, heads=2, d_ff=32, context=16)
    for optimizer in (AdamWSpec(), MuonSpec()):
        training = TrainingSpec(freeze=("embedding", "blocks.0"), optimizer=optimizer, average=AverageSpec())
        model = build(spec, 40)
        names.freeze(model, training.freeze)
        built = optimizers.build(model, optimizer)
        for weight in built.parameters():
            weight.grad = torch.zeros_like(weight)
        built.step(1.0)
        trained = sum(4 * weight.numel() for weight in model.parameters() if weight.requires_grad)
        state = sum(4 * value.numel() for value in built.state().values() if value.ndim)
        need = memory.predict(spec, training, 40, 16, 1)
        assert (need.gradients, need.average, need.optimizer) == (trained, trained, state)
        assert need.parameters == sum(4 * weight.numel() for weight in model.parameters())
