"""N-gram models, a small neural one and their mixtures on the same text: perplexity and bits per byte, as JSON.

    python benchmarks/ngram.py --data FOLDER [--minutes 3] [--sets english-novels tinyshakespeare brown]

FOLDER holds english-novels/{train,valid}.jsonl.gz (text), tinyshakespeare/input.txt.gz and brown/train.jsonl.gz with
valid.jsonl (sentences). The valid file, or the last tenth, is the test split, and no model sees it. The end of the
training text, some 4 % of it, is kept from all models and is what the mixtures are weighted on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from textmill.base.console import Reporter
from textmill.data import tokens
from textmill.data.loader import Loader
from textmill.data.packing import RunningPacking
from textmill.models import build
from textmill.models.ngram.fit import fit, text_of
from textmill.objectives.loss import causal
from textmill.specs.model import DecoderSpec, NGramSpec
from textmill.specs.recipe import TokenizerSpec
from textmill.specs.training import AdamWSpec, MuonSpec
from textmill.stages.use import mix
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import collected
from textmill.tokenization import training
from textmill.training import optimizer as optimizers
from textmill.training.loop import train


def lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def novels(folder: Path) -> dict[str, list[str]]:
    texts = [row["text"] for row in lines(folder / "english-novels" / "train.jsonl.gz")]
    test = [row["text"] for row in lines(folder / "english-novels" / "valid.jsonl.gz")]
    return {"train": texts[:-1], "validation": texts[-1:], "test": test}


def shakespeare(folder: Path) -> dict[str, list[str]]:
    with gzip.open(folder / "tinyshakespeare" / "input.txt.gz", "rt", encoding="utf-8") as handle:
        text = handle.read()
    ends = [int(len(text) * share) for share in (0.86, 0.9)]
    return {"train": [text[: ends[0]]], "validation": [text[ends[0] : ends[1]]], "test": [text[ends[1] :]]}


def brown(folder: Path) -> dict[str, list[str]]:
    texts = ["\n".join(row["sentences"]) for row in lines(folder / "brown" / "train.jsonl.gz")]
    test = ["\n".join(row["sentences"]) for row in lines(folder / "brown" / "valid.jsonl")]
    return {"train": texts[:-18], "validation": texts[-18:], "test": test}


# name: (texts, tokenizer, orders, neural model)
SETS = {
    "english-novels": (
        novels,
        TokenizerSpec(kind="bpe", vocabulary=8192),
        (3, 5),
        DecoderSpec(d_model=192, layers=3, heads=3, d_ff=512, context=256),
    ),
    "tinyshakespeare": (
        shakespeare,
        TokenizerSpec(kind="characters"),
        (3, 5, 8),
        DecoderSpec(d_model=128, layers=4, heads=4, d_ff=344, context=128, qk_norm=True),
    ),
    "brown": (
        brown,
        TokenizerSpec(kind="bpe", vocabulary=4096),
        (3, 5),
        DecoderSpec(d_model=192, layers=3, heads=3, d_ff=512, context=256),
    ),
}


def prepare(texts: dict[str, list[str]], spec: TokenizerSpec, folder: Path) -> Any:
    """Token stores of the three parts, where the stages look for them."""
    tokenizer = training.train(spec, texts["train"])
    for part, several in texts.items():
        documents = (collected(text, part) for text in several)
        tokens.write_tokens(folder / part, documents, tokenizer)
    return SimpleNamespace(tokens=SimpleNamespace(path=folder))


def neural(spec: DecoderSpec, store: tokens.TokenStore, minutes: float) -> tuple[torch.nn.Module, int]:
    """A decoder trained for so many minutes, the rate falling to zero as they pass; and its steps."""
    model = build.build(spec, store.vocabulary, seed=0)
    optimizer = optimizers.build(model, MuonSpec(rest=AdamWSpec(lr=0.01)))
    loader = Loader(RunningPacking(store, spec.context), 2048 // spec.context, 0)
    started, steps = time.monotonic(), 0

    def left(_: int) -> float:
        return max(0.0, 1 - (time.monotonic() - started) / (60 * minutes))

    for result in train(model, causal, loader, optimizer, steps=range(1 << 30), rates=left, clip=1.0):
        steps = result.step + 1
        if left(steps) == 0.0:
            break
    return model.eval(), steps


def measure(name: str, data: Path, minutes: float, fit_tokens: int, test_tokens: int) -> dict[str, Any]:
    read, tokenizer, orders, decoder = SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(read(data), tokenizer, Path(folder))
        store = tokens.TokenStore(Path(folder) / "train")
        text = text_of(store.ids, store.end)
        specs = {f"Kneser-Ney {order}": NGramSpec(order=order, smoothing="kneser-ney") for order in orders}
        last = orders[-1]
        specs |= {
            f"modified Kneser-Ney {last}": NGramSpec(order=last),
            f"modified Kneser-Ney {last}, cache": NGramSpec(order=last, cache=0.1),
            "∞-gram": NGramSpec(order=last, smoothing="infinity"),
        }
        parts: dict[str, torch.nn.Module] = {}
        seconds = {}
        for label, spec in specs.items():
            started = time.monotonic()
            parts[label] = fit(spec, text, store.vocabulary, store.end)
            seconds[label] = round(time.monotonic() - started, 2)
        parts["neural"], steps = neural(decoder, store, minutes)
        mixed = mix.mix_models(
            parts,
            prepared,
            Workspace(Path(folder) / "work", Reporter()),
            fit_tokens=fit_tokens,
            test_tokens=test_tokens,
        )
        return {
            "set": name,
            "train_tokens": store.tokens,
            "vocabulary": store.vocabulary,
            "seconds_to_count": seconds,
            "neural": {
                "parameters": sum(weight.numel() for weight in parts["neural"].parameters()),
                "minutes": minutes,
                "steps": steps,
            },
            "table": [
                {
                    key: round(row[key], 4) if isinstance(row[key], float) else row[key]
                    for key in ("name", "value", "low", "high", "perplexity")
                }
                for row in mixed.rows
            ],
            **mixed.details,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--fit-tokens", type=int, default=40_000)
    parser.add_argument("--test-tokens", type=int, default=100_000)
    options = parser.parse_args()
    results = [
        measure(name, options.data, options.minutes, options.fit_tokens, options.test_tokens)
        for name in options.sets
    ]
    result = {
        "what": "n-gram models, a small neural one and their mixtures; value is bits per byte",
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "results": results,
    }
    print(json.dumps(result, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
