"""Makes docs/results.md again: every job of the table, by its recipe in recipes/tasks, through the verbs people use.

    python benchmarks/results.py --data ../shared/data                  # all rows that have no result yet, in order
    python benchmarks/results.py --data ../shared/data --only NAME      # these rows, whether they have one or not
    python benchmarks/results.py --data ../shared/data --family linear  # this kind: linear, minilm, tuned or scratch
    python benchmarks/results.py --page                                 # only write the page from what is known

`--minutes 2` caps the training of a row (the row then says so: it is no result to compare), `--seeds 3` how many seeds
are run. Results are kept in docs/results.jsonl, one JSON object for each row and seed, appended when it is there:
killed anywhere, the same command goes on with what is missing, and a run that was begun is resumed. A row nobody has
run says "not run". Runs and a copy of the recipes, with the data linked beside them, are kept in --work.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures

ROOT = Path(__file__).parents[1]
RECIPES, KEPT, PAGE = ROOT / "recipes/tasks", ROOT / "docs/results.jsonl", ROOT / "docs/results.md"
START = "the model it began with"  # a baseline of what is tuned


@dataclass(frozen=True)
class Also:
    """Further rows that a model is judged on: in words, the arguments of `textmill evaluate`, the scores that are told.

    scores: none: the headline alone; start: a published model, whose scores on the same rows stand beside.
    """

    words: str
    arguments: tuple[str, ...]
    scores: tuple[str, ...] = ()
    start: str | None = None


@dataclass(frozen=True)
class Row:
    """A job: its recipe, the files it is judged on in words, what it begins with, and how many seeds it is worth.

    before: recipes that must have been run; scores: those of the same evaluation that have a line, besides the
    headline; also: what else it is judged on; talk: what a person says to it, whose answers are shown as they came.
    """

    recipe: str
    job: str
    data: str
    start: str
    seeds: int = 1
    before: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    also: tuple[Also, ...] = ()
    talk: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        if self.recipe.endswith("-linear"):
            return "linear"
        return "minilm" if self.start == "MiniLM" else "tuned" if "LoRA" in self.start else "scratch"


def _kept_language(model: str) -> tuple[Also, ...]:
    """What tuning on conversations may cost: grammar and the last word of a passage, samples of fixed size."""
    return (
        Also("blimp, the first 10 pairs of each of 67 paradigms", ("--data", "few/blimp.jsonl"), (), model),
        Also("lambada, the first 200 passages", ("--data", "few/lambada.jsonl"), (), model),
    )


def _calls(language: str, words: str) -> Also:
    """Where a tool is called in unseen conversations."""
    rows = ("--data", f"calls/test.{language}.jsonl", "--format", "chat", "--task", "chat")
    return Also(
        f"tool-calls, {words}, 30 unseen calls", rows, ("valid calls", "right tools", "right calls"), SMOL
    )


SMOL = "smollm2-135m-instruct"


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
        also=(Also("xquad en", ("--data", "xquad/en.dev.json", "--format", "squad")),),
    ),
    Row("classify-sst2-scratch", "classify", "sst2, split by containment", "scratch"),
    Row("classify-chnsenticorp-scratch", "classify", "chnsenticorp dev, repeats removed", "scratch"),
    Row("classify-tnews-scratch", "classify", "tnews dev", "scratch"),
    Row("tag-weibo", "tag", "weibo-ner valid", "scratch, masked pretraining"),
    Row("embed-cmrc", "embed", "cmrc, questions → passages, by group", "scratch"),
    Row("summarize-scitldr", "summarise, abstractive", "scitldr dev, title forbidden", "scratch"),
    Row("translate-multi30k", "translate en→de", "multi30k test_2016", "scratch, Transformer"),
    Row("translate-multi30k-gru", "translate en→de", "multi30k test_2016", "scratch, GRU with attention"),
    Row("translate-tatoeba-en-zh", "translate en→zh", "tatoeba valid", "scratch", scores=("chrF",)),
    Row("translate-tatoeba-zh-en", "translate zh→en", "tatoeba valid", "scratch", scores=("chrF",)),
    Row(
        "translate-tatoeba-zh-en-back",
        "translate zh→en, back-translation",
        "tatoeba valid",
        "scratch",
        before=("translate-tatoeba-en-zh",),
        scores=("chrF",),
    ),
    Row(
        "chat-alpaca",
        "chat",
        "instruct-en, 208 kept back",
        "SmolLM2-135M, LoRA over 8 bits",
        scores=("nats saved",),
        also=_kept_language(SMOL),
    ),
    Row(
        "chat-tools",
        "chat, calls of tools",
        "tool-calls, en and zh",
        "SmolLM2-135M, LoRA",
        also=(_calls("en", "English"), _calls("zh", "Chinese")),
    ),
    Row(
        "chat-zh",
        "chat, Chinese",
        "instruct-zh, 82 kept back",
        "Gemma-3-270M, LoRA, template added",
        scores=("nats saved",),
        talk=(
            "你好！请用一句话介绍一下你自己。",
            "中国的首都是哪里？",
            "那里有什么好玩的地方？请推荐三个。",
            "如果我只有一天时间，应该先去哪一个？为什么？",
            "谢谢！请用一句话祝我旅途愉快。",
        ),
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
        self._few()
        self._calls()

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

    def _few(self) -> None:
        """Samples of what is long to read."""
        (folder := self.recipes / "few").mkdir(exist_ok=True)
        seen: Counter[str] = Counter()
        with open(folder / "blimp.jsonl", "w", encoding="utf-8") as file:
            for line in self._lines("blimp/blimp_sample.jsonl.gz"):
                seen[json.loads(line)["UID"]] += 1
                if seen[json.loads(line)["UID"]] <= 10:
                    file.write(line)
        passages = self._lines("zeroshot/lambada_openai.jsonl.gz")[:200]
        (folder / "lambada.jsonl").write_text("".join(passages), encoding="utf-8")

    def _calls(self) -> None:
        """Conversations up to their first call of a tool, each call once: many stand in the files several times."""
        (folder := self.recipes / "calls").mkdir(exist_ok=True)
        for language in ("en", "zh"):
            made: dict[str, str] = {}
            for line in self._lines(f"tool-calls/glaive_toolcall_{language}_demo.jsonl.gz"):
                row = json.loads(line)
                turns = row["conversations"]
                call = next((at for at, turn in enumerate(turns) if turn["from"] == "function_call"), None)
                if call is not None:
                    row["conversations"] = turns[: call + 1]
                    made.setdefault(turns[call]["value"], json.dumps(row, ensure_ascii=False) + "\n")
            rows = list(made.values())
            random.Random(0).shuffle(rows)
            for part, some in (("test", rows[:30]), ("train", rows[30:])):
                (folder / f"{part}.{language}.jsonl").write_text("".join(some), encoding="utf-8")

    def _lines(self, name: str) -> list[str]:
        return gzip.decompress((self.data / name).read_bytes()).decode().splitlines(keepends=True)

    def textmill(self, *arguments: str) -> dict[str, Any]:
        """What a command says as JSON. Raises RuntimeError with the end of what it said otherwise."""
        command = [sys.executable, "-m", "textmill", *arguments, "--json", "--work", str(self.work / "work")]
        done = subprocess.run(command, cwd=self.recipes, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {(done.stderr or done.stdout)[-2000:]}")
        return json.loads(done.stdout)

    def back_translated(self) -> None:
        """English sentences that nobody has put into Chinese, put there by the model of the other direction."""
        made = self.recipes / "back.jsonl"
        if made.exists():
            return
        english = self._english(12_000)
        (self.recipes / "english.txt").write_text("".join(f"{line}\n" for line in english), encoding="utf-8")
        command = [sys.executable, "-m", "textmill", "translate", "translate-tatoeba-en-zh", "english.txt"]
        with open(made.with_suffix(".part"), "wb") as out:
            subprocess.run(
                [*command, "--work", str(self.work / "work")], cwd=self.recipes, stdout=out, check=True
            )
        made.with_suffix(".part").rename(made)

    def _english(self, number: int) -> list[str]:
        """Short sentences such as people say, from dialogues and novels: of no pair."""
        dialogues = (json.loads(line)["dialogue"] for line in self._lines("dialogsum/dev.jsonl.gz"))
        spoken = [turn.partition(": ")[2] for dialogue in dialogues for turn in dialogue.splitlines()]
        novels = (json.loads(line)["text"] for line in self._lines("english-novels/train.jsonl.gz"))
        told = [said for text in novels for said in re.findall(r'"([A-Z][^"]+[.?!])"', text)]
        sentences = [
            " ".join(part.split()) for said in spoken + told for part in re.split(r"(?<=[.?!])\s+", said)
        ]
        whole = re.compile(r"[A-Z][A-Za-z0-9,' ]*[a-z0-9][.?!]")
        short = sorted({part for part in sentences if whole.fullmatch(part) and 3 <= len(part.split()) <= 12})
        return random.Random(0).sample(short, number)

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
        result["also"] = [_told(row.data, scores, name) for name in row.scores]
        for also in row.also:
            report = self.textmill("evaluate", last["run"], *also.arguments)
            if also.start is not None:
                before = self.textmill("evaluate", also.start, *also.arguments)
                report["baselines"] = {START: before["details"]}
            names = also.scores or (report["headline"],)
            result["also"] += [_told(also.words, report, name) for name in names]
        if row.talk:
            said = [word for message in row.talk for word in ("--message", message)]
            answers = self.textmill("chat", last["run"], *said)["answers"]
            result["talk"] = [[each["text"], each["finish"]] for each in answers]
        return result


def _told(words: str, report: dict[str, Any], name: str) -> dict[str, Any]:
    """A score of a report as a line has it: of the model, and of the baselines that have it."""
    beside = [(label, scores[name]) for label, scores in report["baselines"].items() if name in scores]
    table = [{"name": label, **score} for label, score in [("this model", report["details"][name]), *beside]]
    return {"on": words, "headline": name, "table": table}


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
    talks = []
    for row in ROWS:
        runs = [result for result in results if result["row"] == row.recipe]
        runs = [result for result in runs if result["minutes"] is None] or runs
        older = runs[-1].get("data", "") if runs else ""  # what it is of, where other rows are dealt now
        lines.append(_line(row, [result for result in runs if "table" in result], older))
        told = [(result, also) for result in runs for also in result.get("also", ())]
        for on, name in dict.fromkeys((also["on"], also["headline"]) for _, also in told):
            same = [result | also for result, also in told if (also["on"], also["headline"]) == (on, name)]
            lines.append(_line(row, same, on))
        talks += [_talk(row, result) for result in runs[:1] if "talk" in result]
    return "\n".join([*lines, *talks, *figures.table(results)]) + "\n"


def _talk(row: Row, result: dict[str, Any]) -> str:
    """A conversation as it came, good or bad."""
    lines = [
        "",
        f"## {row.job}: a conversation",
        "",
        f"{row.start}, after `{result['command']}` ({result['machine']}; {result['date']}); greedy, as it came,",
        "through `textmill chat`; `…` where an answer was cut at its longest.",
    ]
    for said, (answer, finish) in zip(row.talk, result["talk"], strict=True):
        cut = " …" if finish == "length" else ""
        lines += ["", f"**{said}**", "", *(f"> {line}".rstrip() for line in f"{answer}{cut}".splitlines())]
    return "\n".join(lines)


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
    baselines = "; ".join(map(_beside, newest["table"][1:]))
    seconds = statistics.mean(result["seconds"] for result in results)
    cap = "" if newest["minutes"] is None else f", training cut to {newest['minutes']:g} min"
    where = f"{newest['machine']}; {newest['date']}"
    return (
        f"{first} {score} | {baselines} | {len(values)} | {seconds / 60:.1f} min{cap} | {where} | {command} |"
    )


def _beside(baseline: dict[str, Any]) -> str:
    """A baseline; with its interval where the question is how far a model has come from it."""
    interval = f" ({baseline['low']:.3f} to {baseline['high']:.3f})" if baseline["name"] == START else ""
    return f"{baseline['name']} {baseline['value']:.3f}{interval}"


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
