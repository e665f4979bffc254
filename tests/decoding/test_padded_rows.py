"""Rows of a model that its tokenizer has no token for are never written, and an id without a token writes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from textmill.base.console import Silent
from textmill.base.errors import TextmillError
from textmill.decoding.decode import answers
from textmill.decoding.stream import drawable, generate_text
from textmill.interop.huggingface import directory
from textmill.models.build import build
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization.pretrained import PretrainedTokenizer
from textmill.tokenization.tokenizer import Tokenizer

WAYS = {
    "draws": {"temperature": 1.0},
    "greedy": {"temperature": 0.0},
    "filtered": {"temperature": 1.5, "top_k": 20, "top_p": 0.9, "typical_p": 0.9, "no_repeat_ngram": 2},
    "beams": {"beams": 4},
    "contrastive": {"contrastive": 0.6, "top_k": 4},
    "mbr": {"mbr": "chrf", "candidates": 3, "temperature": 1.0},
}


@pytest.fixture(scope="module")
def padded(tokenizer):
    """A model of 40 rows more than there are ids, which it likes best."""
    torch.manual_seed(0)
    model = build(DecoderSpec(d_model=16, layers=1, heads=2, context=64), tokenizer.vocabulary + 40).eval()
    model.embedding.weight.data[tokenizer.vocabulary :] *= 20
    return model


@pytest.mark.parametrize("way", WAYS)
def test_a_row_without_a_token_is_never_written(padded, tokenizer, way):
    spec = GenerationSpec(**{"tokens": 12, **WAYS[way]})
    prompts = [tokenizer.encode("the mill").tolist(), tokenizer.encode("x").tolist()]
    options = {"ends": (), "samples": 1 if "contrastive" in WAYS[way] else 2, "decoder": tokenizer.stream}

    def written(spec):
        found = answers(padded, prompts, spec, **options)
        return [token for row in found for answer in row for token in answer.ids]

    assert max(written(spec)) >= tokenizer.vocabulary
    assert max(written(drawable(spec, padded, tokenizer))) < tokenizer.vocabulary
    texts = generate_text(padded, tokenizer, ["the mill"], spec, samples=options["samples"], ends=())
    assert sum(piece.tokens for piece in texts if piece.finish) == 12 * options["samples"]


def test_nor_by_speculation_or_in_a_published_model(padded, tokenizer, tmp_path):
    directory.write_directory(tmp_path / "m", padded, tokenizer, GenerationSpec(tokens=20), {})
    model = LanguageModel(Workspace(tmp_path / "work", Silent()), str(tmp_path / "m"))
    plain = model.generate("abab", samples=3, temperature=1.0)
    ahead = model.generate("abab", samples=3, temperature=1.0, speculate="prompt")
    assert [one.text for one in plain] == [one.text for one in ahead]
    assert all(one.text for one in plain)


def test_an_id_without_a_token_writes_nothing(tokenizer):
    beyond = tokenizer.vocabulary + 7
    ids = [*tokenizer.encode("ab").tolist(), beyond, *tokenizer.encode("cd").tolist()]
    assert tokenizer.decode(ids) == tokenizer.decode(np.array(ids)) == "abcd"
    assert tokenizer.token_bytes(beyond) == b""
    stream = tokenizer.stream()
    assert "".join(map(stream.push, ids)) + stream.finish() == "abcd"


def test_nor_does_one_of_another_persons_tokenizer():
    document = {
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2}, "unk_token": "[UNK]"},
        "added_tokens": [{"id": 9, "content": "[SEP]", "special": True, "lstrip": False, "rstrip": False}],
        "pre_tokenizer": {"type": "Whitespace"},
    }
    words = PretrainedTokenizer(json.dumps(document).encode())
    assert words.decode([1, 5, 2, 9, 100]) == "a b"  # 5 lies in a gap, 100 beyond: neither has a token
    assert words.token_bytes(100) == words.token_bytes(5) == b""


def test_a_tokenizer_of_more_ids_than_rows_is_refused_with_both_numbers(tokenizer, tmp_path):
    model = build(DecoderSpec(d_model=16, layers=1, heads=2, context=64), tokenizer.vocabulary)
    directory.write_directory(tmp_path / "m", model, tokenizer, GenerationSpec(), {})
    ids = tokenizer.vocabulary

    def with_token(name, **token):
        document = json.loads(tokenizer.data)
        document["added_tokens"].append(
            {"id": ids, "content": name, "special": False, "single_word": False, "lstrip": False}
            | {"rstrip": False, "normalized": False}
            | token
        )
        Tokenizer(json.dumps(document).encode()).save(tmp_path / "m")

    with_token("word")
    with pytest.raises(TextmillError, match=f"{ids + 1} ids and the model has embeddings for {ids}"):
        directory.read_directory(tmp_path / "m")
    with_token("<picture>", special=True)  # which stands in no text
    assert directory.read_directory(tmp_path / "m").tokenizer.vocabulary == ids + 1
