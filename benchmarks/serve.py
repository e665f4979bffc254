"""Total tokens per second of the engine at 1, 4 and 16 streams, beside plain generation of as many rows together.

Both read the same prompts and write as many tokens, greedily and with no end; what counts is the time in which every
stream is being written, since prompts are read one by one here, and together there (so more tokens than streams are to
be asked for). The engine's products
give each row the bits it has alone, and rows come and go; plain generation (`decoding.generate`, the layout for so
many rows) pads prompts to one length and promises neither. `--weights` is the same for both.

    python benchmarks/serve.py MODEL [--tokens 48] [--prompt 32] [--streams 1 4 16] [--weights fp32] [--threads 1]

Speeds are by the clock and by processor time, which on one thread is the clock of a quiet machine. The tokens of each
stream are compared with those it has alone. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import time
from pathlib import Path

import torch

from textmill.decoding.generate import generate
from textmill.decoding.layout import prepare
from textmill.inference.engine import Engine
from textmill.inference.requests import Finished, Limits, Request, Token
from textmill.interop.load import load
from textmill.models.model import Generator
from textmill.specs.generation import GenerationSpec


class Clock:
    """Seconds by the clock and of the processor."""

    def __init__(self) -> None:
        self.begun, self.used = time.perf_counter(), time.process_time()

    def speeds(self, tokens: int) -> dict[str, float]:
        """Tokens a second, by both."""
        by_clock = tokens / (time.perf_counter() - self.begun)
        return {
            "tokens_per_second": round(by_clock, 2),
            "tokens_per_processor_second": round(tokens / (time.process_time() - self.used), 2),
        }


def answered(
    engine: Engine, prompts: list[list[int]], spec: GenerationSpec
) -> tuple[list[list[int]], dict[str, float]]:
    """The tokens of each prompt, all asked at once, and how quickly they came while all were written."""
    heard: queue.SimpleQueue = queue.SimpleQueue()
    for number, ids in enumerate(prompts):
        request = Request(model="it", ids=tuple(ids), spec=spec, ends=(-1,))
        engine.submit(request, lambda event, number=number: heard.put((number, event)))
    found: list[list[int]] = [[] for _ in prompts]
    left, clock, before, speeds = len(prompts), None, 0, {}
    while left:
        number, event = heard.get()
        if isinstance(event, Token):
            found[number].append(event.id)
            if clock is None and all(found):
                clock, before = Clock(), sum(map(len, found))
        elif isinstance(event, Finished):
            assert event.reason == "length", event
            if clock is not None and not speeds:
                speeds = clock.speeds(sum(map(len, found)) - before)
            left -= 1
    return found, speeds


def written(model: Generator, prompts: list[list[int]], spec: GenerationSpec) -> dict[str, float]:
    """How quickly plain generation of all rows together goes, likewise."""
    pieces = generate(model, prompts, spec, ends=-1, rows=len(prompts))
    for _ in prompts:
        next(pieces)
    clock = Clock()
    return clock.speeds(sum(1 for _ in pieces))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a .gguf file, or a directory")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--prompt", type=int, default=32, help="tokens of each prompt")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--weights", default="fp32", choices=("fp32", "bf16", "int8"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pretrained = load(options.model)
    draw, most = random.Random(1), max(options.streams)
    size = pretrained.tokenizer.vocabulary
    prompts = [[draw.randrange(size) for _ in range(options.prompt)] for _ in range(most)]
    spec = GenerationSpec(tokens=options.tokens, temperature=0)
    clock = time.perf_counter()
    engine = Engine({"it": pretrained}, Limits(rows=most, prefix_bytes=0), weights=options.weights)
    result = {
        "what": f"greedy, {options.weights}, prompts of {options.prompt} tokens, {options.tokens} written",
        "model": options.model.name,
        "seconds_to_lay_out_and_test": round(time.perf_counter() - clock, 1),
        "deterministic": engine.served["it"].deterministic,
        "streams": {},
    }
    answered(engine, prompts[:1], GenerationSpec(tokens=2, temperature=0))
    [alone], _ = answered(engine, prompts[:1], spec)
    for streams in options.streams:
        rows = prompts[:streams]
        found, ours = answered(engine, rows, spec)
        plain = prepare(pretrained.model, options.weights, rows=streams)
        written(plain, rows[:1], GenerationSpec(tokens=2, temperature=0))
        result["streams"][streams] = {
            "engine": ours,
            "plain": written(plain, rows, spec),
            "first_as_alone": found[0] == alone,
        }
    engine.close()
    first, last = (result["streams"][streams]["engine"] for streams in (min(options.streams), most))
    key = "tokens_per_processor_second"
    result["times_one_stream"] = round(last[key] / first[key], 2)
    ours, plain = (result["streams"][most][way][key] for way in ("engine", "plain"))
    result["share_of_plain"] = round(ours / plain, 3)
    result |= {
        "threads": options.threads,
        "load_average": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
