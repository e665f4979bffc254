"""Sentences a second of an encoder-decoder, greedy and by beams: Textmill, transformers' Marian, CTranslate2.

The same weights in all (drawn at random; speed does not depend on them), written by us, in the shape of the opus-mt
models (6 + 6 blocks of 512, 58,101 ids) or another: `--width 256 --layers 3 --vocabulary 10000` is the small one of
benchmarks/pairs.py. Every sentence is answered with exactly `--tokens` tokens, so that all do the same work. Each
contestant is a process of its own, and they take turns. `best` is the quickest turn of each, the one others on the
machine disturbed least; `median` is over all turns; `ratio` is ours to theirs. `same` names who gave our tokens.
CTranslate2, where it is installed, runs our export to it, with weights in float32 and in int8.

    python benchmarks/translation.py [--batch 32] [--tokens 24] [--beams 1 5] [--turns 5] [--threads 2]

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from textmill.base import machine
from textmill.decoding.decode import answers
from textmill.decoding.layout import prepare
from textmill.decoding.prompt import Prompt
from textmill.interop.huggingface import directory
from textmill.interop.load import load
from textmill.models.build import build
from textmill.models.pretrained import Pretrained
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import EncoderDecoderSpec
from textmill.specs.position import SinusoidalPositions
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.training import train


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


def turns(way: Callable[[list[list[int]], int, int], list[list[int]]], options: argparse.Namespace) -> None:
    """Answer as often as the parent asks, with so many beams; say how long it took, and what came out."""
    torch.set_num_threads(options.threads)
    sources = json.loads((options.folder / "sources.json").read_text())
    for line in sys.stdin:
        begun = time.perf_counter()
        told = way(sources, int(line), options.tokens)
        print(json.dumps([time.perf_counter() - begun, told]), flush=True)


def ours(options: argparse.Namespace) -> None:
    """As `textmill generate` does it."""
    machine.keep_memory()
    model = load(options.folder / "m").model
    ready: dict[int, Any] = {}

    def way(sources: list[list[int]], beams: int, tokens: int) -> list[list[int]]:
        rows = options.batch * beams
        ready[rows] = ready.get(rows) or prepare(model, rows=rows)
        prompts = [Prompt([options.vocabulary - 1], source=one) for one in sources]
        spec = GenerationSpec(tokens=tokens, temperature=0, beams=beams)
        return [list(best.ids) for (best,) in answers(ready[rows], prompts, spec, ends=(), rows=len(sources))]

    turns(way, options)


def theirs(options: argparse.Namespace) -> None:
    """transformers, as it comes."""
    import transformers

    model = transformers.MarianMTModel.from_pretrained(options.folder / "m", dtype=torch.float32).eval()

    def way(sources: list[list[int]], beams: int, tokens: int) -> list[list[int]]:
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

    turns(way, options)


def converted(kind: str) -> Callable[[argparse.Namespace], None]:
    """CTranslate2, running our export to it in weights of that kind."""

    def role(options: argparse.Namespace) -> None:
        from ctranslate2 import Translator

        translator = Translator(
            str(options.folder / kind), compute_type=kind, inter_threads=1, intra_threads=options.threads
        )
        words = json.loads((options.folder / kind / "shared_vocabulary.json").read_text())
        number = {word: place for place, word in enumerate(words)}

        def way(sources: list[list[int]], beams: int, tokens: int) -> list[list[int]]:
            found = translator.translate_batch(
                [[words[one] for one in row] for row in sources],
                beam_size=beams,
                max_decoding_length=tokens,
                min_decoding_length=tokens,
            )
            return [[number[word] for word in row.hypotheses[0]] for row in found]

        turns(way, options)

    return role


CONTESTANTS = {
    "textmill": ours,
    "transformers": theirs,
    "ctranslate2 float32": converted("float32"),
    "ctranslate2 int8": converted("int8"),
}


def tokenizer_of(vocabulary: int) -> Any:
    """Of that many ids: a file of a model goes with one of as many."""
    rare = "".join(map(chr, [*range(0x4E00, 0xA000), *range(0x20000, 0x2A6E0)]))
    found = train(TokenizerSpec(kind="characters", vocabulary=vocabulary), [rare])
    assert found.vocabulary == vocabulary, f"at most {found.vocabulary} ids"
    return found


def written(options: argparse.Namespace, folder: Path) -> list[str]:
    """Put the model and the sources into a folder; who can read them here."""
    model, tokenizer = model_of(options), tokenizer_of(options.vocabulary)
    directory.write_directory(folder / "m", model, tokenizer, GenerationSpec(), {})
    generator = torch.Generator().manual_seed(2)
    shape = (options.batch, options.source)
    sources = torch.randint(300, options.vocabulary - 1, shape, generator=generator).tolist()
    (folder / "sources.json").write_text(json.dumps(sources))
    names = list(CONTESTANTS)
    if importlib.util.find_spec("ctranslate2") is None:
        return names[:2]
    from textmill.interop import ctranslate2

    published = Pretrained(model, tokenizer, model.spec, GenerationSpec(), {})
    for kind, quantization in (("float32", None), ("int8", "int8")):
        ctranslate2.write_ctranslate2(published, folder / kind, quantization=quantization)
    return names


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
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        CONTESTANTS[options.role](options)
        return
    with tempfile.TemporaryDirectory() as folder:
        names = written(options, Path(folder))
        processes = {
            name: subprocess.Popen(
                [sys.executable, *sys.argv, "--as", name, "--folder", folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": str(options.threads)},
            )
            for name in names
        }
        try:
            report = {beams: compared(processes, beams, options) for beams in options.beams}
        finally:
            for process in processes.values():
                process.kill()
    del options.role, options.folder
    print(json.dumps({"options": vars(options), "torch": torch.__version__, "beams": report}, indent=2))


def compared(processes: dict[str, Any], beams: int, options: argparse.Namespace) -> dict[str, Any]:
    """Every contestant's turns, one after the other."""

    def ask(name: str) -> tuple[float, list[list[int]]]:
        process = processes[name]
        process.stdin.write(f"{beams}\n")
        process.stdin.flush()
        seconds, answer = json.loads(process.stdout.readline())
        time.sleep(0.3)  # threads that wait for more work by turning round have gone to sleep by then
        return seconds, answer

    told = {name: ask(name)[1] for name in processes}
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    for _ in range(options.turns):
        for name in processes:
            seconds[name].append(ask(name)[0])
    best = {name: round(options.batch / min(every), 1) for name, every in seconds.items()}
    median = {name: round(options.batch / statistics.median(every), 1) for name, every in seconds.items()}
    return {
        "sentences_per_second": {"best": best, "median": median},
        "ratio": {
            name: {
                "best": round(best["textmill"] / best[name], 2),
                "median": round(median["textmill"] / median[name], 2),
            }
            for name in list(processes)[1:]
        },
        "same": [name for name in list(told)[1:] if told[name] == told["textmill"]],
    }


if __name__ == "__main__":
    main()
