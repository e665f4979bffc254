"""A model made by others, batch 1: Textmill beside transformers, with the same weights, in one run.

    python benchmarks/imported.py MODEL [--tokens 32] [--prompt 256] [--turns 5] [--threads 2] [--text FILE]

MODEL: a .gguf file or a directory. It is written once as a standard directory, which transformers loads in float32 and
in bfloat16. All sides take short turns: greedy tokens per second after the first one, and tokens of a prompt read a
second. `best` is each side's quickest turn, the one others on the machine disturbed least; its ratios are the claim.
`quality` holds weights of fewer bits against float32 on a text: KL divergence, in nats per token, the share of tokens
whose likeliest follower is another one, and perplexity. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from textmill.data.batch import Batch
from textmill.decoding.generate import generate
from textmill.decoding.layout import prepare
from textmill.interop.huggingface import directory
from textmill.interop.load import load
from textmill.specs.recipe import GenerationSpec

TEXT = (
    "The mill stood where the two streams met, and on quiet evenings one could hear the wheel from the road. Its "
    "owner, a patient man, had bought it for little from a cousin who preferred the city, and in the first years he "
    "ground only what his neighbours brought him. Then the railway came, and with it flour from elsewhere. 磨坊在两条"
    "小溪交汇的地方，安静的傍晚，从路上就能听见水轮的声音。"
)


class Timed:
    """A transformers streamer that notes when the first token came."""

    def __init__(self) -> None:
        self.calls, self.started = 0, 0.0

    def put(self, value) -> None:
        self.calls += 1
        if self.calls == 2:  # the first call holds the prompt
            self.started = time.perf_counter()

    def end(self) -> None:
        pass


def ours(model, prompt: list[int], tokens: int) -> float:
    started, count = 0.0, 0
    for _ in generate(model, [prompt], GenerationSpec(tokens=tokens, temperature=0), ends=-1):
        started, count = started or time.perf_counter(), count + 1
    return (count - 1) / (time.perf_counter() - started)


@torch.inference_mode()
def theirs(model, prompt: list[int], tokens: int) -> float:
    streamer = Timed()
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "streamer": streamer}
    model.generate(torch.tensor([prompt]), **options)
    return (tokens - 1) / (time.perf_counter() - streamer.started)


@torch.inference_mode()
def our_reading(model, prompt: list[int]) -> float:
    batch = Batch(torch.tensor([prompt]), torch.tensor([prompt]))
    started = time.perf_counter()
    model.begin(batch, len(prompt))
    return len(prompt) / (time.perf_counter() - started)


@torch.inference_mode()
def their_reading(model, prompt: list[int]) -> float:
    started = time.perf_counter()
    model(torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
    return len(prompt) / (time.perf_counter() - started)


@torch.inference_mode()
def quality(exact, other, ids: list[int]) -> dict[str, float]:
    batch = Batch(torch.tensor([ids]), torch.tensor([ids]))
    a, b = exact(batch)[0, :-1].float().log_softmax(-1), other(batch)[0, :-1].float().log_softmax(-1)
    target = torch.tensor(ids[1:])[:, None]
    return {
        "kl": round(float((a.exp() * (a - b)).sum(-1).mean()), 6),
        "other_likeliest": round(float((a.argmax(-1) != b.argmax(-1)).float().mean()), 4),
        "perplexity": round(float(torch.exp(-b.gather(1, target).mean())), 4),
        "perplexity_float32": round(float(torch.exp(-a.gather(1, target).mean())), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--text", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    import transformers

    transformers.logging.set_verbosity_error()
    started = time.perf_counter()
    published = load(options.model)
    loading = time.perf_counter() - started
    tokenizer, exact = published.tokenizer, published.model
    text = options.text.read_text(encoding="utf-8") if options.text else TEXT
    ids = [*tokenizer.prefix, *tokenizer.encode(text).tolist()]
    prompt = (ids * (options.prompt // len(ids) + 1))[: options.prompt]
    with tempfile.TemporaryDirectory() as place:
        directory.write_directory(Path(place) / "m", exact, tokenizer, published.generation, {})
        kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        twins = {
            f"transformers {name}": transformers.AutoModelForCausalLM.from_pretrained(
                Path(place) / "m", dtype=dtype, local_files_only=True
            ).eval()
            for name, dtype in kinds.items()
        }
    mine = {f"textmill {kind}": prepare(exact, kind) for kind in ("fp32", "bf16", "int8")}
    decoding: dict[str, list[float]] = {name: [] for name in (*twins, *mine)}
    reading: dict[str, list[float]] = {name: [] for name in (*twins, *mine)}
    for turn in range(options.turns + 1):  # the first warms up
        for name, model in {**twins, **mine}.items():
            decode, read = (theirs, their_reading) if name in twins else (ours, our_reading)
            speeds = decode(model, prompt[:16], options.tokens), read(model, prompt)
            if turn:
                decoding[name].append(speeds[0])
                reading[name].append(speeds[1])
    base = "transformers float32"
    print(
        json.dumps(
            {
                "model": options.model.name,
                "threads": options.threads,
                "load_seconds": round(loading, 2),
                "decoding": {
                    name: {"best": round(max(turns), 2), "median": round(statistics.median(turns), 2)}
                    for name, turns in decoding.items()
                },
                "decoding_ratio_best": {
                    name: round(max(turns) / max(decoding[base]), 2) for name, turns in decoding.items()
                },
                "reading": {name: round(max(turns), 1) for name, turns in reading.items()},
                "quality": {
                    kind: quality(exact, mine[f"textmill {kind}"], ids[:512]) for kind in ("bf16", "int8")
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
