"""Training tokens per second, and peak memory, beside transformers, its Trainer, and the products alone.

    python benchmarks/training.py                     6 layers x 384, block 256, batch 12, vocabulary 8192
    python benchmarks/training.py --shape 124m        GPT-2 124 M, block 512, batch 2: with peak memory

Every contestant is a process of its own that takes turns with the others: so many steps, then the next one,
round after round, so that a change in the machine's speed hits all of them. All train the same model (learned
positions, LayerNorm, tanh GELU, biases, tied output layer, no dropout) with AdamW in float32 on random tokens.
`sparing` is ours with training.gradient_checkpointing; `products` does the matrix products of linear layers and
logits, forward and backward, and nothing else. Prints one JSON object; `ratio` is the median over rounds of
(contestant's seconds / ours).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    layers: int
    heads: int
    width: int
    block: int
    batch: int
    vocabulary: int

    @property
    def tokens(self) -> int:
        return self.block * self.batch


SHAPES = {"small": Shape(6, 6, 384, 256, 12, 8192), "124m": Shape(12, 12, 768, 512, 2, 50257)}
CONTESTANTS = ("textmill", "sparing", "transformers", "trainer", "products")


def tokens(shape: Shape, step: int):
    """Random ids (B, T + 1) of a step."""
    import torch

    draw = torch.Generator().manual_seed(step)
    return torch.randint(0, shape.vocabulary, (shape.batch, shape.block + 1), generator=draw)


def turns(step) -> None:
    """Worker side: do as many steps as the parent asks for, and say how long they took."""
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - started, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def textmill(shape: Shape) -> None:
    ours(shape, sparing=False)


def sparing(shape: Shape) -> None:
    ours(shape, sparing=True)


def ours(shape: Shape, *, sparing: bool) -> None:
    """Our loop; `sparing` as with training.gradient_checkpointing."""
    from textmill.data.batch import Batch
    from textmill.models.build import build
    from textmill.nn import mode
    from textmill.objectives import loss
    from textmill.specs.model import DecoderSpec
    from textmill.specs.position import LearnedPositions
    from textmill.specs.training import TrainingSpec
    from textmill.training import device, memory, optimizer
    from textmill.training.loop import train

    training = TrainingSpec(batch=shape.batch, device="cpu", precision="fp32", gradient_checkpointing=sparing)
    compute = device.choose(training)
    device.prepare(compute, training)
    spec = DecoderSpec(
        d_model=shape.width,
        layers=shape.layers,
        heads=shape.heads,
        d_ff=4 * shape.width,
        context=shape.block,
        position=LearnedPositions(),
        norm="layernorm",
        activation="gelu_tanh",
        bias="all",
    )
    model = build(spec, shape.vocabulary)
    fit = memory.fit(spec, training, shape.vocabulary, shape.block, compute)
    recomputed = memory.recomputed_blocks(
        spec, training, shape.vocabulary, shape.block, fit.micro_batch, loss_chunk=fit.loss_chunk
    )

    class Random:
        def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
            ids = tokens(shape, step)
            return Batch(ids[:, :-1], ids[:, 1:])

    results = train(
        model,
        lambda model, batch: loss.causal(model, batch, fit.loss_chunk),
        Random(),
        optimizer.build(model, training.optimizer),
        steps=range(1_000_000),
        rates=lambda step: 1e-2,
        micro_batch=fit.micro_batch,
        clip=training.clip,
    )
    with mode.computing(recomputed_blocks=recomputed):
        turns(lambda: next(results))


def peer(shape: Shape):
    """GPT-2 of transformers, as it comes, without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.width,
        n_positions=shape.block,
        vocab_size=shape.vocabulary,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).train()


def transformers(shape: Shape) -> None:
    """The loop its documentation shows."""
    import itertools

    import torch

    model, count = peer(shape), itertools.count()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        ids = tokens(shape, next(count))[:, 1:].contiguous()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    turns(step)


def trainer(shape: Shape) -> None:
    """Its Trainer with the optimiser it takes by itself."""
    import tempfile
    import threading

    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Data(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 10_000_000

        def __getitem__(self, index: int):
            draw = torch.Generator().manual_seed(index)
            ids = torch.randint(0, shape.vocabulary, (shape.block,), generator=draw)
            return {"input_ids": ids, "labels": ids}

    go, done = threading.Semaphore(0), threading.Semaphore(0)

    class Gate(TrainerCallback):
        """Holds the Trainer between two steps until the next turn."""

        def on_step_end(self, *arguments, **options) -> None:
            done.release()
            go.acquire()

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=shape.batch,
                max_steps=1_000_000,
                learning_rate=1e-5,
                max_grad_norm=1.0,
                use_cpu=True,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                logging_strategy="no",
            )
            model = peer(shape)
            Trainer(model=model, args=arguments, train_dataset=Data(), callbacks=[Gate()]).train()

    threading.Thread(target=work, daemon=True).start()
    first = [True]

    def step() -> None:
        if not first[0]:
            go.release()
        first[0] = False
        done.acquire()

    turns(step)
    os._exit(0)  # the Trainer waits for a turn that does not come


def products(shape: Shape) -> None:
    import torch

    width = shape.width
    sizes = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)] * shape.layers
    plan = []
    for inner, outer in [*sizes, (width, shape.vocabulary)]:
        x, w, g = (
            torch.randn(*size) for size in ((shape.tokens, inner), (outer, inner), (shape.tokens, outer))
        )
        outs = torch.empty_like(g), torch.empty_like(x), torch.empty_like(w)
        plan.append((x, w, g, *outs))

    def step() -> None:
        for x, w, g, y, dx, dw in plan:
            torch.mm(x, w.t(), out=y)
            torch.mm(g, w, out=dx)
            torch.mm(g.t(), x, out=dw)

    turns(step)


def race(shape_name: str, names: list[str], rounds: int, steps: int, threads: int) -> dict:
    """Let the contestants take turns; seconds a step by contestant and round."""
    command = [sys.executable, __file__, "--shape", shape_name, "--worker"]
    settings = dict(os.environ, OMP_NUM_THREADS=str(threads))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": settings}
    workers = {name: subprocess.Popen([*command, name], **pipes) for name in names}

    def turn(name: str, count: int) -> float:
        worker = workers[name]
        worker.stdin.write(f"{count}\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]
        return float(worker.stdout.readline()) / count  # type: ignore[union-attr]

    for name in names:
        turn(name, 2)  # allocations, just-in-time kernels
    seconds = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            seconds[name].append(turn(name, steps))
    memory = {}
    for name, worker in workers.items():
        rest, _ = worker.communicate()
        memory[name] = int(rest.split()[-1])
    shape = SHAPES[shape_name]
    typical = {name: statistics.median(times) for name, times in seconds.items()}
    ours = seconds["textmill"]
    return {
        "shape": shape_name,
        "threads": threads,
        "rounds": rounds,
        "tokens_per_second": {name: round(shape.tokens / value, 1) for name, value in typical.items()},
        "best_tokens_per_second": {n: round(shape.tokens / min(times), 1) for n, times in seconds.items()},
        "ratio": {
            name: round(statistics.median(a / b for a, b in zip(times, ours, strict=True)), 3)
            for name, times in seconds.items()
        },
        "ratio_of_best": {name: round(min(times) / min(ours), 3) for name, times in seconds.items()},
        "peak_gigabytes": {
            name: round(value / 1e9, 2) for name, value in memory.items() if name != "products"
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps of one turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", nargs="*", choices=CONTESTANTS[1:], default=list(CONTESTANTS[1:]))
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        globals()[chosen.worker](SHAPES[chosen.shape])
        return
    result = race(chosen.shape, ["textmill", *chosen.peers], chosen.rounds, chosen.steps, chosen.threads)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
