"""Speculative decoding: tokens per step and speed on code and on free text, beside plain decoding in the same run.

    python benchmarks/speculate.py [--work DIR] [--steps 500] [--tokens 120] [--prompts 8] [--rounds 2]

A model of quickstart size is trained on Python's standard library for `--steps` steps (some minutes; a run that is in
`--work` already is used again), and its corpus is indexed. Prompts are beginnings of files it was not trained on, and
free text: words of those files in no order, so that the text itself gives nothing to guess from.
Plain decoding, plain decoding again and every way of speculating take turns on each prompt, and the turn to go first
goes round; the tokens must be the same, sampled ones too. Prints one JSON object. Speeds are medians over prompts and
rounds, by the clock and, for a machine that does other work as well, by processor time (`--threads 1` makes that the
clock of a quiet machine).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

RECIPE = """
name = "speculate"
[corpus]
sources = [{{ kind = "python-stdlib" }}]
[tokenizer]
vocabulary = 4096
[model]
d_model = 192
layers = 4
heads = 3
d_ff = 512
context = 512
[training]
steps = {steps}
batch = 8
sequence = 256
optimizer = {{ kind = "muon", rest = {{ lr = 0.01 }} }}
schedule = {{ kind = "linear", warmup = 0.03, floor = 0.0 }}
evaluate_every = 1000
evaluate_tokens = 20000
save = {{ every = 100 }}
"""
PROMPT = 200  # tokens


def trained(folder: Path, steps: int):
    """(model, tokenizer, index, held-out texts) of a run in `folder`, made where it is missing."""
    from textmill.base.console import Reporter
    from textmill.specs import recipe_file
    from textmill.stages.preparation.prepare import trained_on
    from textmill.stages.runs.train import train
    from textmill.stages.tracing.index import open_index
    from textmill.stages.workspace.weights import best_weights
    from textmill.stages.workspace.workspace import Workspace

    path = folder / "speculate.toml"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(RECIPE.format(steps=steps), encoding="utf-8")
    workspace = Workspace(folder, Reporter())
    run = workspace.run("speculate")
    asked = recipe_file.load(path)
    if not run.exists or not any(run.checkpoints.glob(f"step-{asked.training.steps:08d}")):
        run = train(asked, workspace)
    data = trained_on(run, workspace)
    model = best_weights(run).build(data)
    opened = open_index(workspace, "speculate")
    texts = [document.text for document in data.corpus.documents("test")]
    return model, opened.tokenizer, opened.index, texts


def prompts(tokenizer, texts: list[str], number: int) -> dict[str, list[list[int]]]:
    """Beginnings of held-out files, and free text."""
    random_words = random.Random(1)
    words = sorted({word for text in texts for word in text.split() if word.isalpha() and len(word) > 2})
    code = [ids for text in texts if len(ids := tokenizer.encode(text).tolist()) > PROMPT]
    free = [" ".join(random_words.choices(words, k=PROMPT)) for _ in range(number)]
    return {
        "code": [ids[:PROMPT] for ids in random_words.sample(code, min(number, len(code)))],
        "free text": [tokenizer.encode(text).tolist()[:PROMPT] for text in free],
    }


def measured(model, asked: list[list[int]], spec, end: int, makers: dict, rounds: int) -> dict:
    """Each way's report, and its speed against plain decoding; `plain again` shows what the machine adds by chance."""
    from textmill.decoding.generate import generate
    from textmill.decoding.speculate import Speculation

    def answer(prompt, way):
        begun, used = time.perf_counter(), time.process_time()
        ids = [piece.id for piece in generate(model, [prompt], spec, ends=end, speculation=way)]
        return ids, (time.perf_counter() - begun) / len(ids), (time.process_time() - used) / len(ids)

    ways = {"plain": None, "plain again": None} | {name: Speculation(make) for name, make in makers.items()}
    found: dict[str, list] = {name: [] for name in ways}
    answer(asked[0], None)
    for turn in range(rounds):
        for number, prompt in enumerate(asked):
            first = (turn * len(asked) + number) % len(ways)
            for name in [*ways][first:] + [*ways][:first]:
                found[name].append(answer(prompt, ways[name]))
    result = {}
    for name, rows in found.items():
        clock, used = (statistics.median(row[at] for row in rows) for at in (1, 2))
        plain_clock, plain_used = (statistics.median(row[at] for row in found["plain"]) for at in (1, 2))
        result[name] = {
            "same_tokens": [row[0] for row in rows] == [row[0] for row in found["plain"]],
            "milliseconds_a_token": round(clock * 1e3, 3),
            "speedup": round(plain_clock / clock, 3),
            "processor_speedup": round(plain_used / used, 3),
        } | ({} if ways[name] is None else ways[name].report.plain())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", help="where the run is kept; left out: a temporary folder")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=120)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="also with weights rounded to bfloat16")
    options = parser.parse_args()
    import torch

    from textmill.decoding.layout import prepare
    from textmill.index.draft import ContextDrafter, CorpusDrafter
    from textmill.specs.recipe import GenerationSpec

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        model, tokenizer, index, texts = trained(Path(options.work or temporary), options.steps)
        makers = {
            "prompt": lambda: {"prompt": ContextDrafter()},
            "corpus": lambda: {"corpus": CorpusDrafter(index)},
            "both": lambda: {"prompt": ContextDrafter(), "corpus": CorpusDrafter(index)},
        }
        asked = prompts(tokenizer, texts, options.prompts)
        models = {"fp32": model} | ({"bf16": prepare(model, "bf16")} if options.bf16 else {})
        result = {
            "what": "speculative decoding of one row against plain decoding, in turns",
            "tokens": options.tokens,
            "prompts": options.prompts,
            "rounds": options.rounds,
            "threads": options.threads,
            "index_tokens": index.tokens,
            "load_average": round(os.getloadavg()[0], 2),
        }
        for weights, ready in models.items():
            for temperature in (0.0, 0.8):
                spec = GenerationSpec(tokens=options.tokens, temperature=temperature)
                for text, ids in asked.items():
                    key = f"{text}, {weights}, temperature {temperature}"
                    result[key] = measured(ready, ids, spec, tokenizer.end, makers, options.rounds)
    result["torch"] = torch.__version__
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
