"""Figures that other benchmarks print, kept beside those of recipes: the second table of docs/results.md.

    python benchmarks/figures.py preferences-dpo-en printed.json      # keep what a command printed, and write the page

The commands stand in FIGURES, as they were run; {smollm2}, {gemma} and {minilm} are the models' files, {data} the data
sets. A figure nobody has measured says "not run".
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DPO = (
    "python benchmarks/preferences.py recipes/tuning/preferences-dpo-lora.toml {data}/preference/{pairs}.jsonl.gz "
    "--out FOLDER --folds {folds} --most {most} --set start.model={smollm2} --set training.sequence={sequence} "
    "--set training.batch=4 --set training.steps={steps} --set training.optimizer.lr=5e-4 "
    "--set 'tuning.targets=[\"blocks.20-29\"]' --set training.evaluate_every=1000 --set generation.tokens=32"
)
SST2 = (
    "python benchmarks/prompting.py {model} {data}/sst2/dev.tsv --columns sentence,label --words 0=negative,1=positive "
    '--form "Review: {text}\\nSentiment: {label}" --draws 1 --out FOLDER'
)
AGNEWS = (
    "python benchmarks/prompting.py {model} {data}/agnews/train.tsv.gz --columns 1,2 "
    '--form "News: {text}\\nTopic: {label}" --draws 1 --shots {shots} --out FOLDER'
)
CODE = "textmill evaluate {model} --data {data}"
LINEAR = "OMP_NUM_THREADS=1 python benchmarks/linear.py --data {data} --sets {set}"
FEW = (
    "python benchmarks/fewshot.py --data {data} --encoder {minilm} --setfit PYTHON "
    "--sets {set} --shots {shots} --seeds 1"
)


@dataclass(frozen=True)
class Figure:
    """What is measured, on what data, of which model, and by which command."""

    job: str
    data: str
    of: str
    command: str


def _filled(command: str, **values: object) -> str:
    """A command with some of its {names} filled in."""
    for name, value in values.items():
        command = command.replace(f"{{{name}}}", str(value))
    return command


FIGURES = {
    "preferences-dpo-en": Figure(
        "preferences, reward accuracy",
        "dpo_en_demo, 150 pairs, the first 48 tokens of an answer, 5 folds",
        "SmolLM2-135M-Instruct, DPO, LoRA in 10 of 30 blocks",
        _filled(DPO, pairs="dpo_en_demo", folds=5, most=150, sequence=96, steps=30),
    ),
    "preferences-hh": Figure(
        "preferences, reward accuracy",
        "hh_harmless, 100 pairs, dialogues of up to 192 tokens, 2 folds",
        "SmolLM2-135M-Instruct, DPO, LoRA in 10 of 30 blocks",
        _filled(DPO, pairs="hh_harmless", folds=2, most=100, sequence=192, steps=13),
    ),
    "prompts-sst2-smollm2": Figure(
        "prompts, accuracy by number of examples",
        "sst2 dev, 500 rows",
        "SmolLM2-135M-Instruct",
        _filled(SST2, model="{smollm2}"),
    ),
    "prompts-sst2-gemma": Figure(
        "prompts, accuracy by number of examples",
        "sst2 dev, 500 rows",
        "Gemma-3-270M",
        _filled(SST2, model="{gemma}"),
    ),
    "prompts-agnews-smollm2": Figure(
        "prompts, accuracy by number of examples",
        "agnews, 500 rows",
        "SmolLM2-135M-Instruct",
        _filled(AGNEWS, model="{smollm2}", shots="0,4 --choose random,bm25"),
    ),
    "prompts-agnews-gemma": Figure(
        "prompts, accuracy by number of examples",
        "agnews, 500 rows",
        "Gemma-3-270M",
        _filled(AGNEWS, model="{gemma}", shots="0,4"),
    ),
    "code-humaneval-smollm2": Figure(
        "code, greedy",
        "HumanEval, 164 problems",
        "SmolLM2-135M-Instruct",
        _filled(CODE, model="{smollm2}", data="{data}/humaneval/HumanEval.jsonl"),
    ),
    "code-mbpp-smollm2": Figure(
        "code, greedy",
        "MBPP validation, 90 problems",
        "SmolLM2-135M-Instruct",
        _filled(CODE, model="{smollm2}", data="{data}/mbpp/valid.jsonl"),
    ),
    "code-humaneval-40-smollm2": Figure(
        "code, 10 samples at temperature 0.8",
        "HumanEval, the first 40 problems",
        "SmolLM2-135M-Instruct",
        "head -40 {data}/humaneval/HumanEval.jsonl > 40.jsonl; "
        + _filled(CODE, model="{smollm2}", data="40.jsonl --samples 10"),
    ),
    "code-humaneval-stdlib": Figure(
        "code, greedy",
        "HumanEval, 164 problems",
        "3 million weights, 10 minutes on Python's standard library",
        "textmill run recipes/python-stdlib.toml --set model.size=3M --set training.minutes=10 "
        "--set training.steps=20000 --set 'training.schedule={kind=\"wsd\"}' --set training.batch=4 "
        "--set 'training.optimizer={kind=\"adamw\", lr=0.003}' --set name=stdlib; "
        + _filled(CODE, model="stdlib", data="{data}/humaneval/HumanEval.jsonl"),
    ),
    "predict-throughput": Figure(
        "predict, rows a second by those of transformers",
        "128 texts of mixed length",
        "MiniLM; a Marian drawn at random",
        "python benchmarks/predict.py --model {minilm} --rows 128 --turns 2",
    ),
    **{
        f"linear-{name}": Figure(
            "linear family, accuracy and processor seconds of the fit",
            f"{name}, dealt by the benchmark",
            "n-grams of words, tf-idf",
            _filled(LINEAR, set=name),
        )
        for name in ("sst2", "chnsenticorp", "tnews", "agnews")
    },
    **{
        f"few-shot-{name}-{shots}": Figure(
            "few labels, accuracy and processor seconds of training",
            f"{name}, {shots} a class, 400 test texts",
            "MiniLM",
            _filled(FEW, set=name, shots=shots),
        )
        for name in ("sst2", "agnews")
        for shots in (8, 16, 64)
    },
}


def told(printed: dict[str, Any]) -> dict[str, Any]:
    """What the table says of the JSON that a benchmark, or `textmill evaluate`, printed: its score, what stands
    beside it, and how many processor seconds it took where that is known."""
    if "curve" in printed:
        return _of_prompts(printed)
    if "reward accuracy" in printed:
        return _of_preferences(printed)
    if "sets" in printed:
        return _of_linear_models(printed["sets"])
    raced = {name: one for name, one in printed.items() if isinstance(one, dict) and "rows_per_second" in one}
    if raced:
        return _of_throughput(raced)
    few = {name: one for name, one in printed.items() if isinstance(one, dict) and "ours" in one}
    if few:
        return _of_few_labels(few)
    scores = [f"{name} {_score(row)}" for name, row in printed["details"].items()]
    ends = ", ".join(f"{count} {name}" for name, count in printed.get("outcomes", {}).items())
    return {"score": "; ".join(scores), "beside": ends, "seconds": None}


def _of_prompts(printed: dict[str, Any]) -> dict[str, Any]:
    points = [
        f"{row['choose']} {row['examples']}: {_score(row['uncalibrated'])}, calibrated {_score(row['calibrated'])}"
        for row in printed["curve"]
    ]
    seconds = sum(row["processor_seconds"] for row in printed["curve"])
    beside = f"always one {_score(printed['always'])}"
    return {"score": "; ".join(points), "beside": beside, "seconds": seconds}


def _of_preferences(printed: dict[str, Any]) -> dict[str, Any]:
    plain = {
        name: value for name, value in printed.items() if isinstance(value, dict) and "interval" in value
    }
    first, *others = (f"{name} {_interval(value)}" for name, value in plain.items())
    moved = [
        f"{name} {value:.2f}"
        for name, value in printed.items()
        if name.startswith(("KL", "tokens per answer"))
    ]
    return {"score": first, "beside": "; ".join(others + moved), "seconds": printed["processor_seconds"]}


def _of_linear_models(sets: dict[str, Any]) -> dict[str, Any]:
    rows = [row for some in sets.values() for row in some]
    ours, *theirs = (
        "; ".join(f"{row[who]['accuracy']:.1f} %, {row[who]['processor']:.1f} s" for row in rows)
        for who in ("tf-idf", "LogisticRegression", "LinearSVC")
    )
    beside = f"scikit-learn at our penalty, not searched for: LogisticRegression {theirs[0]}; LinearSVC {theirs[1]}"
    return {"score": ours, "beside": beside, "seconds": sum(row["tf-idf"]["processor"] for row in rows)}


def _of_throughput(raced: dict[str, Any]) -> dict[str, Any]:
    """One line of each job: how many times as many rows as each way of the other."""
    scores = [
        f"{job} " + ", ".join(f"{times} ({way})" for way, times in one["ratio"].items())
        for job, one in raced.items()
    ]
    rates = [f"{job} {one['rows_per_second']['textmill']} rows/s" for job, one in raced.items()]
    return {"score": "; ".join(scores), "beside": "; ".join(rates), "seconds": None}


def _of_few_labels(few: dict[str, Any]) -> dict[str, Any]:
    def sides(who: str) -> str:
        return "; ".join(
            f"{one[who]['accuracy']:.1f} %, {one[who]['processor']:.0f} s" for one in few.values()
        )

    seconds = sum(one["ours"]["processor"] for one in few.values())
    return {"score": sides("ours"), "beside": f"SetFit {sides('setfit')}", "seconds": seconds}


def _score(row: dict[str, Any]) -> str:
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def _interval(value: dict[str, Any]) -> str:
    low, high = value["interval"]
    return f"{value['value']:.3f} ({low:.3f} to {high:.3f})"


def table(results: list[dict[str, Any]]) -> list[str]:
    """The lines of the page."""
    known = {result["row"]: result for result in results if result["row"] in FIGURES}
    lines = [
        "",
        "## Figures of single benchmarks",
        "",
        "Kept by `python benchmarks/figures.py NAME FILE`; {smollm2}, {gemma}, {minilm}: models' files; {data}: the "
        "data sets.",
        "",
        "| what | data | model | figure | beside it | processor time | machine, date | command |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, figure in FIGURES.items():
        about = f"| {figure.job} | {figure.data} | {figure.of} |"
        if name not in known:
            lines.append(f"{about} not run | | | | `{figure.command}` |")
            continue
        one = known[name]
        time = "" if one["seconds"] is None else f"{one['seconds'] / 60:.1f} min"
        where = f"{one['machine']}; {one['date']}"
        lines.append(
            f"{about} **{one['score']}** | {one['beside']} | {time} | {where} | `{figure.command}` |"
        )
    return lines


def main() -> None:
    from results import KEPT, PAGE, kept, machine, page

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=FIGURES)
    parser.add_argument("printed", type=Path, help="what the command printed, as JSON")
    given = parser.parse_args()
    printed = json.loads(given.printed.read_text(encoding="utf-8"))
    result = {"row": given.name, "seed": 0, "minutes": None, **told(printed)}
    result |= {"machine": printed.get("machine", machine())}
    result |= {"date": printed.get("date", datetime.date.today().isoformat())}
    with open(KEPT, "a", encoding="utf-8") as file:
        file.write(json.dumps(result, ensure_ascii=False) + "\n")
    PAGE.write_text(page(kept()), encoding="utf-8")
    print(f"kept {given.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
