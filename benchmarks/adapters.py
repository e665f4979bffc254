"""LoRA beside peft and transformers, over float32 and 8-bit bases, and all weights: tokens per second, peak memory.

    python benchmarks/adapters.py MODEL              a model's directory or .gguf file: the same weights for everybody

Every contestant is a process of its own that takes turns with the others: so many steps, then the next one, round after
round, so that a change in the machine's speed hits all of them. All train on the same random tokens in float32 with
AdamW, gradients clipped to 1; LoRA of rank 8 on every linear layer of every block. `peft` and `transformers` run the
loop that their documentation shows. `ratio` is the median over rounds of (peer's seconds / ours), the peer of adapters
peft's LoRA, that of all weights transformers. `cpu_ratio` is the same of processor seconds, which the neighbours of a
busy machine change less. Memory is the peak of the process, loading and imports included. `losses`
are those of the first step, which all share. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONTESTANTS = ("peft", "lora", "int8", "transformers", "all")
PEERS = {"lora": "peft", "int8": "peft", "all": "transformers"}
RANK, ALPHA = 8, 16
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def tokens(batch: int, sequence: int, vocabulary: int, step: int):
    """Random ids (B, T + 1) of a step."""
    import torch

    draw = torch.Generator().manual_seed(step)
    return torch.randint(0, vocabulary, (batch, sequence + 1), generator=draw)


def turns(step) -> None:
    """Worker side: one step whose loss is said, then as many as the parent asks for, and how long they took."""
    print(step(), flush=True)
    for line in sys.stdin:
        started, worked = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - started, time.process_time() - worked, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def ours(name: str, path: str, batch: int, sequence: int) -> None:
    """Our loop, as `textmill train` runs it."""
    from textmill.base import machine
    from textmill.data.batch import Batch
    from textmill.interop.load import load
    from textmill.models import adapters
    from textmill.models.model import as_it_is
    from textmill.objectives import loss
    from textmill.specs.training import TrainingSpec
    from textmill.specs.tuning import LoRATuning
    from textmill.training import device, memory, optimizer
    from textmill.training.loop import train

    machine.keep_memory()
    training = TrainingSpec(batch=batch, device="cpu", precision="fp32")
    compute = device.choose(training)
    device.prepare(compute, training)
    eight = name == "int8"
    pretrained = load(path, form=adapters.in_eight_bits if eight else as_it_is)
    model, vocabulary, spec = pretrained.model.train(), pretrained.model.vocabulary, pretrained.spec
    tuning = None
    if name != "all":
        tuning = LoRATuning(rank=RANK, alpha=ALPHA, base="int8" if eight else "fp32")
        del pretrained
        model = adapters.adapt(model, tuning)
    fit = memory.fit(spec, training, vocabulary, sequence, compute, tuning=tuning)

    class Random:
        def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
            ids = tokens(batch, sequence, vocabulary, step)
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
    turns(lambda: next(results).loss)


def theirs(name: str, path: str, batch: int, sequence: int) -> None:
    """transformers' model in a loop of PyTorch; peft's LoRA around it."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, local_files_only=True
    )
    if name == "peft":
        import peft

        config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=LINEAR, task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, config)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, count = torch.optim.AdamW(trained, lr=1e-5), itertools.count()
    vocabulary = model.config.vocab_size

    def step() -> float:
        ids = tokens(batch, sequence, vocabulary, next(count))
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    turns(step)


def measure(path: str, names: list[str], arguments: argparse.Namespace) -> dict:
    """Every contestant's seconds in each round, its first loss and its peak memory."""
    common = [path, str(arguments.batch), str(arguments.sequence)]
    workers = {}
    losses = {}
    for name in names:
        command = [sys.executable, __file__, "--worker", name, *common]
        workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        losses[name] = float(workers[name].stdout.readline())
    seconds: dict[str, list[float]] = {name: [] for name in names}
    worked: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name, worker in workers.items():
            worker.stdin.write(f"{arguments.steps}\n")
            worker.stdin.flush()
            wall, cpu = map(float, worker.stdout.readline().split())
            seconds[name].append(wall)
            worked[name].append(cpu)
    peaks = {}
    for name, worker in workers.items():
        worker.stdin.close()
        peaks[name] = int(worker.stdout.readline())
        worker.wait()
    each = arguments.steps * arguments.batch * arguments.sequence
    result: dict = {}
    for name in names:
        result[name] = {
            "tokens_per_second": round(each / statistics.median(seconds[name]), 1),
            "peak_mb": round(peaks[name] / 1e6),
            "first_loss": round(losses[name], 4),
        }
        peer = PEERS.get(name)
        if peer in names:
            ratios = [a / b for a, b in zip(seconds[peer], seconds[name], strict=True)]
            result[name] |= {
                "peer": peer,
                "ratio": round(statistics.median(ratios), 2),
                "cpu_ratio": round(statistics.median(worked[peer]) / statistics.median(worked[name]), 2),
                "ratios": [round(ratio, 2) for ratio in ratios],
                "memory": round(peaks[name] / peaks[peer], 2),
            }
    return result


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        name, path, batch, sequence = sys.argv[2:]
        run = theirs if name in ("peft", "transformers") else ours
        run(name, path, int(batch), int(sequence))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2, help="steps a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS))
    arguments = parser.parse_args()
    from textmill.interop.huggingface import directory
    from textmill.interop.load import load

    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model
        if not Path(path).is_dir():  # transformers reads directories
            path = str(Path(folder) / "model")
            directory.write(path, load(arguments.model))
        found = measure(path, arguments.only, arguments)
    settings = {"batch": arguments.batch, "sequence": arguments.sequence, "threads": os.cpu_count()}
    print(json.dumps(settings | found, indent=2))


if __name__ == "__main__":
    main()
