"""Ways of tuning one model side by side: quality, memory and speed, from what the commands leave.

    python benchmarks/tuning.py RECIPE RECIPE … [--set training.steps=200 …] [--work DIR]

Every recipe is prepared, trained and judged by the commands a person uses, one after the other, with the same
overrides: give it recipes that differ in [tuning] and what belongs to it. recipes/tuning/minilm-sst2.toml trains all
weights, sst2-lora.toml an adapter; the data they name lie beside them. `score` is the headline on the test split with
its 95 % interval; `trained` how many numbers a checkpoint holds, and `checkpoint` its bytes with the optimiser's;
`memory` the peak of `textmill train`; `tokens/s` the tokens it computed by its processor seconds, start and validation
included, so that a busy machine changes it little. One thread. Prints a table in Markdown; killed, it goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import safe_open


def call(environment: dict[str, str], *words: str) -> tuple[int, float]:
    """Run a command: the peak of its memory in bytes, and its processor seconds."""
    command = [sys.executable, "-m", "textmill", *words]
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def measure(recipe: Path, work: Path, overrides: list[str]) -> dict:
    """One recipe through prepare, train and evaluate."""
    name, kept = recipe.stem, work / f"{recipe.stem}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    environment = os.environ | {"TEXTMILL_WORK": str(work), "OMP_NUM_THREADS": "1"}
    sets = [word for override in (f"name={name}", *overrides) for word in ("--set", override)]
    call(environment, "prepare", str(recipe), *sets)
    peak, seconds = call(environment, "train", str(recipe), *sets)
    call(environment, "evaluate", name)
    run = work / "runs" / name
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "tokens_per_second" in row]
    newest = max((run / "checkpoints").glob("step-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    with safe_open(newest / "model.safetensors", "pt") as file:
        trained = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
    score = json.loads((run / "evaluation/report.json").read_text())
    result = {
        "recipe": name,
        "steps": len(steps),
        "headline": score["headline"],
        "score": score["table"][0],
        "trained": trained,
        "checkpoint_mb": round(sum(path.stat().st_size for path in newest.iterdir()) / 1e6, 1),
        "peak_mb": round(peak / 1e6),
        "tokens_per_second": round(sum(row["seconds"] * row["tokens_per_second"] for row in steps) / seconds),
    }
    kept.write_text(json.dumps(result))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = (arguments.work or Path(folder)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        found = [measure(recipe, work, arguments.overrides) for recipe in arguments.recipes]
    print("| recipe | steps | score | trained | checkpoint | memory | tokens/s |")
    print("|---|---|---|---|---|---|---|")
    for row in found:
        score = row["score"]
        print(
            f"| {row['recipe']} | {row['steps']} "
            f"| {score['value']:.3f} {row['headline']} ({score['low']:.3f} to {score['high']:.3f}) "
            f"| {row['trained']:,} | {row['checkpoint_mb']} MB | {row['peak_mb']} MB | {row['tokens_per_second']} |"
        )


if __name__ == "__main__":
    main()
