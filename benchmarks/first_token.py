"""Seconds from starting a process to the first token of a small model: Textmill beside transformers.

A small model (6 layers of 384, vocabulary 8192) is published once; then fresh processes read it and write one
token, in turns: the command `textmill generate`, the same through transformers, and a process that imports torch
and nothing else, which is the limit.

    python benchmarks/first_token.py [--turns 5] [--imports]

Prints one JSON object. With --imports it also names the modules whose own import takes longest in ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THEIRS = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], local_files_only=True)
ids = tokenizer("def ", return_tensors="pt")
out = model.generate(ids["input_ids"], attention_mask=ids["attention_mask"], do_sample=False, max_new_tokens=1)
print(repr(tokenizer.decode(out[0, ids["input_ids"].shape[1]:])), flush=True)
"""


def ways(directory: Path) -> dict[str, list[str]]:
    """What each process is given to run."""
    generate = ["-m", "textmill", "generate", str(directory), "def ", "--tokens", "1", "--temperature", "0"]
    return {
        "textmill generate": generate,
        "transformers": ["-c", THEIRS, str(directory)],
        "import torch": ["-c", "import torch"],
    }


def publish(directory: Path) -> None:
    """A small model with random weights and a tokenizer trained on this file's neighbours."""
    from textmill.interop.huggingface import directory as huggingface
    from textmill.models.build import build
    from textmill.specs.model import DecoderSpec
    from textmill.specs.recipe import GenerationSpec, TokenizerSpec
    from textmill.tokenization.training import train

    root = Path(__file__).parents[1]
    texts = [path.read_text(encoding="utf-8") for path in sorted(root.glob("src/**/*.py"))]
    tokenizer = train(TokenizerSpec(vocabulary=8192), texts)
    spec = DecoderSpec(d_model=384, layers=6, heads=6, d_ff=1024, context=256)
    model = build(spec, tokenizer.vocabulary, seed=0)
    huggingface.write_directory(directory, model, tokenizer, GenerationSpec(), {"task": "generation"})


def seconds(arguments: list[str]) -> float:
    """Wall time of a fresh Python process."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - started


def slowest(directory: Path, count: int = 15) -> list[str]:
    """The modules whose own import takes longest, with milliseconds."""
    command = [sys.executable, "-X", "importtime", *ways(directory)["textmill generate"]]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    rows = [line.removeprefix("import time:").split("|") for line in lines if line.startswith("import time:")]
    own = sorted(((int(row[0]), row[2].strip()) for row in rows if row[0].strip().isdigit()), reverse=True)
    return [f"{name} {time / 1000:.0f} ms" for time, name in own[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--imports", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "model"
        publish(directory)
        commands = ways(directory)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(options.turns + 1):
            for name, arguments in commands.items():
                took = seconds(arguments)
                if turn:  # the first round fills the page cache
                    times[name].append(took)
        result = {
            "what": "seconds from the start of a process to the first token, small model",
            "best": {name: round(min(values), 2) for name, values in times.items()},
            "median": {name: round(statistics.median(values), 2) for name, values in times.items()},
        }
        if options.imports:
            result["slowest imports"] = slowest(directory)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
