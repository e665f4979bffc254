"""Sentences a second of an encoder-decoder, greedy and by beams: Textmill, transformers' Marian, CTranslate2.

The same weights in both (drawn at random; speed does not depend on them), written by us and read by transformers, in
the shape of the opus-mt models (6 + 6 blocks of 512, 58,101 ids) or another. Every sentence is answered with exactly
`--tokens` tokens, so that all do the same work. They take turns: A B A B. `best` is the quickest turn of each, the one
others on the machine disturbed least; `median` is over all turns; `ratio` is ours to theirs. `same` names who gave our
tokens. Where CTranslate2 is installed, our export to it follows, with weights in float32 and in int8.

    python benchmarks/translation.py [--batch 32] [--tokens 24] [--beams 1 5] [--turns 5] [--threads 2]

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from textmill.base.generation_spec import GenerationSpec
from textmill.base.model_spec import EncoderDecoderSpec
from textmill.base.position_spec import SinusoidalPositions
from textmill.base.spec import TokenizerSpec
from textmill.decoding.answer import answers
from textmill.decoding.prompt import Prompt
from textmill.decoding.weights import prepare
from textmill.interop import huggingface
from textmill.interop.huggingface import Published
from textmill.models.table import build
from textmill.text.tokenizer_training import train


def model_of(options: argparse.Namespace) -> Any:
    """A random Marian whose next token depends on what was read."""
    spec = EncoderDecoderSpec(
        d_model=options.width,
        layers=options.layers,
        heads=options.width // 64,
        d_ff=4 * options.width,
        position=SinusoidalPositions(layout="halves"),
        activation="silu",
        output_bias=True,
        dropout=0.0,
        start=options.vocabulary - 1,
    )
    return build(spec, options.vocabulary, seed=1).eval()


def ours(model: Any, sources: list[list[int]], beams: int, tokens: int) -> list[list[int]]:
    """The tokens of each answer."""
    prompts = [Prompt([model.spec.start], source=one) for one in sources]
    spec = GenerationSpec(tokens=tokens, temperature=0, beams=beams)
    return [list(best.ids) for (best,) in answers(model, prompts, spec, ends=(), rows=len(sources))]


def theirs(model: Any, sources: list[list[int]], beams: int, tokens: int) -> list[list[int]]:
    """The same of transformers."""
    ids = torch.tensor(sources)
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            num_beams=beams,
            max_new_tokens=tokens,
            eos_token_id=None,
            forced_eos_token_id=None,
        )
    return out[:, 1:].tolist()


def tokenizer_of(vocabulary: int) -> Any:
    """Of that many ids: a file of a model goes with one of as many."""
    rare = "".join(map(chr, [*range(0x4E00, 0xA000), *range(0x20000, 0x2A6E0)]))
    found = train(TokenizerSpec(kind="characters", vocabulary=vocabulary), [rare])
    assert found.vocabulary == vocabulary, f"at most {found.vocabulary} ids"
    return found


def exported(published: Published, folder: str, threads: int) -> dict[str, Any]:
    """CTranslate2 running our export to it, by the width of its weights."""
    if importlib.util.find_spec("ctranslate2") is None:
        return {}
    from ctranslate2 import Translator

    from textmill.interop import ctranslate2

    made = {}
    for kind, quantization in (("float32", None), ("int8", "int8")):
        place = f"{folder}/{kind}"
        ctranslate2.write(published, place, quantization=quantization)
        made[f"ctranslate2 {kind}"] = Translator(
            place, device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads
        )
    return made


def converted(translator: Any, sources: list[list[int]], words: list[str], beams: int, tokens: int) -> list:
    """The tokens of each answer of CTranslate2."""
    number = {word: place for place, word in enumerate(words)}
    found = translator.translate_batch(
        [[words[one] for one in row] for row in sources],
        beam_size=beams,
        max_decoding_length=tokens,
        min_decoding_length=tokens,
    )
    return [[number[word] for word in row.hypotheses[0]] for row in found]


def compared(
    ways: dict[str, Callable[[], list[list[int]]]], turns: int
) -> tuple[dict[str, list[float]], dict[str, list[list[int]]]]:
    """Seconds of every turn of each way, one after the other; and what each gave."""
    told = {name: way() for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begun)
    return seconds, told


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--source", type=int, default=24)
    parser.add_argument("--beams", type=int, nargs="*", default=[1, 5])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=58101)
    options = parser.parse_args()
    import transformers

    torch.set_num_threads(options.threads)
    model = model_of(options)
    tokenizer = tokenizer_of(options.vocabulary)
    published = Published(model, tokenizer, model.spec, GenerationSpec(), {})
    with tempfile.TemporaryDirectory() as folder:
        huggingface.write(f"{folder}/m", model, tokenizer, GenerationSpec(), {})
        twin = transformers.MarianMTModel.from_pretrained(f"{folder}/m", dtype=torch.float32).eval()
        translators = exported(published, folder, options.threads)
        words = (
            json.loads(Path(f"{folder}/float32/shared_vocabulary.json").read_text()) if translators else []
        )
    generator = torch.Generator().manual_seed(2)
    shape = (options.batch, options.source)
    sources = torch.randint(300, options.vocabulary - 1, shape, generator=generator).tolist()
    report: dict[str, Any] = {"options": vars(options), "torch": torch.__version__, "beams": {}}
    for beams in options.beams:
        ready = prepare(model, rows=options.batch * beams)
        ways = {
            "textmill": lambda beams=beams, ready=ready: ours(ready, sources, beams, options.tokens),
            "transformers": lambda beams=beams: theirs(twin, sources, beams, options.tokens),
        }
        alone = {
            name: lambda beams=beams, it=translator: converted(it, sources, words, beams, options.tokens)
            for name, translator in translators.items()
        }
        seconds, told = compared(ways, options.turns)
        # By themselves: their threads go on waiting for work in the turn of whoever comes next.
        for name, way in alone.items():
            more, answers = compared({name: way}, options.turns)
            seconds, told = seconds | more, told | answers
        best = {name: round(options.batch / min(all_), 1) for name, all_ in seconds.items()}
        median = {name: round(options.batch / statistics.median(all_), 1) for name, all_ in seconds.items()}
        report["beams"][beams] = {
            "sentences_per_second": {"best": best, "median": median},
            "ratio": {
                name: {
                    "best": round(best["textmill"] / best[name], 2),
                    "median": round(median["textmill"] / median[name], 2),
                }
                for name in list(seconds)[1:]
            },
            "same": [name for name in list(told)[1:] if told[name] == told["textmill"]],
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
