from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from textmill.base.errors import DamagedError
from textmill.data import tokens
from textmill.data.tokens import FILES, TokenStore, write_tokens
from textmill.specs.recipe import TokenizerSpec
from textmill.text.document import collected
from textmill.tokenization.training import train

TEXTS = ["one", "", "中文和 English", "👩‍👩‍👧\n", "x" * 1000, "lone \ud800 surrogate"]
DOCUMENTS = [collected(text, f"{place}.txt") for place, text in enumerate(TEXTS)]


def test_every_document_comes_back_and_ends(tmp_path, tokenizer):
    manifest = write_tokens(tmp_path / "t", DOCUMENTS, tokenizer)
    store = TokenStore(tmp_path / "t")
    store.verify()
    assert len(store) == len(TEXTS) == manifest["documents"]
    assert store.tokens == len(store.ids) == manifest["tokens"]
    for place, document in enumerate(DOCUMENTS):
        ids = store.document(place)
        assert ids[-1] == tokenizer.end
        assert tokenizer.end not in ids[:-1]
        assert tokenizer.decode(ids) == document.text.replace("\ud800", "\ufffd")
        assert store.document_id(place) == document.id
        assert store.bytes[place] == len(tokenizer.decode(ids).encode())
    assert manifest["bytes"] == store.bytes.sum()
    assert (store.tokenizer, store.end, store.vocabulary) == (
        tokenizer.id,
        tokenizer.end,
        tokenizer.vocabulary,
    )


def test_chunks_do_not_show(tmp_path, tokenizer, monkeypatch):
    whole = write_tokens(tmp_path / "a", DOCUMENTS, tokenizer)
    monkeypatch.setattr(tokens, "_CHUNK", 4)
    assert write_tokens(tmp_path / "b", iter(DOCUMENTS), tokenizer) == whole


def test_the_width_of_ids_follows_the_vocabulary(tmp_path, tokenizer):
    write_tokens(tmp_path / "narrow", DOCUMENTS, tokenizer)
    assert TokenStore(tmp_path / "narrow").ids.dtype == np.uint16
    many = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 20_000)) + "".join(
        chr(code) for code in range(0x20000, 0x20000 + 46_000)
    )
    wide = train(TokenizerSpec(kind="characters", vocabulary=70_000), [many])
    assert wide.vocabulary > 1 << 16
    write_tokens(tmp_path / "wide", [collected(many, "m")], wide)
    store = TokenStore(tmp_path / "wide")
    assert store.ids.dtype == np.uint32
    assert wide.decode(store.document(0)) == many


def test_a_store_of_nothing_can_be_written_and_read(tmp_path, tokenizer):
    write_tokens(tmp_path / "t", [], tokenizer)
    store = TokenStore(tmp_path / "t")
    assert (len(store), store.tokens, len(store.ids)) == (0, 0, 0)


def test_documents_at(make_store):
    store = make_store([2, 0, 3])  # with the ends: 3, 1 and 4 tokens
    assert store.documents_at(np.arange(8)).tolist() == [0, 0, 0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["cut", "grown", "missing"])
def test_a_file_of_another_size_is_found_on_opening(tmp_path, tokenizer, name, how):
    write_tokens(tmp_path / "t", DOCUMENTS, tokenizer)
    path = tmp_path / "t" / name
    data = path.read_bytes()
    path.unlink() if how == "missing" else path.write_bytes(data[:-1] if how == "cut" else data + b"\0")
    with pytest.raises(DamagedError, match=name):
        TokenStore(tmp_path / "t")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_by_verify(tmp_path, tokenizer, name):
    write_tokens(tmp_path / "t", DOCUMENTS, tokenizer)
    path = tmp_path / "t" / name
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=name):
        TokenStore(tmp_path / "t").verify()


@pytest.mark.parametrize("change", [{"format": 99}, {"dtype": "uint32"}, {"documents": 5}, {"tokens": 7}])
def test_a_lying_manifest_is_found(tmp_path, tokenizer, change):
    manifest = write_tokens(tmp_path / "t", DOCUMENTS, tokenizer)
    (tmp_path / "t" / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(DamagedError):
        TokenStore(tmp_path / "t")


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": 2}'])
def test_a_broken_manifest_is_found(tmp_path, tokenizer, text):
    write_tokens(tmp_path / "t", DOCUMENTS, tokenizer)
    (tmp_path / "t" / "manifest.json").write_text(text)
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        TokenStore(tmp_path / "t")


def test_a_writer_that_fails_leaves_nothing(tmp_path, tokenizer):
    def failing():
        yield DOCUMENTS[0]
        yield replace(DOCUMENTS[1], id="no hex")

    with pytest.raises(ValueError, match="hex"):
        write_tokens(tmp_path / "t", failing(), tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_loses_text_is_counted(tmp_path, tokenizer):
    """Small letters only: what a model is not asked for must not look as if it had been foretold."""
    tokenizer.save(tmp_path / "tokenizer.json")
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    document["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    lower = type(tokenizer).load(tmp_path)
    texts = ["one Mill", "two mills", "Three", "四"]
    write_tokens(tmp_path / "t", [collected(text, text) for text in texts], lower)
    assert TokenStore(tmp_path / "t").changed == 2
    write_tokens(tmp_path / "u", [collected(text, text) for text in texts], tokenizer)
    assert TokenStore(tmp_path / "u").changed == 0
