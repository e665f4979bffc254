"""Every family on the same text, with the same tokenizer, about as many parameters and the same time.

    python benchmarks/families.py [--minutes 10] [--work DIR] [--only gpt,gru] [--into docs/families]

The text is collected and cut into tokens first. Then each recipe of recipes/families/ is trained in a process of its
own: as many steps as its share of time allows, measured on its own data before it begins. Written are families.json
(the figures), README.md (the table) and families.svg (the losses of the validation split by the minute). The rate of
each recipe was the best on the validation split after 300 updates, of those tried: powers of two times 0.001.
Figures: bits per byte of the test split (of a masked model the share of hidden tokens it gets right, which is not
comparable), tokens per second while training, the largest resident memory of the training process, and the minutes its
updates took.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textmill.stages.workspace.run import Run

RECIPES = Path(__file__).parents[1] / "recipes" / "families"
ORDER = ("ngram", "gru", "lstm", "gru-attention", "gpt", "bert", "encoder-decoder")


def one(name: str, minutes: float, work: Path) -> dict:
    """Train and score one family in this process; its figures."""
    from textmill.base import schema
    from textmill.models import cost
    from textmill.specs import recipe_file
    from textmill.specs.model import NGramSpec
    from textmill.specs.recipe import Recipe
    from textmill.stages.evaluation import evaluate
    from textmill.stages.preparation import prepare
    from textmill.stages.runs import check, train
    from textmill.stages.workspace.workspace import Workspace

    workspace = Workspace(work)
    chosen = recipe_file.load(RECIPES / f"{name}.toml")
    data = prepare.prepare(chosen, workspace)
    vocabulary = data.vocabulary
    counted = isinstance(chosen.model, NGramSpec)
    if not counted and not workspace.run(chosen.name).exists:
        seconds = check.seconds_per_step(data)
        steps = max(10, int(minutes * 60 / seconds))
        plain = schema.write(chosen)
        plain["training"] |= {"steps": steps, "evaluate_every": max(5, steps // 10), "save": {"every": steps}}
        chosen = schema.read(Recipe, plain)
    elif workspace.run(chosen.name).exists:
        chosen = workspace.run(chosen.name).recipe()
    run = train.train(chosen, workspace)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report = evaluate.evaluate_run(run, workspace)
    speeds = sorted(row["tokens_per_second"] for row in run.metrics() if "tokens_per_second" in row)
    looks = by_minute(run)
    return {
        "family": name,
        "parameters": None if counted else cost.parameters(chosen.trained, vocabulary),
        "steps": chosen.steps,
        "minutes": round(looks[-1][0], 2),
        "tokens_per_second": speeds[len(speeds) // 2],
        "memory_bytes": peak,
        "scores": report["scores"],
        "table": report["table"],
        "headline": report.get("headline"),
        "validation": looks,
    }


def by_minute(run: Run) -> list[tuple[float, float]]:
    """(minutes of updates so far, nats per token) of each look at the validation split."""
    seconds, looks = 0.0, []
    for row in run.metrics():
        seconds += row.get("seconds", 0.0)
        if "validation" in row:
            looks.append((seconds / 60, row["validation"]))
    return looks


def picture(rows: list[dict], minutes: float) -> str:
    """The looks of each family as lines; what was counted once is a level line."""
    from textmill.stages.runs.chart import Series, line_chart

    lines = []
    for row in rows:
        looks = row["validation"]
        if row["parameters"] is None:
            looks = [(0.0, looks[-1][1]), (minutes, looks[-1][1])]
        hidden = " (hidden tokens)" if "masked_accuracy" in row["scores"] else ""
        lines.append(Series(row["family"] + hidden, looks))
    return line_chart(lines, title="Validation loss", x_label="minutes of training", y_label="nats per token")


def table(rows: list[dict]) -> str:
    """The figures as Markdown."""
    lines = [
        "| family | parameters | bits per byte | hidden tokens right | tokens/s | memory | minutes | updates |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        scores = row["scores"]
        bits, right = scores.get("bits_per_byte"), scores.get("masked_accuracy")
        size = "counted" if row["parameters"] is None else f"{row['parameters'] / 1e6:.2f} M"
        lines.append(
            f"| {row['family']} | {size} "
            f"| {'' if bits is None else f'{bits:.3f}'} | {'' if right is None else f'{right:.1%}'} "
            f"| {row['tokens_per_second']:,.0f} | {row['memory_bytes'] / 1e9:.2f} GB | {row['minutes']:.1f} "
            f"| {row['steps']:,} |"
        )
    return "\n".join(lines) + "\n"


PAGE = """# Families side by side

The same text (Python's standard library), the same tokenizer (4,096 ids), about as many parameters, and {minutes:g}
minutes of updates each, on {cores} cores. Made by

    python benchmarks/families.py --minutes {minutes:g} --into docs/families

{table}
![Validation loss by the minute](families.svg)

Bits per byte are of the test part, lower is better. The encoder guesses 15 % of the tokens from all others, so its
figure stands apart; the encoder-decoder reads half of a stretch and writes the other, in turns. The n-gram model counts
its text once. Tokens a second are of training; memory is the largest the process had, libraries included. One run each:
small differences mean nothing.
"""


def write(into: Path, rows: list[dict], minutes: float) -> None:
    """The figures, the page and the picture."""
    into.mkdir(parents=True, exist_ok=True)
    (into / "families.json").write_text(json.dumps({"minutes": minutes, "rows": rows}, indent=1) + "\n")
    page = PAGE.format(minutes=minutes, cores=os.cpu_count(), table=table(rows))
    (into / "README.md").write_text(page)
    (into / "families.svg").write_text(picture(rows, minutes))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--work", type=Path, default=Path("work-families"))
    parser.add_argument("--only", default=",".join(ORDER))
    parser.add_argument("--into", type=Path, default=Path("families"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.minutes, options.work.absolute())))
        return
    prepared = [sys.executable, "-m", "textmill", "prepare", str(RECIPES / f"{ORDER[0]}.toml")]
    subprocess.run([*prepared, "--work", str(options.work.absolute())], check=True)
    rows = []
    for name in options.only.split(","):
        command = [sys.executable, __file__, "--one", name, "--minutes", str(options.minutes)]
        made = subprocess.run(
            [*command, "--work", str(options.work)], stdout=subprocess.PIPE, text=True, check=True
        )
        rows.append(json.loads(made.stdout.splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
    write(options.into, rows, options.minutes)


if __name__ == "__main__":
    main()
