"""Real checkpoints as others packed them: transformers' logits and its greedy words, from the same file.

The environment variable TEXTMILL_WEIGHTS names a folder that holds them, at any depth.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from textmill.data.batch import IGNORE, Batch
from textmill.decoding.generate import generate
from textmill.interop.load import load
from textmill.specs.recipe import GenerationSpec

pytestmark = pytest.mark.slow
ENGLISH = [
    "The capital of France is",
    "Once upon a time there was a miller who",
    "def fibonacci(n):\n",
    "Water boils at a temperature of",
    "Dear Sir or Madam,\n\nI am writing to",
]
MORE_ENGLISH = [
    "The three primary colours are",
    "In 1969 the first human",
    "To make bread you need flour, water,",
    "Question: What is 12 times 12?\nAnswer:",
    "The old house at the end of the road",
]
CHINESE = ["中国的首都是", "从前有一位磨坊主，", "水的沸点是", "今天的天气很好，我们", "春天来了，花园里"]
FILES = {
    "SmolLM2-135M-Instruct.Q4_1.gguf": ENGLISH + MORE_ENGLISH,
    "gemma-3-270m-q4_k_m.gguf": ENGLISH + CHINESE,
}
TOKENS = 64


def find(name: str) -> Path:
    folder = os.environ.get("TEXTMILL_WEIGHTS")
    found = next(Path(folder).rglob(name), None) if folder else None
    if found is None:
        pytest.skip(f"TEXTMILL_WEIGHTS names no folder with {name}")
    return found


@pytest.fixture(scope="module", params=FILES)
def both(request):
    """Ours, and transformers' model of the same file."""
    path = find(request.param)
    transformers = pytest.importorskip("transformers")
    ours = load(path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, local_files_only=True
    ).eval()
    return ours, theirs, FILES[request.param]


def prompts_of(published, texts):
    tokenizer = published.tokenizer
    return [[*tokenizer.prefix, *tokenizer.encode(text).tolist()] for text in texts]


@torch.inference_mode()
def test_the_same_logits(both):
    """The last row is longer than Gemma's window of 512 tokens."""
    ours, theirs, texts = both
    long = [token for ids in prompts_of(ours, texts * 12) for token in ids][:700]
    for ids in (*prompts_of(ours, texts), long):
        inputs = torch.tensor([ids])
        found = ours.model(Batch(inputs, torch.full_like(inputs, IGNORE)))
        assert float((found - theirs(inputs).logits).abs().max()) < 1e-3


@torch.inference_mode()
def test_the_same_greedy_words(both):
    ours, theirs, texts = both
    spec = GenerationSpec(tokens=TOKENS, temperature=0.0)
    theirs.generation_config.eos_token_id = None  # nobody stops early
    for ids in prompts_of(ours, texts):
        wanted = theirs.generate(
            torch.tensor([ids]),
            max_new_tokens=TOKENS,
            do_sample=False,
            repetition_penalty=1.0,
            pad_token_id=ours.tokenizer.pad,
        )[0, len(ids) :].tolist()
        found = [piece.id for piece in generate(ours.model, [ids], spec, ends=())]
        assert found == wanted, ours.tokenizer.decode(ids)
