"""Choices of device and precision, and what the machine is asked."""

from __future__ import annotations

import sys

import pytest
import torch

from textmill.base import machine
from textmill.base.errors import RecipeError
from textmill.specs.training import TrainingSpec
from textmill.training import device


def test_bfloat16_on_a_processor_without_it_is_refused(monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    with pytest.raises(RecipeError, match=r"training\.precision: this processor has no bfloat16"):
        device.choose(TrainingSpec(device="cpu", precision="bf16"))
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)
    compute = device.choose(TrainingSpec(device="cpu", precision="bf16"))
    assert compute.dtype is torch.bfloat16
    with compute.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16


def test_a_cpu_computes_in_float32_and_does_not_compile():
    compute = device.choose(TrainingSpec(device="cpu"))
    assert (compute.device.type, compute.precision, compute.compile) == ("cpu", "fp32", False)
    with compute.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(RecipeError, match=r"training\.device"):
        device.choose(TrainingSpec(device="cuda"))


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_the_allocator_takes_its_settings():
    assert machine.spare_memory()
    assert machine.keep_memory()


def test_peak_is_measured_once():
    compute = device.choose(TrainingSpec(device="cpu"))
    first = device.peak_flops(compute, seconds=0.01)
    assert first > 1e8
    assert device.peak_flops(compute) == first


@pytest.mark.long
def test_compiled_blocks_keep_their_names(make_model):
    model = make_model()
    names = [name for name, _ in model.named_parameters()]
    device.compile_blocks(model)
    assert [name for name, _ in model.named_parameters()] == names
