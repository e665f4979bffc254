"""CTranslate2 directories: the model's numbers, and its greedy tokens."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.interop import ctranslate2
from textmill.models.build import build
from textmill.models.pretrained import Pretrained
from textmill.specs.head import TagHead
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec, RecurrentSpec
from textmill.specs.position import (
    LearnedPositions,
    Llama3Scaling,
    RotaryPositions,
    SinusoidalPositions,
    T5Positions,
)
from textmill.specs.recipe import GenerationSpec

if any(importlib.util.find_spec(name) is None for name in ("ctranslate2", "transformers")):
    pytest.skip("ctranslate2 or transformers is not installed", allow_module_level=True)
SMALL = {"d_model": 32, "heads": 4, "layers": 2, "d_ff": 64, "context": 64}
GPT2 = {"norm": "layernorm", "bias": "all", "activation": "gelu_tanh", "norm_eps": 1e-5}
T5 = {"norm": "rmsnorm", "norm_eps": 1e-6, "placement": "pre", "bias": "none", "attention_scale": 1.0}
CASES = {
    "llama": DecoderSpec(**SMALL, kv_heads=2),
    "qwen2": DecoderSpec(**SMALL, kv_heads=2, bias="qkv"),
    "qwen3": DecoderSpec(**SMALL, kv_heads=2, qk_norm=True),
    "gpt2": DecoderSpec(**SMALL, position=LearnedPositions(), **GPT2),
    "bert": EncoderSpec(**SMALL),
    "distilbert": EncoderSpec(**SMALL, segments=0, pooler=False),
    "marian": EncoderDecoderSpec(
        **SMALL, activation="silu", output_bias=True, position=SinusoidalPositions(layout="halves")
    ),
    "bart": EncoderDecoderSpec(
        **SMALL, activation="gelu", output_bias=True, position=LearnedPositions(), embedding_norm=True
    ),
    "t5": EncoderDecoderSpec(**SMALL, position=T5Positions(), logit_scale=32**-0.5, **T5),
}
QUICK = ("llama", "marian")


def make(spec, tokenizer, head=None) -> Pretrained:
    model = build(spec, tokenizer.vocabulary, seed=1, head=head).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return Pretrained(model, tokenizer, spec, GenerationSpec(), {})


def greedy(model, batch: Batch, steps: int) -> list[int]:
    logits, state = model.begin(batch, 64)
    said = []
    for _ in range(steps):
        token = logits.reshape(1, -1).argmax(-1)
        said.append(int(token))
        logits, state = model.step(token[:, None], state)
    return said


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in CASES]
)
def test_the_converted_model_says_the_same(kind, tokenizer, tmp_path):
    import ctranslate2 as theirs

    published = make(CASES[kind], tokenizer)
    out = tmp_path / "out"
    report = ctranslate2.write_ctranslate2(published, out)  # holds its numbers to the model's
    assert report["kind"] == kind
    assert report["difference"] < 1e-4
    assert (out / "tokenizer.json").is_file()
    assert (out / "model.bin").is_file()
    ids = torch.randint(0, tokenizer.vocabulary, (1, 7))
    if kind in ("llama", "qwen2", "qwen3", "gpt2"):
        vocabulary = json.loads((out / "vocabulary.json").read_text())
        prompt = [[vocabulary[number] for number in ids[0].tolist()]]
        options = {"max_length": 10, "include_prompt_in_result": False, "end_token": []}
        found = theirs.Generator(str(out)).generate_batch(prompt, **options)[0].sequences_ids[0]
        assert found == greedy(published.model, Batch(ids, ids), 10)
    elif kind in ("marian", "bart", "t5"):
        vocabulary = json.loads((out / "shared_vocabulary.json").read_text())
        start = json.loads((out / "config.json").read_text())["decoder_start_token"]
        source = [[vocabulary[number] for number in ids[0].tolist()]]
        options = {"max_decoding_length": 10, "beam_size": 1, "end_token": []}
        found = theirs.Translator(str(out)).translate_batch(source, **options)[0].hypotheses[0]
        first = torch.tensor([[vocabulary.index(start)]])
        said = greedy(published.model, Batch(first, first, source=ids), 10)
        assert found == [vocabulary[number] for number in said]


def test_a_quantised_one_is_smaller(tokenizer, tmp_path):
    published = make(CASES["llama"], tokenizer)
    ctranslate2.write_ctranslate2(published, tmp_path / "wide")
    ctranslate2.write_ctranslate2(published, tmp_path / "narrow", quantization="int8")
    sizes = [(tmp_path / name / "model.bin").stat().st_size for name in ("wide", "narrow")]
    assert sizes[1] < 0.4 * sizes[0]


@pytest.mark.parametrize(
    ("spec", "head", "said"),
    [
        (DecoderSpec(**SMALL, window=8), None, "longer than its window"),
        (RecurrentSpec(d_model=16, layers=1), None, "this architecture is not exported"),
        (EncoderSpec(**SMALL), TagHead(labels=("a", "b")), "supports no heads"),
        (
            DecoderSpec(**SMALL, position=RotaryPositions(scaling=Llama3Scaling(original_context=32))),
            None,
            "differs from it by",
        ),
    ],
)
def test_what_it_cannot_be_trusted_with_is_refused(spec, head, said, tokenizer, tmp_path):
    with pytest.raises(TextmillError, match=said):
        ctranslate2.write_ctranslate2(make(spec, tokenizer, head), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_extra_says_what_to_install(tokenizer, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ctranslate2" else found(name)
    )
    with pytest.raises(TextmillError, match=r"needs ctranslate2; pip install 'textmill\[ct2\]'"):
        ctranslate2.write_ctranslate2(make(CASES["llama"], tokenizer), tmp_path / "out")
