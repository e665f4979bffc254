"""What a training step takes is foretold within a quarter; measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from textmill.base import schema
from textmill.specs.model import DecoderSpec
from textmill.specs.position import LearnedPositions
from textmill.specs.training import TrainingSpec
from textmill.training import device, memory

MEASURE = """
import json, sys, torch
from textmill.base import schema
from textmill.data.batch import Batch
from textmill.models.build import build
from textmill.nn import mode
from textmill.objectives import loss
from textmill.specs.model import DecoderSpec
from textmill.specs.training import TrainingSpec
from textmill.training import device, memory, optimizer
from textmill.training.loop import train

plain = json.loads(sys.argv[1])
spec, training = schema.read(DecoderSpec, plain["model"]), schema.read(TrainingSpec, plain["training"])
vocabulary, sequence, rows, chunk = (plain[key] for key in ("vocabulary", "sequence", "rows", "chunk"))
device.prepare(device.choose(training), training)
torch.randn(64, 64, requires_grad=True).sum().backward()  # what any use of torch takes
before = memory.peak_bytes(torch.device("cpu"))
model = build(spec, vocabulary)
recomputed = memory.recomputed_blocks(spec, training, vocabulary, sequence, rows, loss_chunk=chunk)

class Random:
    def batch(self, step, rank=0, world=1):
        ids = torch.randint(0, vocabulary, (rows, sequence + 1), generator=torch.Generator().manual_seed(step))
        return Batch(ids[:, :-1], ids[:, 1:])

made = optimizer.build(model, training.optimizer)
steps = train(
    model, lambda m, b: loss.causal(m, b, chunk), Random(), made, steps=range(3), rates=lambda step: 1e-2, clip=1.0
)
with mode.computing(recomputed_blocks=recomputed):
    for _ in steps:
        pass
print(memory.peak_bytes(torch.device("cpu")) - before)
"""
SHAPES = {
    "llama": (DecoderSpec(d_model=512, layers=8, heads=8, d_ff=1408, context=256), False),
    "gpt2": (
        DecoderSpec(
            d_model=512,
            layers=8,
            heads=8,
            d_ff=2048,
            context=256,
            position=LearnedPositions(),
            norm="layernorm",
            activation="gelu_tanh",
            bias="all",
        ),
        False,
    ),
    "sparing": (DecoderSpec(d_model=512, layers=8, heads=8, d_ff=1408, context=256), True),
}


@pytest.mark.figures
@pytest.mark.parametrize("name", SHAPES)
def test_memory_is_foretold_within_a_quarter(name):

    spec, sparing = SHAPES[name]
    training = TrainingSpec(batch=8, device="cpu", gradient_checkpointing=sparing)
    vocabulary, sequence, rows = 16384, 256, 8
    fit = memory.fit(spec, training, vocabulary, sequence, device.Compute(torch.device("cpu"), "fp32", False))
    assert fit.micro_batch == rows
    given = {"model": schema.write(spec), "training": schema.write(training), "chunk": fit.loss_chunk}
    given |= {"vocabulary": vocabulary, "sequence": sequence, "rows": rows}
    command = [sys.executable, "-c", MEASURE, json.dumps(given)]
    measured = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert fit.need.total == pytest.approx(measured, rel=0.25), (fit.need, measured)
