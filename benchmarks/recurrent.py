"""Training tokens per second of GRU and LSTM language models, beside PyTorch's own modules put together plainly.

    python benchmarks/recurrent.py                    2 layers x 256, block 128, batch 16, vocabulary 8192
    python benchmarks/recurrent.py --width 512 --cell lstm

Ours is a recipe's whole step: `training.loop.train` with its loss, gradient norm, clipping and AdamW. The peer is
nn.Embedding, nn.GRU or nn.LSTM, a product with the same matrix, F.cross_entropy, clip_grad_norm_ and fused AdamW: the
loop of a tutorial. Both start from the same weights and read the same random tokens, in float32, and take turns in
one process. `packed` is ours on rows that hold several documents, where states begin anew (the peer cannot).
Prints one JSON object; `ratio` is the median over rounds of (peer's seconds / ours), above 1 where we are quicker.
Where other processes want the machine too, `--threads 1` and the processor time of each say more than the clock does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

from textmill.data.batch import Batch
from textmill.models.build import build
from textmill.objectives import loss
from textmill.specs.model import Cell, RecurrentSpec
from textmill.specs.training import AdamWSpec, TrainingSpec
from textmill.training import device, optimizer
from textmill.training.loop import train

Turn = Callable[[], float]  # one step: its loss in nats per token


class Rows:
    """Random tokens, a function of the step; `documents` of so many tokens each stand in a row, or one."""

    def __init__(self, chosen: argparse.Namespace, documents: int | None) -> None:
        self.chosen, self.documents = chosen, documents

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        chosen = self.chosen
        draw = torch.Generator().manual_seed(step)
        ids = torch.randint(0, chosen.vocabulary, (chosen.batch, chosen.block + 1), generator=draw)
        if self.documents is None:
            return Batch(ids[:, :-1], ids[:, 1:])
        shift = torch.randint(0, self.documents, (chosen.batch, 1), generator=draw)
        documents = (torch.arange(chosen.block) + shift) // self.documents
        return Batch(ids[:, :-1], ids[:, 1:], documents=documents)


def ours(cell: Cell, chosen: argparse.Namespace, documents: int | None = None) -> tuple[Turn, nn.Module]:
    """Our loop."""
    training = TrainingSpec(batch=chosen.batch, device="cpu", precision="fp32", optimizer=AdamWSpec())
    device.prepare(device.choose(training), training)
    spec = RecurrentSpec(cell=cell, d_model=chosen.width, layers=chosen.layers, context=chosen.block)
    model = build(spec, chosen.vocabulary)
    rule = optimizer.build(model, training.optimizer)
    results = train(
        model,
        loss.causal,
        Rows(chosen, documents),
        rule,
        steps=range(1_000_000),
        rates=lambda step: 1.0,
        clip=1.0,
    )
    return lambda: next(results).loss, model


class Plain(nn.Module):
    """The peer's model: what a tutorial writes."""

    def __init__(self, cell: Cell, like: nn.Module, chosen: argparse.Namespace) -> None:
        super().__init__()
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
        self.embedding = nn.Embedding(chosen.vocabulary, chosen.width)
        self.core = kind(chosen.width, chosen.width, chosen.layers, batch_first=True)
        weights = {name.removeprefix("recurrent."): value for name, value in like.state_dict().items()}
        self.load_state_dict(weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(self.core(self.embedding(x))[0], self.embedding.weight)


def plain(cell: Cell, chosen: argparse.Namespace, like: nn.Module) -> Turn:
    """The peer's loop, from the weights `like` has now."""
    model = Plain(cell, like, chosen)
    spec = AdamWSpec()
    adam = torch.optim.AdamW(
        model.parameters(), lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay, fused=True
    )
    rows = Rows(chosen, None)

    def steps() -> Iterator[float]:
        step = 0
        while True:
            batch = rows.batch(step)
            nats = F.cross_entropy(model(batch.inputs).flatten(0, 1), batch.targets.flatten())
            adam.zero_grad()
            nats.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
            yield nats.item()
            step += 1

    turns = steps()
    return lambda: next(turns)


def race(cell: Cell, chosen: argparse.Namespace) -> dict:
    """Let them take turns, after two steps each to warm up."""
    mine, model = ours(cell, chosen)
    contestants: dict[str, Turn] = {"peer": plain(cell, chosen, model), "textmill": mine}
    contestants["packed"] = ours(cell, chosen, max(1, chosen.block // 4))[0]
    first = {name: [turn(), turn()] for name, turn in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    busy: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(chosen.rounds):
        for name, turn in contestants.items():
            started, spent = time.perf_counter(), time.process_time()
            for _ in range(chosen.steps):
                turn()
            seconds[name].append((time.perf_counter() - started) / chosen.steps)
            busy[name].append((time.process_time() - spent) / chosen.steps)
    tokens = chosen.batch * chosen.block
    return {
        "tokens_per_second": {name: round(tokens / statistics.median(s)) for name, s in seconds.items()},
        "ratio": _ratio(seconds),
        "ratio_of_best": round(min(seconds["peer"]) / min(seconds["textmill"]), 3),
        "ratio_of_processor_time": _ratio(busy),
        "processor_seconds": {name: round(statistics.median(s), 4) for name, s in busy.items()},
        "first_losses": {name: [round(value, 5) for value in values] for name, values in first.items()},
    }


def _ratio(seconds: dict[str, list[float]]) -> float:
    """The median over rounds of the peer's seconds by ours."""
    pairs = zip(seconds["peer"], seconds["textmill"], strict=True)
    return round(statistics.median(peer / our for peer, our in pairs), 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cell", choices=("gru", "lstm"), nargs="*", default=["gru", "lstm"])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="steps of one turn")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)  # so that our own preparation leaves them alone
    torch.set_num_threads(chosen.threads)
    shape = {name: value for name, value in vars(chosen).items() if name != "cell"}
    print(json.dumps(shape | {cell: race(cell, chosen) for cell in chosen.cell}, indent=2))


if __name__ == "__main__":
    main()
