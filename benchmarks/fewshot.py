"""Labels from 8, 16 or 64 examples a class, from a sentence encoder, beside SetFit: accuracy and seconds of training.

sst2 (whole sentences of five words or more that stand inside no other) and agnews, from a folder of labelled texts
(`--data`). 400 texts are for the test; of the others, the first so many of each class by a seed. Both begin with the
same encoder (`--encoder`, MiniLM) and have one thread each, one after the other. SetFit (`--setfit`: an interpreter it
is installed for: 1.1.3 with transformers < 5, sentence-transformers < 6) makes 2 · 20 pairs a text, in batches of 16,
as its authors did; ours is a run of the objective `classify` with `contrastive`. Seconds are those of training, the fit
of the head included: as a clock says, and as the processor counts them.

    python benchmarks/fewshot.py --data DIR --encoder DIR --setfit PYTHON [--sets agnews] [--shots 8,64] [--seeds 3]

Prints one JSON object; `difference` is our mean accuracy less SetFit's, in points, `ratio` its processor time by ours.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEST, LEAST_WORDS = 400, 5
STEPS = {8: 40, 16: 60, 64: 120}
RECIPE = """
name = "few"
seed = {seed}
[corpus]
sources = [
  {{ kind = "files", paths = ["train.jsonl"], part = "train" }},
  {{ kind = "files", paths = ["test.jsonl"], part = "test" }},
]
steps = []
[start]
model = {encoder}
[objective]
kind = "classify"
contrastive = 0.1
[training]
steps = {steps}
batch = 32
sequence = 128
evaluate_every = 10000
optimizer = {{ kind = "adamw", lr = 5e-5 }}
"""
Rows = list[tuple[str, str]]


def read(path: Path, *, header: bool = False) -> Rows:
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else open(path, encoding="utf-8") as file
    ):
        return [tuple(row) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][header:]  # type: ignore[misc]


def rows_of(data: Path, name: str) -> Rows:
    if name == "agnews":
        return read(data / name / "train.tsv.gz")
    rows = read(data / name / "train.tsv.gz", header=True) + read(data / name / "dev.tsv", header=True)
    labels = {" ".join(text.split()): label for text, label in rows}
    whole, pieces = [], set()
    for text in sorted(labels, key=len, reverse=True):
        words = text.split()
        if text not in pieces and len(words) >= LEAST_WORDS:
            whole.append((text, labels[text]))
            pieces |= {" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)}
    return whole


def dealt(rows: Rows, shots: int, seed: int) -> tuple[Rows, Rows]:
    """Training and test rows."""
    rows = sorted(rows)
    random.Random(0).shuffle(rows)
    test, rest = rows[:TEST], rows[TEST:]
    random.Random(seed + 1).shuffle(rest)
    by_label: dict[str, Rows] = {}
    for row in rest:
        by_label.setdefault(row[1], []).append(row)
    return [row for some in by_label.values() for row in some[:shots]], test


def ours(folder: Path, encoder: str, shots: int, seed: int) -> dict:
    """In this process: a run, and its scores on the test split."""
    from textmill.base.console import Silent
    from textmill.stages.evaluation.evaluate import evaluate_run
    from textmill.stages.preparation.prepare import prepare
    from textmill.stages.preparation.starting import load_recipe
    from textmill.stages.runs.train import train
    from textmill.stages.workspace.workspace import Workspace

    (folder / "few.toml").write_text(
        RECIPE.format(encoder=json.dumps(encoder), steps=STEPS.get(shots, 60), seed=seed), encoding="utf-8"
    )
    workspace = Workspace(folder / "work", Silent())
    read = load_recipe(folder / "few.toml", (), workspace)
    prepare(read, workspace)
    clock, processor = time.perf_counter(), time.process_time()
    run = train(read, workspace)
    seconds, processor = time.perf_counter() - clock, time.process_time() - processor
    accuracy = evaluate_run(run, workspace)["scores"]["accuracy"]
    return {"accuracy": 100 * accuracy, "seconds": seconds, "processor": processor}


THEIRS = """
import json, sys, time
folder, encoder, seed = sys.argv[1:]
import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments
torch.set_num_threads(1)
rows = {part: [json.loads(line) for line in open(f"{folder}/{part}.jsonl")] for part in ("train", "test")}
names = sorted({row["label"] for row in rows["train"]})
data = Dataset.from_list([{"text": row["text"], "label": names.index(row["label"])} for row in rows["train"]])
model = SetFitModel.from_pretrained(encoder)
settings = TrainingArguments(batch_size=16, num_epochs=1, num_iterations=20, seed=int(seed), output_dir=f"{folder}/out",
                             report_to="none", save_strategy="no", show_progress_bar=False)
trainer = Trainer(model=model, args=settings, train_dataset=data)
clock, processor = time.perf_counter(), time.process_time()
trainer.train()
clock, processor = time.perf_counter() - clock, time.process_time() - processor
said = model.predict([row["text"] for row in rows["test"]], show_progress_bar=False).tolist()
right = sum(names[int(one)] == row["label"] for one, row in zip(said, rows["test"]))
print(json.dumps({"accuracy": 100 * right / len(said), "seconds": clock, "processor": processor}))
"""


def contest(asked: argparse.Namespace, rows: Rows, shots: int, seed: int) -> dict[str, dict]:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, some in zip(("train", "test"), dealt(rows, shots, seed), strict=True):
            lines = (json.dumps({"text": text, "label": label}) + "\n" for text, label in some)
            (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        given = [str(folder), str(asked.encoder)]
        commands = {"ours": [sys.executable, __file__, "--own", *given, str(shots), str(seed)]}
        if asked.setfit is not None:
            commands["setfit"] = [str(asked.setfit), "-c", THEIRS, *given, str(seed)]
        for who, command in commands.items():
            environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, text=True)
            found[who] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    if sys.argv[1:2] == ["--own"]:
        folder, encoder, shots, seed = sys.argv[2:]
        print(json.dumps(ours(Path(folder), encoder, int(shots), int(seed))))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument(
        "--setfit", type=Path, help="an interpreter it is installed for; left out: ours alone"
    )
    parser.add_argument("--sets", default="sst2,agnews")
    parser.add_argument("--shots", default="8,16,64")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    result: dict[str, dict] = {}
    for name in asked.sets.split(","):
        rows = rows_of(asked.data, name)
        for shots in map(int, asked.shots.split(",")):
            runs = [contest(asked, rows, shots, seed) for seed in range(asked.seeds)]
            mean = {
                who: {key: round(statistics.mean(run[who][key] for run in runs), 2) for key in runs[0][who]}
                for who in runs[0]
            }
            entry: dict = {**mean, "runs": runs}
            if "setfit" in mean:
                entry["difference"] = round(mean["ours"]["accuracy"] - mean["setfit"]["accuracy"], 2)
                entry["ratio"] = round(mean["setfit"]["processor"] / mean["ours"]["processor"], 2)
            result[f"{name}, {shots} a class"] = entry
            print(json.dumps({f"{name}, {shots}": entry}), file=sys.stderr, flush=True)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
