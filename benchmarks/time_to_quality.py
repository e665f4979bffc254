"""Time to quality on tinyshakespeare, characters: our recipe beside nanoGPT's CPU recipe in transformers.

    python benchmarks/time_to_quality.py [--data FOLDER] [--rounds 20]

The peer is that recipe (4 layers x 128, context 64, batch 12, 2000 steps, AdamW 1e-3 falling along a cosine
to 1e-4, 100 steps of warm-up, betas 0.9 and 0.99, weight decay 0.1, clipping at 1, no dropout) made again with
transformers' GPT-2. `ours-third` should reach its validation loss in a third of its time, `ours-whole` goes on
for about the whole of it. All three take turns in slices of their steps, so a change in the machine's speed
hits all; seconds are those of training alone. Each is scored on every character of the last tenth of the text,
in the same windows of 64. Prints one JSON object; skipped, saying so, where the data is not there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

WINDOW, PEER_STEPS = 64, 2000
OURS = {"ours-third": 240, "ours-whole": 1150}  # steps
OUR_ROWS = 16


def characters(folder: Path):
    """(training ids, validation ids, number of characters); the last tenth validates."""
    import torch

    packed = folder / "input.txt.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "input.txt").read_bytes()
    text = data.decode("utf-8")
    alphabet = sorted(set(text))
    places = {character: index for index, character in enumerate(alphabet)}
    ids = torch.tensor([places[character] for character in text])
    cut = int(0.9 * len(ids))
    return ids[:cut], ids[cut:], len(alphabet)


def windows(ids, step: int, rows: int):
    """Inputs and targets (rows, WINDOW) at random places of the text, a function of the step."""
    import torch

    draw = torch.Generator().manual_seed(step)
    starts = torch.randint(0, len(ids) - WINDOW, (rows,), generator=draw)
    both = ids[starts[:, None] + torch.arange(WINDOW + 1)]
    return both[:, :-1], both[:, 1:]


def validation(ids) -> Iterator:
    """All of the text in windows side by side, 128 at a time."""
    rows = (len(ids) - 1) // WINDOW
    inputs, targets = ids[: rows * WINDOW].view(rows, WINDOW), ids[1 : rows * WINDOW + 1].view(rows, WINDOW)
    for start in range(0, rows, 128):
        yield inputs[start : start + 128], targets[start : start + 128]


def turns(step: Callable[[], object], score: Callable[[], float]) -> None:
    """Worker side: do as many steps as the parent asks for and say how long they took and what the loss is."""
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        seconds = time.perf_counter() - started
        print(json.dumps([seconds, score()]), flush=True)


def peer(folder: Path, steps: int) -> None:
    import itertools

    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    training, held_out, vocabulary = characters(folder)
    torch.manual_seed(0)
    nothing = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
    shape = {"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": WINDOW, "vocab_size": vocabulary}
    model = GPT2LMHeadModel(GPT2Config(**shape, **nothing)).train()
    decayed = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    count = itertools.count()

    def loss(inputs, targets):
        logits = model(input_ids=inputs).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def step() -> None:
        index = next(count)
        fall = 0.5 * (1 + math.cos(math.pi * (index - 100) / (steps - 100)))
        rate = 1e-3 * (index + 1) / 101 if index < 100 else 1e-4 + fall * 9e-4
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss(*windows(training, index, 12)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def score() -> float:
        model.eval()
        sums = [(float(loss(x, y)) * y.numel(), y.numel()) for x, y in validation(held_out)]
        model.train()
        return sum(nats for nats, _ in sums) / sum(number for _, number in sums)

    turns(step, score)


def ours(folder: Path, steps: int) -> None:
    from textmill.data.batch import Batch
    from textmill.models.build import build
    from textmill.objectives import loss
    from textmill.specs.model import DecoderSpec
    from textmill.specs.training import AdamWSpec, MuonSpec, ScheduleSpec, TrainingSpec
    from textmill.training import device, optimizer, schedule
    from textmill.training.loop import train

    plan = TrainingSpec(
        steps=steps,
        batch=OUR_ROWS,
        optimizer=MuonSpec(lr=0.02, rest=AdamWSpec(lr=6e-3)),
        schedule=ScheduleSpec(kind="linear", warmup=0.02, floor=0.0),
        device="cpu",
    )
    device.prepare(device.choose(plan))
    training, held_out, vocabulary = characters(folder)
    spec = DecoderSpec(d_model=128, layers=4, heads=4, d_ff=344, context=WINDOW, qk_norm=True)
    model = build(spec, vocabulary)

    class Windows:
        def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
            return Batch(*windows(training, step, OUR_ROWS))

    results = train(
        model,
        loss.causal,
        Windows(),
        optimizer.build(model, plan.optimizer),
        steps=range(steps),
        rates=lambda step: schedule.rate(plan.schedule, step, steps),
        clip=plan.clip,
    )

    def score() -> float:
        nats, targets = loss.evaluate_loss(model, (Batch(x, y) for x, y in validation(held_out)))
        return nats / targets

    turns(lambda: next(results), score)


def race(folder: Path, rounds: int, threads: int) -> dict:
    """All contestants from beginning to end, a slice of each in every round."""
    plan = {"transformers": PEER_STEPS, **OURS}
    settings = dict(os.environ, OMP_NUM_THREADS=str(threads))
    workers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--data", str(folder), "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=settings,
        )
        for name in plan
    }
    curves: dict[str, list] = {name: [] for name in plan}
    spent = dict.fromkeys(plan, 0.0)
    for turn in range(rounds):
        for name, steps in plan.items():
            worker = workers[name]
            count = steps * (turn + 1) // rounds - steps * turn // rounds
            worker.stdin.write(f"{count}\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
            seconds, loss = json.loads(worker.stdout.readline())  # type: ignore[union-attr]
            spent[name] += seconds
            curves[name].append([steps * (turn + 1) // rounds, round(spent[name], 2), round(loss, 4)])
    for worker in workers.values():
        worker.communicate()
    last = {name: curve[-1][2] for name, curve in curves.items()}
    return {
        "threads": threads,
        "validation_loss": last,
        "seconds": {name: round(value, 1) for name, value in spent.items()},
        "share_of_peers_time": {name: round(spent[name] / spent["transformers"], 3) for name in OURS},
        "third_is_as_good": last["ours-third"] <= last["transformers"],
        "curves": {
            name: {"columns": ["step", "seconds", "loss"], "rows": curve} for name, curve in curves.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    place = os.environ.get("TEXTMILL_DATA", "../shared/data")
    parser.add_argument(
        "--data", type=Path, default=Path(place) / "tinyshakespeare", help="folder of input.txt.gz"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=("transformers", *OURS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not any((chosen.data / name).exists() for name in ("input.txt", "input.txt.gz")):
        print(json.dumps({"skipped": f"no input.txt or input.txt.gz in {chosen.data}"}))
    elif chosen.worker:
        worker = peer if chosen.worker == "transformers" else ours
        worker(chosen.data, PEER_STEPS if worker is peer else OURS[chosen.worker])
    else:
        print(json.dumps(race(chosen.data, chosen.rounds, chosen.threads), indent=2))


if __name__ == "__main__":
    main()
