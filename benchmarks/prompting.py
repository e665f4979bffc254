"""How many examples a prompt wants: accuracy over 0 to 8 of them, calibrated and not, of one model on labelled texts.

    python benchmarks/prompting.py MODEL rows.tsv --columns sentence,label --words 0=negative,1=positive \\
        --form "Review: {text}\\nSentiment: {label}" --rows 500 --out folder

MODEL: a model's directory or .gguf file. Rows are drawn by a seed: some are scored, and the examples come of the
others, so that no text is an example for itself. Random examples are drawn anew for each of `--draws`; the nearest
(bm25) @ log-likelihoods. Beside it: the commonest label, always. Prints one JSON object, and writes it and the curve to
`--out`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from textmill.base.console import print_json
from textmill.interop.load import load
from textmill.metrics.labels import one_label
from textmill.models.prompted import Prompted
from textmill.specs.head import ClassifyHead
from textmill.specs.tuning import PromptingTuning
from textmill.stages.runs.chart import Series, line_chart

SHOTS = (0, 1, 2, 4, 8)


def rows_of(path: Path, columns: tuple[str, str]) -> list[tuple[str, str]]:
    """(text, label) of a table with a header, or of numbers of columns, from 1."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="," if ".csv" in path.name else "\t", quoting=csv.QUOTE_NONE))
    if columns[0].isdecimal():
        places = [int(column) - 1 for column in columns]
    else:
        places, lines = [lines[0].index(column) for column in columns], lines[1:]
    return [(line[places[0]].strip(), line[places[1]].strip()) for line in lines if len(line) > max(places)]


def scored(model: Prompted, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) log-probabilities as they come, and calibrated."""
    chosen = [model.chosen(text) for text in texts]
    plain = model.log_probs([model.prompt(text, some) for text, some in zip(texts, chosen, strict=True)])
    if model.tuning.choose == "random":
        leaning = model.leaning(model.chosen(""))
    else:
        leaning = torch.stack([model.leaning(some) for some in chosen])
    return plain.numpy(), (plain - leaning).numpy()


def accuracies(model: Prompted, texts: list[str], truth: np.ndarray, labels: int) -> dict[str, dict]:
    """Accuracy with its interval of both."""
    said = zip(("uncalibrated", "calibrated"), scored(model, texts), strict=True)
    return {name: one_label(truth, side.argmax(1), labels)["accuracy"].plain() for name, side in said}


def main() -> None:
    """Score, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--columns", default="text,label")
    parser.add_argument("--form", default="{text}\nLabel: {label}")
    parser.add_argument("--instruction", default="")
    parser.add_argument("--words", default="")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--shots", default=",".join(map(str, SHOTS)))
    parser.add_argument("--choose", default="random")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    words = dict(pair.split("=", 1) for pair in given.words.split(",") if pair)
    first, second = given.columns.split(",")
    rows = rows_of(given.table, (first, second))
    random.Random(0).shuffle(rows)
    held, pool = rows[: given.rows], rows[given.rows : given.rows + 1000]
    head = ClassifyHead(labels=tuple(sorted({label for _, label in rows})))
    number = {label: place for place, label in enumerate(head.labels)}
    truth = np.array([number[label] for _, label in held])
    texts, base, found = [text for text, _ in held], load(given.model), []
    form = given.form.replace("\\n", "\n")
    for choose in given.choose.split(","):
        for shots in map(int, given.shots.split(",")):
            for draw in range(given.draws if choose == "random" and shots else 1):
                examples = [(text, number[label]) for text, label in pool]
                random.Random(draw).shuffle(examples)
                tuning = PromptingTuning(
                    form=form, instruction=given.instruction, words=words, examples=shots, choose=choose
                )
                started = time.perf_counter()
                model = Prompted(base.model, head, tuning, base.tokenizer, examples).eval()
                with torch.inference_mode():
                    row = {"choose": choose, "examples": shots, "draw": draw}
                    row |= accuracies(model, texts, truth, len(head.labels))
                found.append(row | {"seconds": round(time.perf_counter() - started, 1)})
                print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    common = Counter(truth.tolist()).most_common(1)[0][0]
    result = {
        "model": given.model.name,
        "table": given.table.name,
        "rows": len(held),
        "always": one_label(truth, np.full_like(truth, common), len(head.labels))["accuracy"].plain(),
        "curve": found,
    }
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "prompting.json").write_text(json.dumps(result, indent=1) + "\n")
        (given.out / "prompting.svg").write_text(picture(result))
    print_json(result)


def picture(result: dict) -> str:
    """Mean accuracy over the draws by number of examples."""
    series = []
    for choose in dict.fromkeys(row["choose"] for row in result["curve"]):
        for name in ("uncalibrated", "calibrated"):
            values: dict[int, list[float]] = {}
            for row in result["curve"]:
                if row["choose"] == choose:
                    values.setdefault(row["examples"], []).append(row[name]["value"])
            points = [(float(shots), statistics.mean(some)) for shots, some in values.items()]
            series.append(Series(f"{choose}, {name}", points))
    title = f"{result['model']} on {result['rows']} rows of {result['table']}"
    return line_chart(series, title=title, x_label="examples", y_label="accuracy")


if __name__ == "__main__":
    main()
