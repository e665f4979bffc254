"""One rank of the distributed tests: trains some steps and writes what it has as one ordinary checkpoint.

Arguments: directory, first step, last step, parallel (ddp or fsdp2), optimizer (adamw or muon), and whether the
last rank has little memory (tight or roomy).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from conftest import SPEC, VOCABULARY, RandomLoader
from textmill.models.build import build
from textmill.objectives.loss import causal
from textmill.specs.training import AdamWSpec, MuonSpec
from textmill.training import checkpoint, distributed
from textmill.training import optimizer as optimizers
from textmill.training.average import WeightAverage
from textmill.training.loop import train


def main() -> None:
    directory, first, last, parallel, rule, memory = sys.argv[1:]
    torch.set_num_threads(1)
    with distributed.join(torch.device("cpu"), parallel) as world:
        model = build(SPEC, VOCABULARY, seed=1, dtype=torch.float64)
        # What no loss reaches, like a pooler that nothing reads, is left as it is however many ranks there are.
        model.idle = torch.nn.Linear(4, 4, dtype=torch.float64)
        torch.nn.init.ones_(model.idle.weight)
        torch.nn.init.ones_(model.idle.bias)
        if world.sharded:
            distributed.shard(model, world)
        optimizer = optimizers.build(model, AdamWSpec(lr=0.01) if rule == "adamw" else MuonSpec())
        average = WeightAverage(model, 0.9)
        if int(first):
            saved = checkpoint.load(checkpoint.path_of(Path(directory), int(first)))
            distributed.load_weights(model, saved.model)
            optimizer.load_state(saved.optimizer)
            average.load_state(saved.average)

        def loss(model, batch):
            if memory == "tight" and world.rank == world.size - 1 and len(batch) > 1:
                raise MemoryError
            return causal(model, batch)

        results = []
        steps = range(int(first), int(last))
        options = {"rates": lambda step: 1.0, "micro_batch": 3, "clip": 0.5, "world": world}
        for result in train(model, loss, RandomLoader(), optimizer, steps=steps, **options):
            average.update()
            results.append([result.step, result.nats, result.targets, result.grad_norm, result.tokens])
        weights = world.whole(dict(model.named_parameters()))
        state, averages = world.whole(optimizer.state()), world.whole(average.state())
        if world.first:
            checkpoint.save(
                Path(directory),
                int(last),
                model=weights,
                optimizer=state,
                average=averages,
                state={"results": results},
            )
        world.barrier()


if __name__ == "__main__":
    main()
