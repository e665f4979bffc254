"""The engine at 1, 4 and 16 streams: tokens a second, seconds to the first token and between tokens, beside plain
generation of as many rows together, and beside llama.cpp.

All read the same prompts and write as many tokens, greedily and with no end; what counts for speeds is the time in
which every stream is being written, since prompts are read one by one here, and together in plain generation (so more
tokens than streams are to be asked for). The engine's products give each row the bits it has alone, and rows come and
go; plain generation (`decoding.generate`, the layout for so many rows) pads prompts to one length and promises neither.
The tokens of the first stream are compared with those it has alone.

    python benchmarks/serve.py MODEL… [--weights fp32 bf16 int8] [--streams 1 4 16] [--tokens 48] [--prompt 32]
                               [--long 2000] [--peer FOLDER] [--threads 1]

Then a prompt of `--long` tokens is read beside four streams that are being written: how long they wait for a token
meanwhile, and before. `--peer` is a folder in which `npm install node-llama-cpp` was run; it multiplies by the weights
as the .gguf file has them. All is told by the clock and by processor time, which on one thread is the clock of a quiet
machine. Prints one JSON object a model and kind of weights; what this machine has no products for is left out, with a
line.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from textmill.base.errors import TextmillError
from textmill.decoding.generate import generate
from textmill.decoding.layout import KINDS, prepare
from textmill.inference.engine import Engine
from textmill.inference.requests import Event, Finished, Limits, Request, Token
from textmill.interop.load import load
from textmill.models.model import Generator
from textmill.specs.generation import GenerationSpec

OTHERS = 4  # streams that are written while a long prompt is read


def now() -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    return time.perf_counter(), time.process_time()


def speeds(tokens: int, begun: tuple[float, float], ended: tuple[float, float]) -> dict[str, float]:
    """Tokens a second, by both."""
    by_clock, by_processor = (tokens / (stop - start) for start, stop in zip(begun, ended, strict=True))
    return {
        "tokens_per_second": round(by_clock, 2),
        "tokens_per_processor_second": round(by_processor, 2),
    }


@dataclass
class Stream:
    """What is heard of one request, and when."""

    heard: queue.SimpleQueue
    asked: tuple[float, float] = field(default_factory=now)
    ids: list[int] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Token):
            self.ids.append(event.id)
            self.times.append(now())
        elif isinstance(event, Finished):
            assert event.reason in ("length", "cancelled"), event
        self.heard.put(event)

    def waits(self) -> list[tuple[float, float]]:
        """Seconds between its tokens, by the clock and of the processor."""
        pairs = zip(self.times, self.times[1:], strict=False)
        return [(later[0] - sooner[0], later[1] - sooner[1]) for sooner, later in pairs]


def ask(engine: Engine, ids: list[int], tokens: int, heard: queue.SimpleQueue) -> tuple[Stream, object]:
    """A stream, and its ticket."""
    stream = Stream(heard)
    spec = GenerationSpec(tokens=tokens, temperature=0)
    return stream, engine.submit(Request(model="it", ids=tuple(ids), spec=spec, ends=(-1,)), stream)


def quantiles(seconds: list[tuple[float, float]]) -> dict[str, list[float]]:
    """Median and 95th percentile, by the clock and of the processor."""
    found = {}
    for name, values in zip(("by_clock", "by_processor"), zip(*seconds, strict=True), strict=True):
        ordered = sorted(values)
        found[name] = [
            round(one, 4) for one in (statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))])
        ]
    return found


def answered(engine: Engine, prompts: list[list[int]], tokens: int) -> tuple[list[Stream], dict]:
    """Prompts asked all at once, and how quickly they are answered."""
    heard: queue.SimpleQueue = queue.SimpleQueue()
    streams = [ask(engine, ids, tokens, heard)[0] for ids in prompts]
    left = len(streams)
    while left:
        left -= isinstance(heard.get(), Finished)
    begun = max(stream.times[0] for stream in streams)  # from here on all of them are written
    # Whole steps: the stream that ends first is told of its last token before the others are of theirs.
    later = [[time for time in stream.times if time > begun] for stream in streams]
    steps = min(map(len, later))
    if not steps:
        raise SystemExit("the first stream ended before the last began: ask for more --tokens")
    ended = max(times[steps - 1] for times in later)
    written = steps * len(streams)
    firsts = [tuple(b - a for a, b in zip(one.asked, one.times[0], strict=True)) for one in streams]
    together = [
        wait
        for one in streams
        for wait, sooner in zip(one.waits(), one.times, strict=False)
        if begun <= sooner < ended
    ]
    return streams, speeds(written, begun, ended) | {
        "seconds_to_first_token_p50_p95": quantiles(firsts),
        "seconds_between_tokens_p50_p95": quantiles(together),
    }


def written(model: Generator, prompts: list[list[int]], tokens: int) -> dict[str, float]:
    """How quickly plain generation of all rows together goes, likewise."""
    spec = GenerationSpec(tokens=tokens, temperature=0)
    pieces = generate(model, prompts, spec, ends=-1, rows=len(prompts))
    for _ in prompts:
        next(pieces)
    begun = now()
    count = sum(1 for _ in pieces)
    return speeds(count, begun, now())


def beside(engine: Engine, prompts: list[list[int]], long: list[int], usual: int) -> dict:
    """How long streams wait for a token while a long prompt is read, and before."""
    heard: queue.SimpleQueue = queue.SimpleQueue()
    # more than is ever waited for
    most = min(engine.served["it"].pretrained.spec.context - len(prompts[0]), 4096)
    others = [ask(engine, ids, most, heard) for ids in prompts]
    while min(len(stream.ids) for stream, _ in others) < usual:
        heard.get()
    late, _ = ask(engine, long, 1, queue.SimpleQueue())
    while not late.ids:
        heard.get()
    for _, ticket in others:
        ticket.cancel()
    begun = max(stream.times[0] for stream, _ in others)
    before, during = [], []
    for stream, _ in others:
        for wait, sooner, later in zip(stream.waits(), stream.times, stream.times[1:], strict=False):
            if begun <= sooner and later <= late.asked:
                before.append(wait)
            elif later > late.asked and sooner < late.times[0]:
                during.append(wait)
    found = {"usual": quantiles(before), "while_it_is_read": quantiles(during)}
    ratio = found["while_it_is_read"]["by_processor"][1] / found["usual"]["by_processor"][1]
    seconds = [round(b - a, 2) for a, b in zip(late.asked, late.times[0], strict=True)]
    return found | {"p95_to_usual": round(ratio, 2), "its_seconds_to_first_token": seconds}


def peer(folder: Path, model: Path, prompts: list[list[int]], options: argparse.Namespace) -> dict:
    """The same of llama.cpp."""
    asked = {
        "prompts": prompts,
        "tokens": options.tokens,
        "streams": options.streams,
        "threads": options.threads,
    }
    program = Path(__file__).with_name("serve_peer.mjs")
    done = subprocess.run(
        ["node", program, folder, model],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measured(path: Path, weights: str, options: argparse.Namespace) -> dict:
    """All figures of a model in one kind of weights."""
    pretrained = load(path)
    draw, most = random.Random(1), max(options.streams)
    size, context = pretrained.tokenizer.vocabulary, pretrained.spec.context
    prompts = [[draw.randrange(size) for _ in range(options.prompt)] for _ in range(most)]
    long = [draw.randrange(size) for _ in range(min(options.long, context - 1))]
    clock = time.process_time()
    rows = max(most, OTHERS + 1)
    engine = Engine({"it": pretrained}, Limits(rows=rows, prefix_bytes=0), weights=weights)
    result = {
        "what": f"greedy, {weights}, prompts of {options.prompt} tokens, {options.tokens} written",
        "model": path.name,
        "processor_seconds_to_lay_out_and_test": round(time.process_time() - clock, 1),
        "deterministic": engine.served["it"].deterministic,
        "streams": {},
    }
    answered(engine, prompts[:1], 2)
    [alone], _ = answered(engine, prompts[:1], options.tokens)
    for streams in options.streams:
        some = prompts[:streams]
        found, ours = answered(engine, some, options.tokens)
        plain = prepare(pretrained.model, weights, rows=streams)
        written(plain, some[:1], 2)
        result["streams"][streams] = {
            "engine": ours,
            "plain": written(plain, some, options.tokens),
            "first_as_alone": found[0].ids == alone.ids,
        }
        del plain
    key = "tokens_per_processor_second"
    by_streams = {streams: one["engine"][key] for streams, one in result["streams"].items()}
    result["times_one_stream"] = round(by_streams[most] / by_streams[min(options.streams)], 2)
    result["share_of_plain"] = round(by_streams[most] / result["streams"][most]["plain"][key], 3)
    if options.long:
        what = f"while_{len(long)}_tokens_are_read_beside_{OTHERS}_streams"
        result[what] = beside(engine, (prompts * OTHERS)[:OTHERS], long, options.tokens // 2)
    engine.close()
    if options.peer is not None:
        result["peer"] = peer(options.peer, path, prompts, options)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", help=".gguf files, or directories")
    parser.add_argument("--weights", nargs="+", default=["fp32"], choices=KINDS)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--prompt", type=int, default=32, help="tokens of each prompt")
    parser.add_argument("--long", type=int, default=2000, help="tokens of the long one; 0: none is read")
    parser.add_argument("--peer", type=Path, help="folder in which node-llama-cpp is installed")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peer is not None and not (options.peer / "node_modules" / "node-llama-cpp").is_dir():
        print(f"{options.peer} has no node_modules/node-llama-cpp: no peer", file=sys.stderr)
        options.peer = None
    for model in options.models:
        for weights in options.weights:
            try:
                result = measured(model, weights, options)
            except TextmillError as error:
                print(f"{model.name}, {weights}: {error}", file=sys.stderr)
                continue
            result |= {
                "threads": options.threads,
                "load_average": round(os.getloadavg()[0], 1),
                "torch": torch.__version__,
            }
            print(json.dumps(result, indent=2), flush=True)


if __name__ == "__main__":
    main()
