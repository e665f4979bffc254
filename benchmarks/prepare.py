"""Preparing text end to end: cleaned, filtered by quality, near-duplicates out; beside datatrove in the same run.

    python benchmarks/prepare.py [--megabytes 50] [--data ../shared/data] [--workers 2] [--rounds 2] [--folder DIR]

The text is what the data folder holds of English novels, news and Wikipedia and, for the rest, the standard library
of the running Python with its tests, cut into documents of 2 to 20 kB. One in twenty is there a second time with some
words changed; of these pairs the exact Jaccard similarity of their runs of five words is at least 0.8. Both sides
read the same JSON lines with as many processes and write what they keep: Textmill with its default cleaning, Gopher's
rules and near-duplicates; datatrove with Gopher's two filters and its four steps of MinHash, both as they come.
Recall is over the pairs of which both documents passed the filters: the share of which only one is kept. Textmill
runs before and after the peer. Where datatrove (with spaCy and xxhash) is missing, it is left out. Prints one JSON
object.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

FILES = 8  # of JSON lines, so that both sides can share them out
SHORTEST, LONGEST = 2000, 20_000  # characters of a document
PLANTED = 0.05
SIMILARITY, SHINGLE = 0.8, 5
WORD = re.compile(r"\w+")


# --- the text -----------------------------------------------------------------------------------------------------
def texts(data: Path) -> Iterator[str]:
    """Real text, prose before code."""
    for path in sorted((data / "english-novels").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from (json.loads(line)["text"] for line in lines)
    for path in (data / "wikitext2" / "valid.txt.gz", data / "agnews" / "train.tsv.gz"):
        if path.exists():
            yield gzip.decompress(path.read_bytes()).decode("utf-8")
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" not in path.parts:
            try:
                yield path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def documents(data: Path, size: int, rng: random.Random) -> Iterator[str]:
    """Pieces of 2 to 20 kB that end with a line, `size` characters in all."""
    waiting, length, wanted = [], 0, SHORTEST
    for text in texts(data):
        for line in text.splitlines(keepends=True):
            waiting.append(line)
            length += len(line)
            if length >= wanted:
                yield "".join(waiting)
                size -= length
                if size <= 0:
                    return
                waiting, length, wanted = [], 0, int(SHORTEST * (LONGEST / SHORTEST) ** rng.random())
        if length < SHORTEST:
            continue  # goes on with the next text
        yield "".join(waiting)
        size -= length
        waiting, length = [], 0


def similarity(one: str, other: str) -> float:
    """Exact Jaccard similarity of two texts as sets of runs of words."""
    sets = []
    for text in (one, other):
        words = WORD.findall(text.lower())
        sets.append({tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def near_copy(text: str, rng: random.Random) -> str | None:
    """The text with up to one word in fifty replaced by another of its words; None when too little is left the same."""
    words = list(WORD.finditer(text))
    pieces, at = [], 0
    for place in sorted(rng.sample(range(len(words)), rng.randrange(1, max(2, len(words) // 45)))):
        pieces += [text[at : words[place].start()], rng.choice(words).group()]
        at = words[place].end()
    copy = "".join(pieces) + text[at:]
    return copy if copy != text and similarity(text, copy) >= SIMILARITY else None


def write_input(folder: Path, data: Path, size: int) -> tuple[list[tuple[str, str]], dict]:
    """JSON lines of `id` and `text`; the planted pairs of ids, and what there is."""
    rng = random.Random(0)
    rows, pairs = [], []
    for number, text in enumerate(documents(data, size, rng)):
        rows.append({"id": f"d{number}", "text": text})
        if rng.random() < PLANTED and (copy := near_copy(text, rng)):
            rows.append({"id": f"n{number}", "text": copy})
            pairs.append((f"d{number}", f"n{number}"))
    rng.shuffle(rows)
    folder.mkdir()
    for at in range(FILES):
        with open(folder / f"{at:05d}.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows[at::FILES])
    total = sum(len(row["text"].encode()) for row in rows)
    return pairs, {"documents": len(rows), "megabytes": round(total / 1e6, 2), "planted": len(pairs)}


# --- the sides ----------------------------------------------------------------------------------------------------
def textmill(base: Path, workers: int) -> dict:
    """Seconds, ids that passed the filters, and ids that were kept."""
    from textmill.specs.cleaning import GopherStep, NearDuplicatesStep
    from textmill.specs.corpus import CorpusSpec, FilesSource, SplitSpec
    from textmill.text.corpus import build
    from textmill.text.corpus.corpus import Corpus

    source = FilesSource(paths=("in",), metadata_fields=("id",))
    steps = (*CorpusSpec(sources=()).steps, GopherStep(), NearDuplicatesStep(similarity=SIMILARITY))
    split = SplitSpec(validation=0, test=0)
    with tempfile.TemporaryDirectory(dir=base) as folder:
        target = Path(folder) / "corpus"
        target.mkdir()
        start = time.perf_counter()
        spec = CorpusSpec(sources=(source,), steps=steps, split=split)
        build.build(target, spec, base, Path(folder) / "parts", run=build.processes(workers))
        seconds = time.perf_counter() - start
        kept = {document.metadata["id"] for document in Corpus(target).documents("train")}
        with open(target / "rejected.jsonl", encoding="utf-8") as lines:
            aside = [record for record in map(json.loads, lines) if record["step"] == "near-duplicates"]
    return {"seconds": seconds, "kept": kept, "near": {record["source"] for record in aside}}


def datatrove(base: Path, workers: int) -> dict[str, float]:
    """Seconds of each step; what it writes is in `filtered` and `kept`."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig as Config
    from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config, filtered = Config(), str(base / "filtered")
    signatures, buckets, remove = (str(base / name) for name in ("signatures", "buckets", "remove"))
    out = "${rank}.jsonl"
    steps = {
        "filters": (
            FILES,
            [
                JsonlReader(str(base / "in")),
                GopherRepetitionFilter(),
                GopherQualityFilter(),
                JsonlWriter(filtered, output_filename=out, compression=None),
            ],
        ),
        "signatures": (FILES, [JsonlReader(filtered), MinhashDedupSignature(signatures, config)]),
        "buckets": (config.num_buckets, [MinhashDedupBuckets(signatures, buckets, config=config)]),
        "clusters": (1, [MinhashDedupCluster(buckets, remove, config=config)]),
        "duplicates": (
            FILES,
            [
                JsonlReader(filtered),
                MinhashDedupFilter(remove),
                JsonlWriter(str(base / "kept"), output_filename=out, compression=None),
            ],
        ),
    }
    seconds = {}
    for name, (tasks, pipeline) in steps.items():
        start = time.perf_counter()
        logs = str(base / "logs" / name)
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=workers, logging_dir=logs).run()
        seconds[name] = round(time.perf_counter() - start, 2)
    return seconds


def ids(folder: Path) -> set[str]:
    """The ids of all documents in a folder of JSON lines."""
    return {
        json.loads(line)["id"]
        for path in folder.glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    }


def recall(pairs: list[tuple[str, str]], passed: set[str], kept: set[str]) -> dict:
    """Of the pairs that passed the filters: how many are told."""
    both = [pair for pair in pairs if pair[0] in passed and pair[1] in passed]
    found = sum(not (one in kept and other in kept) for one, other in both)
    return {"pairs": len(both), "recall": round(found / len(both), 4) if both else None}


def places(folder: Path) -> dict[str, str]:
    """Where each document stands, as a corpus tells it -> its id."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found[f"in/{path.name}:line {number}"] = json.loads(line)["id"]
    return found


def peer(base: Path, workers: int) -> dict[str, float] | str:
    """Run datatrove in a process of its own; the seconds of its steps, or why there are none."""
    missing = [name for name in ("datatrove", "spacy", "xxhash") if find_spec(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    command = [sys.executable, __file__, "--datatrove", str(base), "--workers", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr[-500:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--datatrove", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.datatrove:
        print(json.dumps(datatrove(options.datatrove, options.workers)))
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        base = Path(folder)
        pairs, text = write_input(base / "in", options.data, int(options.megabytes * 1e6))
        runs = [textmill(base, options.workers)]
        theirs = peer(base, options.workers)
        runs += [textmill(base, options.workers) for _ in range(options.rounds - 1)]
        names = places(base / "in")
        removed = {names[place] for place in runs[0]["near"]}
        rates = [round(text["megabytes"] / run["seconds"], 2) for run in runs]
        report = {
            "text": text,
            "workers": options.workers,
            "textmill": {
                "mb_per_s": rates,
                "kept": len(runs[0]["kept"]),
                "near_duplicates": len(removed),
                "not_planted": len(removed - {name for pair in pairs for name in pair}),
                **recall(pairs, runs[0]["kept"] | removed, runs[0]["kept"]),
            },
            "datatrove": theirs,
        }
        if isinstance(theirs, dict):
            kept, filtered = ids(base / "kept"), ids(base / "filtered")
            rate = text["megabytes"] / sum(theirs.values())
            report["datatrove"] = {
                "version": version("datatrove"),
                "mb_per_s": round(rate, 3),
                "seconds": theirs,
                "kept": len(kept),
                "near_duplicates": len(filtered - kept),
                "not_planted": len(filtered - kept - {name for pair in pairs for name in pair}),
                **recall(pairs, filtered, kept),
            }
            report["times_as_fast"] = round(sum(rates) / len(rates) / rate, 1)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
