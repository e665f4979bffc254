"""What a model cannot read of a prompt is left out aloud: on stderr, and as data."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from textmill.cli.main import app
from textmill.interop.huggingface import directory
from textmill.models.build import build
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec
from textmill.specs.recipe import GenerationSpec


@pytest.fixture(scope="module", params=["decoder", "encoder-decoder"])
def model(request, tmp_path_factory, tokenizer):
    spec = {"decoder": DecoderSpec, "encoder-decoder": EncoderDecoderSpec}[request.param]
    made = build(spec(d_model=16, layers=1, heads=2, context=16), tokenizer.vocabulary)
    place = tmp_path_factory.mktemp("cut") / request.param
    directory.write_directory(place, made, tokenizer, GenerationSpec(tokens=4), {})
    return place


def told(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done


def test_of_a_prompt(model, tmp_path):
    words = ("generate", model, "short", "x" * 40, "y" * 50, "--work", tmp_path, "--samples", 2)
    found = json.loads(told(*words, "--json").stdout)
    cut = [answer["cut"] for answer in found["answers"]]
    assert cut[:2] == [0, 0]
    assert all(cut[2:])
    assert len(found["warnings"]) == 2  # one a prompt, whatever the samples
    assert f"cut, by {cut[2]} tokens" in found["warnings"][0]
    assert "xxx" in found["warnings"][0]
    said = told(*words)
    assert said.stderr.count("warning: the model reads 16 tokens") == 2
    assert "warning" not in told("generate", model, "short", "--work", tmp_path).stderr


def test_of_a_text_to_embed(model, tmp_path):
    words = ("embed", model, "short", "x" * 40, "--work", tmp_path)
    found = json.loads(told(*words, "--json").stdout)
    around = found["tokens"][0] - len("short")  # what its tokenizer puts around a text
    left_out = 40 - (16 - around)
    assert (found["cut"], found["tokens"][1], found["left_out"]) == (1, 16, [0, left_out])
    assert f"{left_out} tokens in all" in found["warnings"][0]
    assert "1 of 2 texts" in told(*words).stderr
