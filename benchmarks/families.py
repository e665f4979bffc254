"""Every family on the same text, with the same tokenizer, about as many parameters and the same time.

    python benchmarks/families.py [--minutes 10] [--work DIR] [--only gpt,gru] [--into docs/families]

Each recipe of recipes/families/ is trained in a process of its own: as many steps as its share of time allows, measured
on its own data first. Written are families.json, families.md (the table) and families.svg (the losses drawn).
Figures: bits per byte of the test part (of a masked model the share of hidden tokens it gets right, which is not
comparable), tokens a second while training, and the largest resident memory of the training process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes" / "families"
ORDER = ("ngram", "gru", "lstm", "gru-attention", "gpt", "bert", "encoder-decoder")


def one(name: str, minutes: float, work: Path) -> dict:
    """Train and score one family in this process; its figures."""
    from textmill.base import count, recipe, schema
    from textmill.base.model_spec import NGramSpec
    from textmill.base.spec import Recipe
    from textmill.stages import check, evaluate, prepare, train
    from textmill.stages.workspace import Workspace

    space = Workspace(work)
    chosen = recipe.load(RECIPES / f"{name}.toml")
    prepared = prepare.prepare(chosen, space)
    vocabulary = prepared.open_tokenizer().vocabulary
    counted = isinstance(chosen.model, NGramSpec)
    if not counted and not space.run(chosen.name).exists:
        seconds = check.seconds_per_step(chosen, prepared)
        steps = max(10, int(minutes * 60 / seconds))
        plain = schema.write(chosen)
        plain["training"] |= {"steps": steps, "evaluate_every": max(5, steps // 10), "save": {"every": steps}}
        chosen = schema.read(Recipe, plain)
    elif space.run(chosen.name).exists:
        chosen = space.run(chosen.name).recipe()
    started = time.perf_counter()
    run = train.train(chosen, space)
    trained = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report = evaluate.evaluate_run(run, space)
    records = [row for row in run.metrics() if "tokens_per_second" in row]
    speeds = sorted(row["tokens_per_second"] for row in records)
    return {
        "family": name,
        "parameters": None if counted else count.parameters(chosen.trained, vocabulary),
        "steps": chosen.steps,
        "minutes": round(trained / 60, 2),
        "tokens_per_second": speeds[len(speeds) // 2],
        "memory_bytes": peak,
        "scores": report["scores"],
        "table": report["table"],
        "headline": report.get("headline"),
    }


def table(rows: list[dict]) -> str:
    """The figures as Markdown."""
    lines = [
        "| family | parameters | bits per byte | hidden tokens right | tokens/s | memory | minutes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        scores = row["scores"]
        bits, right = scores.get("bits_per_byte"), scores.get("masked_accuracy")
        size = "counted" if row["parameters"] is None else f"{row['parameters'] / 1e6:.2f} M"
        lines.append(
            f"| {row['family']} | {size} "
            f"| {'' if bits is None else f'{bits:.3f}'} | {'' if right is None else f'{right:.1%}'} "
            f"| {row['tokens_per_second']:,.0f} | {row['memory_bytes'] / 1e9:.2f} GB | {row['minutes']:.1f} |"
        )
    return "\n".join(lines) + "\n"


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
    rows = []
    for name in options.only.split(","):
        command = [sys.executable, __file__, "--one", name, "--minutes", str(options.minutes)]
        made = subprocess.run(
            [*command, "--work", str(options.work)], stdout=subprocess.PIPE, text=True, check=True
        )
        rows.append(json.loads(made.stdout.splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
    from textmill.base.console import Silent
    from textmill.stages import history
    from textmill.stages.workspace import Workspace

    space = Workspace(options.work.absolute(), Silent())
    options.into.mkdir(parents=True, exist_ok=True)
    (options.into / "families.json").write_text(
        json.dumps({"minutes": options.minutes, "rows": rows}, indent=1)
    )
    (options.into / "families.md").write_text(table(rows))
    drawn = [row["family"] for row in rows if row["parameters"] is not None]
    (options.into / "families.svg").write_text(history.svg(space, drawn))


if __name__ == "__main__":
    main()
