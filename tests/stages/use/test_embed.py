"""Embedding texts: a vector is that of the text alone, pooled as the model's directory says."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from textmill.base.errors import DamagedError, TextmillError
from textmill.data.batch import Batch
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
    assert together.tokens == [len(tokenizer.encode(text)) for text in TEXTS]
    for row, text in enumerate(TEXTS):
        ids = torch.tensor([tokenizer.encode(text).tolist()])
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
    assert (embedded.tokens, embedded.cut) == ([12, 1], 1)


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
