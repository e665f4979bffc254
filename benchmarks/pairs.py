"""Training an encoder-decoder on pairs, in target tokens per second, beside Marian in transformers' Trainer.

3 + 3 blocks of 256 features (4 heads, 1024 inside, ReLU, dropout 0.1), a joint vocabulary of 10,000, updates of 4096
target tokens, padding included, label smoothing 0.1, AdamW, float32. Pairs are random ids with lengths like those of
sentences (log-normal, median 12, source and target alike but for a fifth). Only real target tokens count. Ours reads
them as a run does, in sorted buckets; the Trainer gets as many pairs an update as make 4096 tokens on average, in
random order as it comes (`trainer`), or grouped by length as it offers to. eole reads them from files, in buckets of
like length as it always does; it wants an interpreter it is installed for. Each contestant is a process of its own;
they take turns.

    python benchmarks/pairs.py [--rounds 4] [--steps 4] [--threads 2] [--eole PYTHON]

Prints one JSON object; `ratio` is the median over rounds of ours by theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIRS, VOCABULARY, TOKENS = 20_000, 10_000, 4096
SHAPE = {"d_model": 256, "layers": 3, "heads": 4, "d_ff": 1024}


def lengths():
    """(sources, targets): how many tokens each pair has."""
    import numpy as np

    draw = np.random.default_rng(0)
    target = np.clip(np.exp(draw.normal(np.log(12), 0.45, PAIRS)), 3, 60).astype(int)
    source = np.clip(target * np.exp(draw.normal(0, 0.2, PAIRS)), 3, 60).astype(int)
    return source, target


def pair(number: int, sizes) -> tuple[list[int], list[int]]:
    import numpy as np

    draw = np.random.default_rng(number + 1)
    return tuple(draw.integers(10, VOCABULARY, int(side[number])).tolist() for side in sizes)


def turns(step) -> None:
    """Do as many updates as the parent asks for; say how long they took and how many real targets they had."""
    for line in sys.stdin:
        started, targets = time.perf_counter(), 0
        for _ in range(int(line)):
            targets += step()
        print(json.dumps([time.perf_counter() - started, targets]), flush=True)


def textmill() -> None:
    import numpy as np

    from textmill.data.buckets import BucketLoader
    from textmill.data.view import Pair, Viewed, pair_batch
    from textmill.models.build import build
    from textmill.objectives.table import objective_of
    from textmill.specs.model import EncoderDecoderSpec
    from textmill.specs.objective import PairsObjective
    from textmill.specs.training import TrainingSpec
    from textmill.training import device, memory, optimizer
    from textmill.training.loop import train

    sizes = lengths()

    class Drawn:
        """The pairs as a view of no store."""

        store = None

        def __len__(self) -> int:
            return PAIRS

        def lengths(self):
            return sizes[1] + 1, sizes[0] + 1  # targets, sources

        def sizes(self):
            return sizes[0] + sizes[1]

        def make(self, rows, keys, share=slice(None)) -> Viewed:
            made = []
            for row in rows:
                source, target = pair(int(row), sizes)
                target = np.array([*target, 1])
                made.append(Pair(np.array([*source, 1]), target, np.zeros(len(target), dtype=np.int64)))
            batch, owners = pair_batch(made, 0, 2, share)
            return Viewed(batch, owners, np.zeros((0, 2), dtype=np.int64))

    training = TrainingSpec(device="cpu", precision="fp32")
    compute = device.choose(training)
    device.prepare(compute, training)
    spec = EncoderDecoderSpec(**SHAPE, context=64, dropout=0.1)
    model = build(spec, VOCABULARY)
    objective = PairsObjective(label_smoothing=0.1, batch_tokens=TOKENS)
    losses = objective_of(objective).losses(objective, sequence=64, chunk=memory.CPU_CHUNK)
    results = train(
        model,
        losses.training,
        BucketLoader(Drawn(), batch=None, batch_tokens=TOKENS, seed=1),
        optimizer.build(model, training.optimizer),
        steps=range(1_000_000),
        rates=lambda step: 1e-2,
        clip=1.0,
        count=losses.count,
    )
    turns(lambda: next(results).targets)


def trainer() -> None:
    """As it comes: pairs in random order."""
    marian("random")


def grouped() -> None:
    """With pairs of like length together, as it offers to."""
    marian("group_by_length")


def marian(order: str) -> None:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    sizes = lengths()
    config = transformers.MarianConfig(
        vocab_size=VOCABULARY,
        d_model=SHAPE["d_model"],
        encoder_layers=SHAPE["layers"],
        decoder_layers=SHAPE["layers"],
        encoder_attention_heads=SHAPE["heads"],
        decoder_attention_heads=SHAPE["heads"],
        encoder_ffn_dim=SHAPE["d_ff"],
        decoder_ffn_dim=SHAPE["d_ff"],
        activation_function="relu",
        dropout=0.1,
        max_position_embeddings=64,
        pad_token_id=2,
        eos_token_id=1,
        decoder_start_token_id=2,
        forced_eos_token_id=1,
        scale_embedding=True,
    )
    model = transformers.MarianMTModel(config).train()

    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return PAIRS

        def __getitem__(self, number: int) -> dict:
            source, target = pair(number, sizes)
            return {"input_ids": [*source, 1], "labels": [*target, 1], "length": len(target)}

    def collate(rows: list[dict]) -> dict:
        def filled(name: str, filler: int) -> torch.Tensor:
            return torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=filler
            )

        ids = filled("input_ids", 2)
        labels = filled("labels", -100)
        return {
            "input_ids": ids,
            "attention_mask": (ids != 2).long(),
            "labels": labels,
            "decoder_input_ids": model.prepare_decoder_input_ids_from_labels(labels),
        }

    class Turns(transformers.TrainerCallback):
        """Stops after each asked number of updates until the parent asks again."""

        def __init__(self) -> None:
            self.left, self.targets, self.started = 0, 0, 0.0

        def on_step_begin(self, args, state, control, **more):
            if self.left == 0:
                line = sys.stdin.readline()
                if not line:
                    os._exit(0)
                self.left, self.targets, self.started = int(line), 0, time.perf_counter()

        def on_step_end(self, args, state, control, **more):
            self.left -= 1
            if self.left == 0:
                print(json.dumps([time.perf_counter() - self.started, seen.pop("targets", 0)]), flush=True)

    seen: dict[str, int] = {}

    def counted(rows: list[dict]) -> dict:
        batch = collate(rows)
        seen["targets"] = seen.get("targets", 0) + int((batch["labels"] != -100).sum())
        return batch

    with tempfile.TemporaryDirectory() as place:
        arguments = transformers.TrainingArguments(
            place,
            per_device_train_batch_size=round(TOKENS / float(sizes[1].mean() + 1)),
            max_steps=1_000_000,
            label_smoothing_factor=0.1,
            train_sampling_strategy=order,
            length_column_name="length",
            learning_rate=1e-5,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        transformers.Trainer(
            model=model, args=arguments, train_dataset=Pairs(), data_collator=counted, callbacks=[Turns()]
        ).train()


def eole() -> None:
    """Its own training command, in this process, its step wrapped as its trainer allows."""
    from eole import train_single
    from eole.config.run import TrainConfig
    from eole.trainer import Trainer

    sizes = lengths()
    asked = {"left": 0, "targets": 0, "started": 0.0}
    plain = Trainer._train_step

    def step(self, batches, *more, **named) -> None:
        if asked["left"] == 0:
            line = sys.stdin.readline()
            if not line:
                os._exit(0)
            asked.update(left=int(line), targets=0, started=time.perf_counter())
        plain(self, batches, *more, **named)
        real = (batch["tgt"][:, 1:].ne(self.train_loss.padding_idx).sum() for batch in batches)
        asked["left"] -= 1
        asked["targets"] += int(sum(real))
        if asked["left"] == 0:
            print(json.dumps([time.perf_counter() - asked["started"], asked["targets"]]), flush=True)

    Trainer._train_step = step
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        drawn = [pair(number, sizes) for number in range(PAIRS)]
        for side, name in enumerate(("source", "target")):
            lines = (" ".join(map(str, both[side])) for both in drawn)
            (folder / name).write_text("\n".join(lines) + "\n")
        words = [f"{word}\t1" for word in range(10, VOCABULARY)]
        (folder / "words").write_text("\n".join(words) + "\n")
        train_single.main(
            TrainConfig(
                src_vocab=str(folder / "words"),
                tgt_vocab=str(folder / "words"),
                share_vocab=True,
                src_vocab_size=VOCABULARY,
                tgt_vocab_size=VOCABULARY,
                data={
                    "drawn": {"path_src": str(folder / "source"), "path_tgt": str(folder / "target")},
                },
                model={
                    "architecture": "transformer",
                    "layers": SHAPE["layers"],
                    "hidden_size": SHAPE["d_model"],
                    "heads": SHAPE["heads"],
                    "transformer_ff": SHAPE["d_ff"],
                    "mlp_activation_fn": "relu",
                    "share_embeddings": True,
                    "share_decoder_embeddings": True,
                    "embeddings": {
                        "word_vec_size": SHAPE["d_model"],
                        "position_encoding_type": "SinusoidalInterleaved",
                    },
                },
                training={
                    "batch_type": "tokens",
                    "batch_size": TOKENS,
                    "batch_size_multiple": 1,
                    "bucket_size": PAIRS,
                    "num_workers": 0,
                    "accum_count": [1],
                    "compute_dtype": "fp32",
                    "dropout": [0.1],
                    "attention_dropout": [0.0],
                    "label_smoothing": 0.1,
                    "normalization": "tokens",
                    "optim": "adamw",
                    "learning_rate": 1e-5,
                    "max_grad_norm": 1.0,
                    "train_steps": 1_000_000,
                    "save_checkpoint_steps": 0,
                    "model_path": str(folder / "model"),
                    "gpu_ranks": [],
                    "world_size": 0,
                },
            ),
            -1,
        )


CONTESTANTS = {"textmill": textmill, "trainer": trainer, "grouped": grouped, "eole": eole}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eole", metavar="PYTHON", help="an interpreter that eole is installed for")
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        import torch

        torch.set_num_threads(options.threads)
        CONTESTANTS[options.role]()
        return
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    interpreters = dict.fromkeys(CONTESTANTS, sys.executable) | {"eole": options.eole}
    processes = {
        name: subprocess.Popen(
            [interpreter, str(Path(__file__)), "--as", name, "--threads", str(options.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        for name, interpreter in interpreters.items()
        if interpreter
    }

    def ask(name: str, steps: int) -> float:
        process = processes[name]
        process.stdin.write(f"{steps}\n")
        process.stdin.flush()
        seconds, targets = json.loads(process.stdout.readline())
        return targets / seconds

    for name in processes:
        ask(name, 2)
    speeds: dict[str, list[float]] = {name: [] for name in processes}
    for _ in range(options.rounds):
        for name in processes:
            speeds[name].append(ask(name, options.steps))
    for process in processes.values():
        process.kill()
    ratios = {
        name: [a / b for a, b in zip(speeds["textmill"], theirs, strict=True)]
        for name, theirs in speeds.items()
        if name != "textmill"
    }
    print(
        json.dumps(
            {
                "threads": options.threads,
                "target_tokens_per_second": {
                    name: {"best": round(max(turn)), "median": round(statistics.median(turn))}
                    for name, turn in speeds.items()
                },
                "ratio": {name: round(statistics.median(turns), 3) for name, turns in ratios.items()},
                "ratio_best": {
                    name: round(max(speeds["textmill"]) / max(speeds[name]), 3) for name in ratios
                },
            }
        )
    )


if __name__ == "__main__":
    main()
