"""How many examples a prompt wants: accuracy over 0 to 8 of them, calibrated and not, of one model on labelled texts.

    python benchmarks/prompting.py MODEL rows.tsv --columns sentence,label --words 0=negative,1=positive \\
        --form "Review: {text}\\nSentiment: {label}" --rows 500 --out folder

MODEL: a model's directory or .gguf file. Rows are drawn by a seed: some are scored, and the examples come of the
others, so that no text is an example for itself. Random examples are drawn anew for each of `--draws`; the nearest
(`--choose random,bm25`) are of all the others, up to 1,000. Beside it: the commonest label, always. Prints one JSON
object, and writes it and the curve to `--out`; a point that stands there is not measured again.
"""

from __future__ import annotations

import argparse
import csv
import datetime
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
from results import machine

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


class Asked:
    """A model, the rows it is scored on, and those that examples are taken from."""

    def __init__(self, given: argparse.Namespace, rows: list[tuple[str, str]]) -> None:
        self.form, self.instruction = given.form.replace("\\n", "\n"), given.instruction
        self.words = dict(pair.split("=", 1) for pair in given.words.split(",") if pair)
        self.head = ClassifyHead(labels=tuple(sorted({label for _, label in rows})))
        number = {label: place for place, label in enumerate(self.head.labels)}
        held = rows[: given.rows]
        self.texts, self.truth = [text for text, _ in held], np.array([number[label] for _, label in held])
        self.pool = [(text, number[label]) for text, label in rows[given.rows : given.rows + 1000]]
        self.base = load(given.model)

    def point(self, choose: str, shots: int, draw: int) -> dict:
        """Accuracy with its interval, as it comes and calibrated, of one draw of examples."""
        examples, began = list(self.pool), time.process_time()
        random.Random(draw).shuffle(examples)
        tuning = PromptingTuning(
            form=self.form, instruction=self.instruction, words=self.words, examples=shots, choose=choose
        )
        with torch.inference_mode():
            model = (
                Prompted(self.base.model, self.head, tuning, self.base.tokenizer, examples).eval().settle()
            )
            found, leaning = model.said(self.texts)
        row: dict = {"choose": choose, "examples": shots, "draw": draw}
        for name, side in (("uncalibrated", found), ("calibrated", found - leaning)):
            guesses = side.argmax(1).numpy()
            row[name] = one_label(self.truth, guesses, len(self.head.labels))["accuracy"].plain()
        seconds = round(time.process_time() - began, 1)
        return row | {"processor_seconds": seconds, "machine": machine(), "date": str(datetime.date.today())}


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
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = rows_of(given.table, tuple(given.columns.split(",")))
    random.Random(0).shuffle(rows)
    asked = Asked(given, rows)
    common = Counter(asked.truth.tolist()).most_common(1)[0][0]
    asked_for = {name: getattr(given, name) for name in ("instruction", "form", "words")}
    result = {"model": given.model.name, "table": given.table.name, "rows": len(asked.texts), **asked_for}
    file = given.out / "prompting.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    same = all(before.get(name) == value for name, value in result.items())
    known = {(one["choose"], one["examples"], one["draw"]): one for one in before["curve"]} if same else {}
    always = one_label(asked.truth, np.full_like(asked.truth, common), len(asked.head.labels))
    result |= {"always": always["accuracy"].plain(), "curve": []}
    for choose in given.choose.split(","):
        for shots in map(int, given.shots.split(",")):
            for draw in range(given.draws if choose == "random" and shots else 1):
                row = known.get((choose, shots, draw)) or asked.point(choose, shots, draw)
                result["curve"].append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
                known[choose, shots, draw] = row
                file.write_text(json.dumps(result | {"curve": list(known.values())}, indent=1) + "\n")
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
