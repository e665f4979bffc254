"""The corpus index: how fast it is built, counted in and traced through, beside infini-gram, in one run.

    python benchmarks/index.py [--tokens 20000000] [--vocabulary 16384] [--threads 1] [--folder DIR]

The text is the standard library of the running Python as byte-level BPE; where that is not enough, pieces of 4 to 40
of its tokens are put together at random, so that short runs are as frequent as in real text. Both sides index the same
tokens with the same number of threads and are asked the same runs, half of them changed in one token, in turn.
Where infini-gram is missing, the peer is `bytes.count` over all tokens. Prints one JSON object. 100 M tokens take
2 GB of memory and as much disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

LENGTHS = (1, 2, 3, 5, 8, 16)
DOCUMENT = 2000  # tokens in a document of the generated part


class Corpus:
    """Tokens as the index takes them: real documents, then generated ones."""

    def __init__(self, tokens: int, vocabulary: int, seed: int = 0) -> None:
        import numpy as np
        from encoding import stdlib_texts

        from textmill.specs.recipe import TokenizerSpec
        from textmill.tokenization.training import train

        texts = stdlib_texts(40_000_000)
        tokenizer = train(TokenizerSpec(kind="bpe", vocabulary=vocabulary), texts[::4])
        end = np.array([tokenizer.end], dtype=np.uint32)
        documents, size = [], 0
        for ids in tokenizer.encode_many(texts):
            documents.append(np.concatenate([ids[: max(0, tokens - size - 1)], end]))
            size += len(documents[-1])
            if size >= tokens:
                break
        real = np.concatenate(documents)
        self.vocabulary, self.end, self.real = tokenizer.vocabulary, tokenizer.end, len(real)
        dtype = np.uint16 if self.vocabulary <= 1 << 16 else np.uint32
        lengths = [len(document) for document in documents]
        parts = [real.astype(dtype)]
        if tokens > size:
            made = _pieces(real[real != self.end].astype(dtype), tokens - size, np.random.default_rng(seed))
            made[DOCUMENT - 1 :: DOCUMENT] = made[-1] = self.end
            ends = np.flatnonzero(made == self.end)
            lengths += np.diff(ends, prepend=-1).tolist()
            parts.append(made)
        self.ids = np.concatenate(parts)
        self.offsets = np.cumsum([0, *lengths], dtype=np.int64)
        self.document_ids = np.random.default_rng(seed).integers(
            0, 256, size=(len(lengths), 16), dtype=np.uint8
        )


def _pieces(real, tokens: int, random):
    """(tokens,) ids: random pieces of the real ones."""
    import numpy as np

    made = np.empty(tokens, dtype=real.dtype)
    lengths = random.integers(4, 41, size=tokens // 4 + 1)
    ends = np.cumsum(lengths)
    pieces = int(np.searchsorted(ends, tokens)) + 1
    starts = random.integers(0, len(real) - 41, size=pieces)
    shift = np.repeat(starts - (ends[:pieces] - lengths[:pieces]), lengths[:pieces])[:tokens]
    for block in range(0, tokens, 1 << 24):
        stop = min(tokens, block + (1 << 24))
        made[block:stop] = real[shift[block:stop] + np.arange(block, stop)]
    return made


def runs_of(corpus: Corpus, number: int, seed: int = 1) -> list[list[int]]:
    """Runs out of the corpus; in every second one a token is another."""
    import numpy as np

    random, runs = np.random.default_rng(seed), []
    while len(runs) < number:
        length = LENGTHS[len(runs) % len(LENGTHS)]
        start = int(random.integers(0, len(corpus.ids) - length))
        run = corpus.ids[start : start + length].tolist()
        if corpus.end in run:
            continue
        if (len(runs) // len(LENGTHS)) % 2:
            run[int(random.integers(0, length))] = int(corpus.ids[random.integers(0, len(corpus.ids))])
            if corpus.end in run:
                continue
        runs.append(run)
    return runs


def build_ours(corpus: Corpus, folder: Path) -> dict:
    """Build the index; its speed in all, and of the suffix sort alone, by the clock and by processor time."""
    import pydivsufsort

    from textmill.index import build

    sorting, real = [], pydivsufsort.divsufsort

    def timed(data):
        start, used = time.perf_counter(), time.process_time()
        result = real(data)
        sorting.append((time.perf_counter() - start, time.process_time() - used))
        return result

    pydivsufsort.divsufsort = timed
    (folder / "ours").mkdir()
    start = time.perf_counter()
    sources = ["generated"] * len(corpus.document_ids)
    manifest = build.build(folder / "ours", corpus, sources, finished=folder / "finished")
    seconds = time.perf_counter() - start
    pydivsufsort.divsufsort = real
    build.forget(folder / "ours", folder / "finished")
    millions = len(corpus.ids) / 1e6
    return {
        "seconds": round(seconds, 2),
        "million_tokens_per_s": round(millions / seconds, 2),
        "sort_million_tokens_per_s": round(millions / sum(wall for wall, _ in sorting), 2),
        "sort_million_tokens_per_core_s": round(millions / sum(used for _, used in sorting), 2),
        "shards": len(manifest["shards"]),
    }


def build_infini_gram(corpus: Corpus, folder: Path, threads: int) -> dict:
    """Let infini-gram build its suffix array of the same tokens: a separator, then the document."""
    import numpy as np

    home = folder / "peer"
    home.mkdir()
    width = corpus.ids.itemsize
    separator = np.array([(1 << 8 * width) - 1], dtype=corpus.ids.dtype)
    offsets, place = [], 0
    with open(home / "tokenized.0", "wb") as handle:
        for first, stop in zip(corpus.offsets[:-1], corpus.offsets[1:], strict=True):
            offsets.append(place)
            data = np.concatenate([separator, corpus.ids[first : stop - 1]]).tobytes()
            handle.write(data)
            place += len(data)
    np.array(offsets, dtype=np.uint64).tofile(home / "offset.0")
    arguments = {"save_dir": str(home), "temp_dir": str(home), "shards": 1, "workers": 1, "worker_id": 0}
    arguments |= {"cpus": threads, "mem": 8, "token_width": width}
    code = f"import argparse, infini_gram.indexing as i; i.build_sa(argparse.Namespace(**{arguments!r}))"
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 2), "million_tokens_per_s": round(len(corpus.ids) / 1e6 / seconds, 2)}


def infini_gram_count(corpus: Corpus, folder: Path) -> Callable[[list[int]], int]:
    from infini_gram.engine import InfiniGramEngine

    engine = InfiniGramEngine(
        index_dir=str(folder / "peer"),
        eos_token_id=corpus.end,
        vocab_size=corpus.vocabulary,
        token_dtype=f"u{8 * corpus.ids.itemsize}",
    )
    return lambda run: engine.count(input_ids=run)["count"]


def naive_count(corpus: Corpus) -> Callable[[list[int]], int]:
    """Looking through all tokens; counts once more what only looks like the run from the middle of a token."""
    import numpy as np

    data = corpus.ids.tobytes()
    return lambda run: data.count(np.array(run, dtype=corpus.ids.dtype).tobytes())


def microseconds(count: Callable[[list[int]], int], runs: list[list[int]]) -> tuple[dict, list[int]]:
    times, answers = [], []
    for run in runs:
        start = time.perf_counter()
        answers.append(count(run))
        times.append((time.perf_counter() - start) * 1e6)
    ordered = sorted(times)
    figures = {
        "mean": statistics.fmean(times),
        "median": ordered[len(times) // 2],
        "p99": ordered[len(times) * 99 // 100],
    }
    return {name: round(value, 1) for name, value in figures.items()}, answers


def asked(counts: dict[str, Callable], runs: list[list[int]], rounds: int) -> dict:
    """Microseconds of a count: every side in turn, `rounds` times; the first round, from a cold start, apart."""
    results, answers = {}, {}
    for number in range(rounds + 1):
        for name, count in counts.items():
            figures, answers[name] = microseconds(count, runs)
            slot = results.setdefault(name, {})
            if number == 0:
                slot["first"] = figures
            elif "mean" not in slot or figures["mean"] < slot["mean"]:
                slot.update(figures)
    return results | {"answers_equal": len({tuple(found) for found in answers.values()}) == 1}


def others(corpus: Corpus, index) -> dict:
    """What else the index is asked: milliseconds of each."""
    import numpy as np

    from textmill.index.trace import trace

    random = np.random.default_rng(2)
    real = corpus.ids[: corpus.real]
    text = _pieces(real[real != corpus.end], 1000, random)
    runs = [run for run in runs_of(corpus, 600, seed=3) if len(run) <= 3]

    def best(action: Callable, times: int = 3) -> float:
        seconds = []
        for _ in range(times):
            start = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - start)
        return round(min(seconds) * 1e3, 3)

    starts = random.integers(0, len(corpus.ids) - 64, size=200)
    contexts = [corpus.ids[start : start + 64].tolist() for start in starts]
    return {
        "trace_1000_tokens": best(lambda: trace(index, text)),
        "next_counts": round(best(lambda: [index.next_counts(run) for run in runs]) / len(runs), 3),
        "longest_suffix_of_64": round(best(lambda: [index.longest_suffix(run) for run in contexts]) / 200, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=20_000_000)
    parser.add_argument("--vocabulary", type=int, default=16384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the indexes are built; left out: a temporary folder")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before the suffix sort is loaded
    peer = find_spec("infini_gram") is not None
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        corpus = Corpus(options.tokens, options.vocabulary)
        building = {"textmill": build_ours(corpus, folder)}
        if peer:
            building["infini_gram"] = build_infini_gram(corpus, folder, options.threads)

        from textmill.index.search import Index

        index, runs = Index(folder / "ours"), runs_of(corpus, 6000 if peer else 60)
        other = infini_gram_count(corpus, folder) if peer else naive_count(corpus)
        counts = {"textmill": index.count, "infini_gram" if peer else "bytes_count": other}
        result = {
            "what": "the corpus index",
            "tokens": len(corpus.ids),
            "of_real_text": corpus.real,
            "documents": index.documents,
            "vocabulary": corpus.vocabulary,
            "threads": options.threads,
            "load_average": round(os.getloadavg()[0], 2),
            "building": building,
            "count_microseconds": asked(counts, runs, options.rounds),
            "milliseconds": others(corpus, index),
            "versions": {
                name: found
                for name in ("pydivsufsort", "infini-gram")
                if (found := _version(name)) is not None
            },
        }
    print(json.dumps(result, indent=2))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
