"""Tokens per second of one row, greedy, GPT-2 124M shape: Textmill beside transformers, and the machine's limit.

The same weights in both (drawn at random; speed does not depend on them): transformers' `generate` with its
cache, Textmill's `generate` with float32 weights and with bfloat16 weights, and transformers in bfloat16. They
take short turns. `best` is the quickest turn of each, the one others on the machine disturbed least, and its
ratios are the claim; `median` is over all turns. The limit is how often a second memory gives up as many bytes
as there are weights.

    python benchmarks/decoding.py [--tokens 24] [--turns 12] [--threads 2]

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from textmill.decoding.generate import generate
from textmill.decoding.layout import prepare
from textmill.models.build import build
from textmill.specs.model import DecoderSpec
from textmill.specs.position import LearnedPositions
from textmill.specs.recipe import GenerationSpec

VOCABULARY = 50257
SPEC = DecoderSpec(
    d_model=768,
    layers=12,
    heads=12,
    d_ff=3072,
    context=1024,
    position=LearnedPositions(),
    norm="layernorm",
    norm_eps=1e-5,
    activation="gelu_tanh",
    bias="all",
)


def ours(model, prompt: list[int], tokens: int) -> tuple[float, list[int]]:
    """Tokens per second after the first one, and the tokens."""
    spec = GenerationSpec(tokens=tokens, temperature=0)
    ids, started = [], 0.0
    for piece in generate(model, [prompt], spec, ends=-1):
        started = started or time.perf_counter()
        ids.append(piece.id)
    return (len(ids) - 1) / (time.perf_counter() - started), ids


class FirstToken:
    """A transformers streamer that notes when the first token came."""

    def __init__(self) -> None:
        self.calls = 0
        self.started = 0.0

    def put(self, value) -> None:
        self.calls += 1
        if self.calls == 2:  # the first call is the prompt
            self.started = time.perf_counter()

    def end(self) -> None:
        pass


def theirs(model, prompt: list[int], tokens: int) -> tuple[float, list[int]]:
    """The same of transformers."""
    streamer = FirstToken()
    with torch.inference_mode():
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=0,
            streamer=streamer,
        )
    return (tokens - 1) / (time.perf_counter() - streamer.started), out[0, len(prompt) :].tolist()


def twin(model) -> torch.nn.Module:
    """A transformers GPT-2 with our weights."""
    import transformers

    config = transformers.GPT2Config(eos_token_id=None, bos_token_id=None)
    other = transformers.GPT2LMHeadModel(config).eval()
    pairs = {
        "transformer.wte": model.embedding,
        "transformer.wpe": model.position_embedding,
        "transformer.ln_f": model.norm,
    }
    for index, block in enumerate(model.blocks):
        at = f"transformer.h.{index}."
        pairs |= {
            at + "ln_1": block.attention_norm,
            at + "attn.c_attn": block.attention.qkv,
            at + "attn.c_proj": block.attention.output,
            at + "ln_2": block.feedforward_norm,
            at + "mlp.c_fc": block.feedforward.up,
            at + "mlp.c_proj": block.feedforward.down,
        }
    with torch.no_grad():
        for name, source in pairs.items():
            target = other.get_submodule(name)
            turned = type(target).__name__ == "Conv1D"
            target.weight.copy_(source.weight.T if turned else source.weight)
            if getattr(target, "bias", None) is not None:
                target.bias.copy_(source.bias)
    return other


def limit(size: int) -> float:
    """Passes a second over `size` bytes of memory, at the best of five."""
    data = torch.ones(size // 4)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        data.sum()
        best = min(best, time.perf_counter() - started)
    return 1 / best


def table(speeds: dict[str, float]) -> dict[str, dict[str, float]]:
    """Tokens per second, and how many times those of transformers in float32."""
    base = speeds["transformers float32"]
    return {
        name: {"tokens_per_second": round(speed, 1), "times_transformers": round(speed / base, 2)}
        for name, speed in speeds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = build(SPEC, VOCABULARY, seed=1).eval()
    other = twin(model)
    ways = {
        "transformers float32": lambda p, n: theirs(other, p, n),
        "textmill float32": lambda p, n: ours(model, p, n),
    }
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        rounded, other_rounded = prepare(model, "bf16"), twin(model).bfloat16()
        ways["textmill bfloat16 weights"] = lambda p, n: ours(rounded, p, n)
        ways["transformers bfloat16"] = lambda p, n: theirs(other_rounded, p, n)
    prompt = list(range(100, 116))
    warm = {name: way(prompt, 8)[1] for name, way in ways.items()}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.turns):
        for name, way in ways.items():
            speeds[name].append(way(prompt, options.tokens)[0])
    size = sum(parameter.numel() for parameter in model.parameters()) * 4
    result = {
        "what": f"greedy decoding of one row, GPT-2 124M shape, {options.threads} threads, {options.tokens} tokens",
        "best": table({name: max(turns) for name, turns in speeds.items()}),
        "median": table({name: statistics.median(turns) for name, turns in speeds.items()}),
        "limit_float32_tokens_per_second": round(limit(size), 1),
        "same_tokens_as_transformers": warm["textmill float32"] == warm["transformers float32"],
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
