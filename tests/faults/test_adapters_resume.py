"""An adapter, killed at random moments, goes on to the very bytes of a run that was not: over float32 and 8 bits."""

from __future__ import annotations

import pytest

from conftest import TEXT
from textmill.interop.huggingface.directory import write_directory
from textmill.models.build import build
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization import training

RECIPE = """
name = "tiny"
seed = 7

[corpus]
sources = [{{ kind = "files", paths = ["{texts}"] }}]
split = {{ validation = 0.15, test = 0.15 }}

[start]
model = "./start"

[tuning]
kind = "lora"
rank = 4
dropout = 0.1
base = "{base}"

[training]
steps = 24
batch = 4
sequence = 32
evaluate_every = 6
evaluate_tokens = 300
average = {{ decay = 0.9 }}
save = {{ every = 3, keep = 2 }}
"""


@pytest.fixture(params=["fp32", "int8"])
def tiny_recipe(request, tmp_path, texts):
    words = training.train(TokenizerSpec(vocabulary=320), [TEXT])
    spec = DecoderSpec(d_model=32, layers=2, heads=2, d_ff=64, context=32)
    model = build(spec, words.vocabulary, seed=3).eval()
    write_directory(tmp_path / "start", model, words, GenerationSpec(), {})
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(texts=texts, base=request.param))
    return path


@pytest.mark.slow
def test_twenty_kills_at_random_moments(kill_at_random_moments):
    kill_at_random_moments(kills=20, seed=6)
