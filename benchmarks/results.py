"""Makes docs/results.md again: every job of the table, by its recipe in recipes/tasks, through the verbs people use.

    python benchmarks/results.py --data ../shared/data                  # all rows that have no result yet, in order
    python benchmarks/results.py --data ../shared/data --only NAME      # these rows, whether they have one or not
    python benchmarks/results.py --data ../shared/data --family linear  # rows of this kind: linear, minilm or scratch
    python benchmarks/results.py --page                                 # only write the page from what is known

`--minutes 2` caps the training of a row (the row then says so: it is no result to compare), `--seeds 3` how many seeds
are run. Results are kept in docs/results.jsonl, one JSON object for each row and seed, appended when it is there:
killed anywhere, the same command goes on with what is missing, and a run that was begun is resumed. A row nobody has
run says "not run". Runs and a copy of the recipes, with the data linked beside them, are kept in --work.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures

ROOT = Path(__file__).parents[1]
RECIPES, KEPT, PAGE = ROOT / "recipes/tasks", ROOT / "docs/results.jsonl", ROOT / "docs/results.md"


@dataclass(frozen=True)
class Row:
    """A job: its recipe, the files it is judged on in words, what it begins with, and how many seeds it is worth.

    before: recipes that must have been run; also: (words, arguments of `textmill evaluate`) of a second score.
    """

    recipe: str
    job: str
    data: str
    start: str
    seeds: int = 1
    before: tuple[str, ...] = ()
    also: tuple[str, tuple[str, ...]] | None = None

    @property
    def family(self) -> str:
        return (
            "linear" if self.recipe.endswith("-linear") else "minilm" if self.start == "MiniLM" else "scratch"
        )


ROWS = (
    Row("classify-sst2-linear", "classify", "sst2, split by containment", "linear", 3),
    Row("classify-chnsenticorp-linear", "classify", "chnsenticorp dev, repeats removed", "linear"),
    Row("classify-tnews-linear", "classify", "tnews dev", "linear"),
    Row("extract-scitldr", "summarise, extractive", "scitldr dev, title forbidden", "MiniLM", 3),
    Row("embed-squad", "embed", "squad-mini dev, questions → passages", "MiniLM", 3),
    Row("tag-wnut17-minilm", "tag", "wnut17 valid", "MiniLM"),
    Row("classify-sst2-minilm", "classify", "sst2, split by containment", "MiniLM"),
    Row(
        "answer-squad",
        "answer, span",
        "squad-mini dev",
        "MiniLM",
        also=("xquad en", ("--data", "xquad/en.dev.json", "--format", "squad")),
    ),
    Row("classify-sst2-scratch", "classify", "sst2, split by containment", "scratch"),
    Row("classify-chnsenticorp-scratch", "classify", "chnsenticorp dev, repeats removed", "scratch"),
    Row("classify-tnews-scratch", "classify", "tnews dev", "scratch"),
    Row("tag-weibo", "tag", "weibo-ner valid", "scratch, masked pretraining"),
    Row("embed-cmrc", "embed", "cmrc, questions → passages, by group", "scratch"),
    Row("summarize-scitldr", "summarise, abstractive", "scitldr dev, title forbidden", "scratch"),
    Row("translate-multi30k", "translate en→de", "multi30k test_2016", "scratch, Transformer"),
    Row("translate-multi30k-gru", "translate en→de", "multi30k test_2016", "scratch, GRU with attention"),
    Row("translate-tatoeba-en-zh", "translate en→zh", "tatoeba valid", "scratch"),
    Row("translate-tatoeba-zh-en", "translate zh→en", "tatoeba valid", "scratch"),
    Row(
        "translate-tatoeba-zh-en-back",
        "translate zh→en, back-translation",
        "tatoeba valid",
        "scratch",
        before=("translate-tatoeba-en-zh",),
    ),
)


# --- running ------------------------------------------------------------------------------------------------------
class Bench:
    """A folder with the recipes and, beside them, links to the data; and the verbs in it."""

    def __init__(self, work: Path, data: Path) -> None:
        self.work, self.data = work, data
        self.recipes = work / "recipes"
        self.recipes.mkdir(parents=True, exist_ok=True)
        for recipe in RECIPES.glob("*.toml"):
            shutil.copyfile(recipe, self.recipes / recipe.name)
        for folder in (path for path in data.iterdir() if path.is_dir()):
            self._link(folder, folder.name)
        self._link(data / "cmrc2018", "cmrc")
        self._chinese()

    def _link(self, target: Path, name: str) -> None:
        link = self.recipes / name
        if not link.exists():
            link.symlink_to(target.absolute(), target_is_directory=True)

    def _chinese(self) -> None:
        """Chinese text of the training parts, for masked pretraining: nothing of what a row is judged on."""
        folder = self.recipes / "chinese"
        folder.mkdir(exist_ok=True)
        for name in ("chnsenticorp", "tnews", "thucnews10", "csl-category"):
            if not (link := folder / f"{name}.tsv.gz").exists():
                link.symlink_to((self.data / name / "train.tsv.gz").absolute())

    def textmill(self, *arguments: str) -> dict[str, Any]:
        """What a command says as JSON. Raises RuntimeError with the end of what it said otherwise."""
        command = [sys.executable, "-m", "textmill", *arguments, "--json", "--work", str(self.work / "work")]
        done = subprocess.run(command, cwd=self.recipes, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {(done.stderr or done.stdout)[-2000:]}")
        return json.loads(done.stdout)

    def back_translated(self) -> None:
        """English sentences of Multi30k, put into Chinese by the model of the other direction."""
        made = self.recipes / "back.jsonl"
        if made.exists():
            return
        import gzip

        english = gzip.decompress((self.data / "multi30k/train.en.txt.gz").read_bytes()).decode()
        (self.recipes / "english.txt").write_text(
            "\n".join(english.splitlines()[:10_000]) + "\n", encoding="utf-8"
        )
        command = [sys.executable, "-m", "textmill", "translate", "translate-tatoeba-en-zh", "english.txt"]
        with open(made.with_suffix(".part"), "wb") as out:
            subprocess.run(
                [*command, "--work", str(self.work / "work")], cwd=self.recipes, stdout=out, check=True
            )
        made.with_suffix(".part").rename(made)

    def run(self, row: Row, seed: int, minutes: float | None) -> dict[str, Any]:
        """Train and score one row with one seed."""
        for before in row.before:
            self.textmill("run", f"{before}.toml")
        if row.before:
            self.back_translated()
        capped = [] if minutes is None else ["--set", f"training.minutes={minutes}"]
        name = row.recipe + (f"-seed{seed}" if seed else "") + ("" if minutes is None else f"-{minutes:g}min")
        arguments = ["run", f"{row.recipe}.toml", "--set", f"seed={seed}", "--set", f"name={name}", *capped]
        began = time.monotonic()
        said = self.textmill(*arguments)
        last = said["phases"][-1] if "phases" in said else said
        scores = last["scores"]
        result = {
            "row": row.recipe,
            "seed": seed,
            "minutes": minutes,
            "headline": scores["headline"],
            "table": scores["table"],
            "documents": scores["documents"],
            "seconds": round(time.monotonic() - began),
            "machine": machine(),
            "date": datetime.date.today().isoformat(),
            "command": " ".join(["textmill", *arguments]),
        }
        if row.also is not None:
            words, more = row.also
            second = self.textmill("evaluate", last["run"], *more)
            result["also"] = {"on": words, "headline": second["headline"], "table": second["table"]}
        return result


def machine() -> str:
    """The processor, how many cores of it are used here, and how loaded they were."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return f"{name}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[1]:.0f}"


# --- the page -----------------------------------------------------------------------------------------------------
def kept() -> list[dict[str, Any]]:
    """What is known, the newest of each row, seed and cap."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in KEPT.read_text(encoding="utf-8").splitlines() if KEPT.exists() else ():
        result = json.loads(line)
        found[result["row"], result["seed"], result["minutes"]] = result
    return list(found.values())


def page(results: list[dict[str, Any]]) -> str:
    """The table, from what is known; what is not says so."""
    lines = [
        "# Results",
        "",
        "What the recipes of `recipes/tasks/` reach on public data, through the verbs anybody uses; remade by",
        "`python benchmarks/results.py --data FOLDER` (`--help`: how to run one row). A score has its interval (95 %,",
        "bootstrap over the held-out records); of several seeds the mean and the range. A row nobody has run says so.",
        "",
        "| job | data | from | score | baselines | seeds | time | machine, date | command |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        runs = [result for result in results if result["row"] == row.recipe]
        whole = [result for result in runs if result["minutes"] is None]
        lines.append(_line(row, whole or runs))
        if also := [result for result in (whole or runs) if "also" in result]:
            lines.append(
                _line(row, [result | result["also"] for result in also], row.also[0] if row.also else "")
            )
    return "\n".join([*lines, *figures.table(results)]) + "\n"


def _line(row: Row, results: list[dict[str, Any]], data: str = "") -> str:
    first = f"| {row.job} | {data or row.data} | {row.start} |"
    command = f"`textmill run {row.recipe}.toml`"
    if not results:
        return f"{first} not run | | | | | {command} |"
    own = [result["table"][0] for result in results]
    newest = max(results, key=lambda result: result["date"])
    values = [each["value"] for each in own]
    score = f"**{statistics.mean(values):.3f}** {newest['headline']}"
    if len(values) > 1:
        score += f", {min(values):.3f} to {max(values):.3f} over seeds"
    score += f" ({own[0]['low']:.3f} to {own[0]['high']:.3f})"
    baselines = "; ".join(f"{each['name']} {each['value']:.3f}" for each in newest["table"][1:])
    seconds = statistics.mean(result["seconds"] for result in results)
    cap = "" if newest["minutes"] is None else f", training cut to {newest['minutes']:g} min"
    where = f"{newest['machine']}; {newest['date']}"
    return (
        f"{first} {score} | {baselines} | {len(values)} | {seconds / 60:.1f} min{cap} | {where} | {command} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("work/results"))
    parser.add_argument("--only", nargs="*", choices=[row.recipe for row in ROWS])
    parser.add_argument("--family", choices=sorted({row.family for row in ROWS}))
    parser.add_argument("--seeds", type=int, help="left out: as many as the row says")
    parser.add_argument("--minutes", type=float, help="cap of the training of each row")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    if not options.page and options.data is None:
        parser.error("--data says where the data sets are")
    failed = 0
    if not options.page:
        bench = Bench(options.work.absolute(), options.data)
        for row in ROWS:
            if row.recipe in (options.only or [row.recipe]) and options.family in (None, row.family):
                failed += _all_seeds(bench, row, options)
    PAGE.write_text(page(kept()), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)
    sys.exit(1 if failed else 0)


def _all_seeds(bench: Bench, row: Row, options: argparse.Namespace) -> int:
    """Run what is missing of a row, and keep each result at once; how many failed."""
    failed = 0
    there = {(result["row"], result["seed"], result["minutes"]) for result in kept()}
    for seed in range(options.seeds or row.seeds):
        if options.only is None and (row.recipe, seed, options.minutes) in there:
            continue
        print(f"{row.recipe}, seed {seed}", file=sys.stderr)
        try:
            result = bench.run(row, seed, options.minutes)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        with open(KEPT, "a", encoding="utf-8") as file:
            file.write(json.dumps(result, ensure_ascii=False) + "\n")
        PAGE.write_text(page(kept()), encoding="utf-8")
    return failed


if __name__ == "__main__":
    main()
