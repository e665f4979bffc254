"""Rows a second of `predict` beside transformers' own pipeline, on the same weights and texts of mixed length.

    classify, tag, embed   a BERT-shaped encoder (`--model`: a directory such as all-MiniLM-L6-v2) with a head drawn at
                           random, beside pipeline("text-classification", "token-classification", "feature-extraction")
    translate              a small Marian drawn at random, beside `generate` in batches of 32, each row 24 tokens long

Texts are drawn from a list of words, their lengths log-normal (median 18 words, the longest cut at 180), in no order:
as rows come. Each side tokenises, computes and says labels, spans or texts. A pipeline reads one row at a time unless
it is told `batch_size`, which its manual advises for throughput, but not on a processor: so it is run both ways, and
`ratio` is told over each, the better one first. They take turns in one process; what counts is the quickest turn of
each, in processor time where there is one thread, so that nothing else on the machine counts. `same` is the share of
rows of which both say the same.

    python benchmarks/predict.py --model weights/minilm-l6-v2 [--rows 400] [--turns 3] [--threads 1]

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from textmill.base import machine
from textmill.inference.predictor import Predictor
from textmill.interop.huggingface import directory
from textmill.interop.load import load
from textmill.models.build import build
from textmill.models.heads import attach
from textmill.models.pretrained import Pretrained
from textmill.specs.generation import GenerationSpec
from textmill.specs.head import ClassifyHead, TagHead
from textmill.specs.model import EncoderDecoderSpec
from textmill.specs.position import SinusoidalPositions
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.training import train

Way = Callable[[list[str]], list[Any]]
SIZES = (1, 32)  # rows that a pipeline reads at once
WORDS = [
    "the",
    "a",
    "of",
    "in",
    "on",
    "mill",
    "river",
    "flour",
    "bread",
    "wind",
    "stone",
    "wheel",
    "grain",
    "field",
    "sack",
    "house",
    "morning",
    "old",
    "new",
    "turned",
    "carried",
    "water",
    "slowly",
    "before",
    "after",
    "while",
    "nobody",
    "knew",
    "where",
    "she",
    "had",
    "gone",
    "London",
    "Anna",
    "Peter",
    "market",
    "winter",
    "letter",
    "answered",
    "quietly",
    "government",
    "report",
    "company",
    "shares",
    "price",
    "percent",
    "million",
    "years",
    "research",
    "university",
    "film",
    "wonderful",
    "terrible",
    "boring",
]


def texts(rows: int, seed: int = 0) -> list[str]:
    """Texts of mixed length."""
    draw = random.Random(seed)
    return [
        " ".join(draw.choices(WORDS, k=min(180, 1 + int(draw.lognormvariate(2.9, 0.9))))) for _ in range(rows)
    ]


def headed(base: Pretrained, head: Any, folder: Path) -> Pretrained:
    """The encoder with a head drawn at random, written and read again."""
    from textmill.nn.shared import shared

    model = attach(shared(base.model), head, seed=1)
    draw = torch.Generator().manual_seed(2)
    for parameter in model.head.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw)
    directory.write(folder, replace(base, model=model.eval(), spec=model.spec, beside={}))
    return load(folder)


def marian(folder: Path) -> Pretrained:
    """A small translator drawn at random that writes 24 tokens of every text."""
    tokenizer = train(TokenizerSpec(vocabulary=600), texts(200, 5))
    spec = EncoderDecoderSpec(
        d_model=256, layers=3, heads=4, d_ff=1024, context=512, position=SinusoidalPositions(layout="halves"),
        activation="silu", output_bias=True, dropout=0.0, start=tokenizer.pad,
    )  # fmt: skip
    model = build(spec, tokenizer.vocabulary, seed=1).eval()
    generation = GenerationSpec(tokens=24, temperature=0.0, min_tokens=24)
    directory.write(folder, Pretrained(model, tokenizer, spec, generation, {"objective": "pairs"}))
    return load(folder)


def ours(model: Pretrained, role: str) -> Way:
    """By the predictor, as every command does."""
    predictor = Predictor(model)
    return lambda given: list(predictor.predict({role: text} for text in given))


def pipelines(task: str, folder: Path, **settings: Any) -> dict[str, Way]:
    """transformers' pipeline, by batch size."""
    from transformers import pipeline

    made = pipeline(task, model=str(folder), device=-1, **settings)
    return {
        f"pipeline, {size} at once": (lambda given, size=size: list(made(given, batch_size=size)))
        for size in SIZES
    }


def generate(folder: Path) -> dict[str, Callable[[list[str]], list[str]]]:
    """transformers' generate, 32 rows at a time as they come."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForSeq2SeqLM.from_pretrained(folder).eval(),
    )

    def way(given: list[str]) -> list[str]:
        said: list[str] = []
        with torch.inference_mode():
            for start in range(0, len(given), 32):
                batch = tokenizer(given[start : start + 32], return_tensors="pt", padding=True)
                batch.pop("token_type_ids", None)
                ids = model.generate(
                    **batch, max_new_tokens=24, min_new_tokens=24, do_sample=False, num_beams=1
                )
                said += tokenizer.batch_decode(ids, skip_special_tokens=True)
        return said

    return {"generate, 32 at once": way}


def race(
    mine: Way, theirs: dict[str, Way], same: Callable[[Any, Any], bool], given: list[str], turns: int
) -> dict[str, Any]:
    """The quickest turn of each, in rows a second, and whether they say the same."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    best = dict.fromkeys(["textmill", *theirs], float("inf"))
    said: dict[str, list[Any]] = {}
    for _ in range(turns):
        for name, way in {"textmill": mine, **theirs}.items():
            begun = clock()
            said[name] = way(given)
            best[name] = min(best[name], clock() - begun)
    rates = {name: round(len(given) / seconds, 1) for name, seconds in best.items()}
    peer = max(theirs, key=rates.__getitem__)
    agree = np.mean([same(one, other) for one, other in zip(said["textmill"], said[peer], strict=True)])
    order = sorted(theirs, key=rates.__getitem__, reverse=True)
    ratio = {name: round(rates["textmill"] / rates[name], 2) for name in order}
    return {"rows_per_second": rates, "ratio": ratio, "same": round(float(agree), 4)}


def main() -> None:
    """All four."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=["classify", "tag", "embed", "translate"])
    options = parser.parse_args()
    machine.keep_memory()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    import transformers

    transformers.logging.set_verbosity_error()
    given, found = texts(options.rows), {}
    with tempfile.TemporaryDirectory() as name:
        folder, base = Path(name), load(options.model)
        if "classify" in options.only:
            labels = ClassifyHead(labels=("bad", "good", "mixed"), pooling="first", dropout=0.0)
            mine = ours(headed(base, labels, folder / "classify"), "text")
            found["classify"] = race(
                mine, pipelines("text-classification", folder / "classify", truncation=True),
                lambda one, other: one.label == other["label"], given, options.turns,
            )  # fmt: skip
        if "tag" in options.only:
            tags = TagHead(labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), dropout=0.0)
            mine = ours(headed(base, tags, folder / "tag"), "text")
            found["tag"] = race(
                mine, pipelines("token-classification", folder / "tag", aggregation_strategy="first"),
                lambda one, other: {(w.start, w.end) for w in one.spans} == {(w["start"], w["end"]) for w in other},
                given, options.turns,
            )  # fmt: skip
        if "embed" in options.only:
            mine = ours(base, "text")

            def near(one: Any, other: Any) -> bool:
                mean = np.asarray(other[0] if isinstance(other[0][0], list) else other).mean(0)
                return bool(np.dot(one.values, mean) / np.linalg.norm(mean) > 0.9999)

            peers = pipelines("feature-extraction", options.model, tokenize_kwargs={"truncation": True})
            found["embed"] = race(mine, peers, near, given, options.turns)
        if "translate" in options.only:
            mine, few = ours(marian(folder / "translate"), "source"), given
            found["translate"] = race(
                mine,
                generate(folder / "translate"),
                lambda one, other: one.text.strip() == other.strip(),
                few,
                options.turns,
            )
    about = {"torch": torch.__version__, "transformers": transformers.__version__, "threads": options.threads}
    json.dump(
        {**about, **found},
        sys.stdout,
        indent=2,
    )
    print()


if __name__ == "__main__":
    main()
