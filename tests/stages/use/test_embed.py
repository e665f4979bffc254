"""Embedding texts: a vector is that of the text alone, pooled as the model's directory says."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from textmill.base.errors import DamagedError, TextmillError
from textmill.data.batch import Batch
from textmill.interop import formats
from textmill.interop.huggingface import directory, sentences
from textmill.interop.huggingface.sentences import Sentences
from textmill.models.build import build
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec
from textmill.specs.recipe import GenerationSpec
from textmill.stages.use.embed import embed

SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 40}
SPECS = {
    "encoder": EncoderSpec(**SMALL),
    "decoder": DecoderSpec(**SMALL),
    "encoder-decoder": EncoderDecoderSpec(**SMALL),
}
TEXTS = ["a short one", "and one that is longer than the first", "x", "磨坊"]


def written(place, name, tokenizer):
    model = build(SPECS[name], tokenizer.vocabulary, seed=1).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    directory.write_directory(place, model, tokenizer, GenerationSpec(), {})
    return directory.read_directory(place)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("pooling", ["mean", "first", "last", "max"])
def test_a_vector_is_that_of_its_text_alone(name, pooling, tmp_path, tokenizer):
    model = written(tmp_path, name, tokenizer)
    how = Sentences(pooling=pooling, normalised=pooling != "max")
    together = embed(model, TEXTS, how)
    assert together.cut == 0
    lead = [] if name == "decoder" else [tokenizer.start]  # as it was trained
    rows = [[*lead, *tokenizer.encode(text).tolist()] for text in TEXTS]
    assert together.tokens == list(map(len, rows))
    for row, read in enumerate(rows):
        ids = torch.tensor([read])
        with torch.no_grad():
            network = model.model
            states = network.encode(ids) if name == "encoder-decoder" else network.hidden(Batch(ids, ids))
        states = states[0]
        pooled = {"mean": states.mean(0), "first": states[0], "last": states[-1], "max": states.amax(0)}[
            pooling
        ]
        want = pooled / pooled.norm() if how.normalised else pooled
        np.testing.assert_allclose(together.vectors[row], want.numpy(), atol=1e-5)


def test_long_texts_are_cut_and_it_is_said(tmp_path, tokenizer):
    model = written(tmp_path, "encoder", tokenizer)
    embedded = embed(model, ["x" * 100, "y"], Sentences(tokens=12))
    assert (embedded.tokens, embedded.cut) == ([12, 2], 1)


def say(place, pooling, modules=("Transformer", "Pooling", "Normalize"), **more):
    listed = [
        {"idx": n, "path": "" if not n else f"{n}_{kind}", "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(modules)
    ]
    (place / "modules.json").write_text(json.dumps(listed))
    (place / "1_Pooling").mkdir(exist_ok=True)
    (place / "1_Pooling/config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True} | more))


def test_what_a_directory_says(tmp_path):
    assert sentences.settings(tmp_path) is None
    say(tmp_path, "cls_token", ("Transformer", "Pooling"))
    assert sentences.settings(tmp_path) == Sentences(pooling="first", normalised=False)
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    (tmp_path / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "query: "}, "default_prompt_name": "query"}'
    )
    say(tmp_path, "mean_tokens")
    assert sentences.settings(tmp_path) == Sentences(tokens=16, before="query: ")
    assert set(sentences.files(tmp_path)) == {
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
    }


def test_what_is_not_supported_is_refused(tmp_path):
    say(tmp_path, "mean_sqrt_len_tokens")
    with pytest.raises(TextmillError, match="mean_sqrt_len_tokens, which is not supported"):
        sentences.settings(tmp_path)
    say(tmp_path, "mean_tokens", ("Transformer", "Pooling", "Dense"))
    with pytest.raises(TextmillError, match="'Dense'"):
        sentences.settings(tmp_path)
    for text in ("{}", "[1]", "["):
        (tmp_path / "modules.json").write_text(text)
        with pytest.raises(DamagedError):
            sentences.settings(tmp_path)
    (tmp_path / "modules.json").write_text('[{"type": "a.Pooling", "path": "../../etc"}]')
    with pytest.raises(DamagedError, match="outside its directory"):
        sentences.settings(tmp_path)


def test_how_a_text_is_read(tmp_path):
    say(tmp_path, "mean_tokens", include_prompt=False)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 24}')
    (tmp_path / "sentence_roberta_config.json").write_text('{"do_lower_case": true, "unpad_inputs": null}')
    found = sentences.settings(tmp_path)
    assert found == Sentences(tokens=24, lower=True, pools_before=False)
    assert found.read("Straße ΣΑΣ İx") == "straße σασ i\u0307x"  # letter by letter: no final sigma
    assert "sentence_roberta_config.json" in sentences.files(tmp_path)
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')  # which comes first
    assert sentences.settings(tmp_path) == Sentences(tokens=9, pools_before=False)
    (tmp_path / "1_Pooling/config.json").write_text('{"pooling_mode": ["lasttoken"]}')
    assert sentences.settings(tmp_path).pooling == "last"


@pytest.mark.parametrize(
    ("file", "said", "why"),
    [
        ("sentence_bert_config.json", {"query_expansion": {"length": 8}}, "query_expansion"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task"),
        ("sentence_bert_config.json", {"tokenizer_args": {"do_lower_case": True}}, "tokenizer_args"),
        ("sentence_bert_config.json", {"do_lower_case": "yes"}, "do_lower_case is 'yes'"),
        ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length is 0"),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "no such prompt"),
        ("1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]}, "pooling"),
    ],
)
def test_settings_are_followed_or_refused_by_name(file, said, why, tmp_path):
    say(tmp_path, "mean_tokens")
    (tmp_path / file).write_text(json.dumps(said))
    with pytest.raises(TextmillError, match=why):
        sentences.settings(tmp_path)


def test_what_is_put_before_a_text_need_not_be_pooled(tmp_path, tokenizer):
    model = written(tmp_path, "encoder", tokenizer)
    how = Sentences(before="query: ", pools_before=False, normalised=False)
    ids = [tokenizer.start, *tokenizer.encode("query: the mill").tolist()]
    skipped = 1 + len(tokenizer.encode("query: "))
    with torch.no_grad():
        rows = torch.tensor([ids])
        states = model.model.hidden(Batch(rows, rows))[0, skipped:]
    want = {"mean": states.mean(0), "first": states[0], "last": states[-1], "max": states.amax(0)}
    for pooling, vector in want.items():
        read = embed(model, ["the mill", "a text that is longer"], dataclasses.replace(how, pooling=pooling))
        np.testing.assert_allclose(read.vectors[0], vector.numpy(), atol=1e-5)
    with pytest.raises(TextmillError, match="leaves no room"):
        embed(model, ["the mill"], dataclasses.replace(how, tokens=skipped))


@pytest.mark.parametrize("form", ["huggingface", pytest.param("onnx", marks=pytest.mark.slow), "ctranslate2"])
def test_pooling_is_written_beside_every_export(form, tmp_path, tokenizer):
    for package in {"onnx": ["onnx", "onnxruntime"], "ctranslate2": ["ctranslate2"]}.get(form, []):
        pytest.importorskip(package)
    written(tmp_path / "model", "encoder", tokenizer)
    say(tmp_path / "model", "cls_token", include_prompt=False)
    (tmp_path / "model/sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": true}')
    how = sentences.settings(tmp_path / "model")
    formats.FORMATS[form].write(directory.read_directory(tmp_path / "model"), tmp_path / "out")
    assert sentences.settings(tmp_path / "out") == how
    assert how == Sentences(pooling="first", tokens=16, lower=True, pools_before=False)


@pytest.mark.slow
def test_the_verb(tmp_path, tokenizer, textmill):
    written(tmp_path / "model", "encoder", tokenizer)
    (tmp_path / "texts.txt").write_text("a b c\nthe mill\n", encoding="utf-8")
    told = json.loads(textmill("embed", "model", "a b c", "--file", "texts.txt", "--json").stdout)
    assert (told["width"], told["pooling"], told["normalised"], told["texts"]) == (32, "mean", True, 3)
    assert told["embeddings"][0] == pytest.approx(told["embeddings"][1], abs=1e-6)
    lines = textmill("embed", "model", "the mill").stdout.splitlines()
    assert json.loads(lines[0]) == pytest.approx(told["embeddings"][2], abs=1e-6)
    textmill("embed", "model", "the mill", "--out", "v.npy", "--raw", "--pooling", "cls")
    assert np.load(tmp_path / "v.npy").shape == (1, 32)
    assert textmill("embed", "model", check=False).returncode == 2
    assert textmill("embed", "model", "x", "--pooling", "best", check=False).returncode == 2


WEIGHTS = Path(os.environ.get("TEXTMILL_WEIGHTS", "nowhere")) / "minilm-l6-v2"


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="TEXTMILL_WEIGHTS names no folder with minilm-l6-v2")
def test_minilm_gives_the_vectors_of_the_reference(tmp_path, textmill):
    """transformers, the mean over real tokens, length 1 (the model's card)."""
    transformers = pytest.importorskip("transformers")
    texts = [
        "The mill grinds corn into flour.",
        "Flour is made of grain at the mill.",
        "Quarterly earnings fell short of expectations.",
        "这是一个句子。",
        "A much longer text. " * 40,
        "",
    ]
    how = sentences.settings(WEIGHTS)
    assert how == Sentences(pooling="mean", normalised=True, tokens=256)
    vectors = embed(directory.read_directory(WEIGHTS), texts, how).vectors
    tokenizer = transformers.AutoTokenizer.from_pretrained(WEIGHTS)
    model = transformers.AutoModel.from_pretrained(WEIGHTS).eval()
    given = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**given).last_hidden_state
    real = given["attention_mask"][..., None].float()
    mean = (states * real).sum(1) / real.sum(1)
    want = torch.nn.functional.normalize(mean, dim=-1).numpy()
    assert np.abs(vectors - want).max() < 1e-5
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    textmill("import", WEIGHTS, "again")
    told = json.loads(textmill("embed", "again", *texts[:3], "--json").stdout)
    assert np.abs(np.array(told["embeddings"]) - want[:3]).max() < 1e-5
