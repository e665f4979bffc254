"""Encoding speed of byte-level BPE: Textmill beside `tokenizers` and sentencepiece, in one run, on one text.

    python benchmarks/encoding.py [--vocabulary 16384] [--megabytes 16] [--rounds 5]

All three learn the same number of pieces from the same text: the standard library of the running Python
(English, code and tables). Each is timed on all processors, in turn, several rounds over; best and median
count. `memory_copy` is what this machine needs merely to turn the text into UTF-8 bytes: no encoder can be
faster. Prints one JSON object; MB are 10^6 bytes of UTF-8 text.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sysconfig
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from textmill.base.machine import usable_cores
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.tokenizer import Tokenizer
from textmill.tokenization.training import train


def stdlib_texts(limit: int) -> list[str]:
    """Python files of the standard library, tests included, up to `limit` bytes."""
    texts, left = [], limit
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts or left <= 0:
            continue
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
        texts.append(text)
        left -= len(text.encode())
    return texts


def sentencepiece_encoder(texts: list[str], vocabulary: int) -> tuple[Callable[[], int], float] | None:
    """A sentencepiece BPE model over the same text; None where the library is missing."""
    try:
        import sentencepiece
    except ImportError:
        return None
    model, start = io.BytesIO(), time.perf_counter()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in texts for line in text.split("\n")),
        model_writer=model,
        vocab_size=vocabulary,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        num_threads=usable_cores(),
        minloglevel=2,
    )
    seconds = time.perf_counter() - start
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return lambda: sum(map(len, processor.encode(texts, num_threads=usable_cores()))), seconds


def measure(encoders: dict[str, Callable[[], int]], size: int, rounds: int) -> dict[str, dict[str, float]]:
    """MB/s of each, in turn, `rounds` times over after one round of warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    tokens = {name: encoder() for name, encoder in encoders.items()}
    for _ in range(rounds):
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encoder()
            seconds[name].append(time.perf_counter() - start)
    return {
        name: {
            "best_mb_per_s": round(size / min(times) / 1e6, 2),
            "median_mb_per_s": round(size / statistics.median(times) / 1e6, 2),
            **({"bytes_per_token": round(size / tokens[name], 3)} if tokens[name] else {}),
        }
        for name, times in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabulary", type=int, default=16384)
    parser.add_argument("--megabytes", type=float, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    texts = stdlib_texts(int(options.megabytes * 1e6))
    size = sum(len(text.encode()) for text in texts)

    start = time.perf_counter()
    ours = train(TokenizerSpec(kind="bpe", vocabulary=options.vocabulary), texts)
    training = {"textmill": round(time.perf_counter() - start, 2)}
    start = time.perf_counter()
    ours = Tokenizer(ours.data)
    ours.encode("x")
    ready = time.perf_counter() - start
    reference = ours.reference

    encoders: dict[str, Callable[[], int]] = {
        "memory_copy": lambda: 0 * len([text.encode() for text in texts]),
        "textmill": lambda: sum(map(len, ours.encode_many(texts))),
        "textmill_one_thread": lambda: sum(map(len, ours.encode_many(texts, threads=1))),
        "tokenizers": lambda: sum(
            len(np.array(e.ids, dtype=np.uint32))
            for e in reference.encode_batch(texts, add_special_tokens=False)
        ),
        "tokenizers_fast": lambda: sum(
            len(np.array(e.ids, dtype=np.uint32))
            for e in reference.encode_batch_fast(texts, add_special_tokens=False)
        ),
    }
    if peer := sentencepiece_encoder(texts, options.vocabulary):
        encoders["sentencepiece"], seconds = peer
        training["sentencepiece"] = round(seconds, 2)
    same = all(
        ids.tolist() == encoding.ids
        for ids, encoding in zip(
            ours.encode_many(texts), reference.encode_batch_fast(texts, add_special_tokens=False), strict=True
        )
    )
    print(
        json.dumps(
            {
                "what": "encoding text, byte-level BPE",
                "vocabulary": ours.vocabulary,
                "megabytes": round(size / 1e6, 2),
                "texts": len(texts),
                "threads": usable_cores(),
                "load_average": round(os.getloadavg()[0], 2),
                "engine": ours.engine.name,
                "ids_equal_tokenizer_json": same,
                "seconds_until_ready": round(ready, 3),
                "training_seconds": training,
                "encoding": measure(encoders, size, options.rounds),
                "versions": {
                    name: version(name)
                    for name in ("tiktoken", "tokenizers", "sentencepiece")
                    if find_spec(name)
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
