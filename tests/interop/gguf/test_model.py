"""Whole models as GGUF files: out and in again, every architecture; and files that are no such model."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from textmill.base.errors import DamagedError, TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.decoding.layout import serving
from textmill.interop import load
from textmill.interop.gguf import model as gguf_read
from textmill.interop.gguf import model as gguf_write
from textmill.interop.gguf import reader, writer
from textmill.specs.model import DecoderSpec, computed
from textmill.specs.position import (
    LinearScaling,
    Llama3Scaling,
    RotaryPositions,
    YarnScaling,
)
from textmill.specs.recipe import GenerationSpec, TokenizerSpec
from textmill.tokenization.training import train

shapes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("shapes.py"))))
SIZES = shapes.sizes(layers=2, context=64)
SPECS = shapes.specs(layers=2, context=64) | {
    "llama, stretched": DecoderSpec(
        **SIZES, position=RotaryPositions(theta=500000.0, scaling=Llama3Scaling(factor=32.0))
    ),
    "qwen2, yarn": DecoderSpec(
        **SIZES, bias="qkv", position=RotaryPositions(scaling=YarnScaling(factor=4.0, original_context=32))
    ),
}
SPECS["gemma3, linear"] = dataclasses.replace(
    SPECS["gemma3"], position=RotaryPositions(theta=1e6, scaling=LinearScaling(factor=8.0))
)


@pytest.fixture(scope="module")
def words():
    return shapes.small_tokenizer()


def published(spec, tokenizer, template=None):
    return shapes.pretrained(spec, tokenizer, rows=tokenizer.vocabulary + 3, template=template)


def logits(model, ids):
    with torch.inference_mode():
        inputs = torch.tensor(ids)
        return model(Batch(inputs, torch.full_like(inputs, IGNORE)))


def test_a_service_looks_rows_up_in_the_packed_bytes(tmp_path, words):
    path = tmp_path / "model.gguf"
    gguf_write.write_gguf(path, published(SPECS["gemma3"], words), "q8_0")
    read = load.load(path)
    ids = torch.tensor([[1, 300, 7, 1]])
    vectors, expected = read.model.embedding(ids).detach(), logits(read.model, IDS)
    assert torch.equal(read.model.embedding.rows(ids), vectors)
    served = serving(read.model, rows=8, spend=True)
    path.write_bytes(b"")  # what is served no longer needs the file
    assert torch.equal(served.embedding(ids), vectors)
    assert not any(len(one) == served.vocabulary for one in served.parameters())
    assert logits(served, IDS).numpy() == pytest.approx(expected.numpy(), abs=1e-4)


IDS = [[1, 5, 300, 7, 42, 200, 31, 9, 77, 5, 2, 8, 100, 101, 102, 103]]


@pytest.mark.parametrize("case", SPECS)
def test_out_and_in_again(tmp_path, words, case):
    one = published(SPECS[case], words, template="{{ messages }}")
    report = gguf_write.write_gguf(tmp_path / "m.gguf", one, "f16")
    assert report["architecture"] == ("llama" if case == "mistral" else case.split(",")[0])
    found = load.load(tmp_path / "m.gguf")
    assert computed(found.spec) == computed(one.spec)
    assert found.template == "{{ messages }}"
    assert found.info["name"] == "tiny"
    for name, weight in one.model.state_dict().items():
        wanted = weight.half().float() if weight.dim() > 1 and name != "position_embedding.weight" else weight
        assert torch.equal(found.model.state_dict()[name], wanted), name
    close = logits(found.model, IDS) - logits(one.model, IDS)
    assert float(close.abs().max()) < 5e-3


@pytest.mark.parametrize("case", ["llama", "gemma3", "gpt2"])
def test_eight_bits(tmp_path, words, case):
    one = published(SPECS[case], words)
    small = gguf_write.write_gguf(tmp_path / "small.gguf", one, "q8_0")["bytes"]
    large = gguf_write.write_gguf(tmp_path / "large.gguf", one, "f16")["bytes"]
    assert small < large
    found = load.load(tmp_path / "small.gguf").model.state_dict()
    for name, weight in one.model.state_dict().items():
        if weight.dim() == 1 or name == "position_embedding.weight":
            assert torch.equal(found[name], weight)
            continue
        step = weight.view(-1, 32).abs().amax(1, keepdim=True) / 127
        assert ((found[name] - weight).view(-1, 32).abs() <= step * (0.5 + 127 * 2**-11) + 1e-9).all(), name


def test_rows_that_are_no_blocks_stay_f16(tmp_path, words):
    spec = DecoderSpec(**SIZES | {"d_ff": 90})
    gguf_write.write_gguf(tmp_path / "m.gguf", published(spec, words), "q8_0")
    file = reader.read_file(tmp_path / "m.gguf")
    assert file.tensors["blk.0.ffn_down.weight"].type.name == "F16"
    assert file.tensors["blk.0.ffn_up.weight"].type.name == "Q8_0"


def test_a_window_beyond_llama_cpp_shortens_the_context(tmp_path, words):
    spec = DecoderSpec(**SIZES, window=16)
    report = gguf_write.write_gguf(tmp_path / "m.gguf", published(spec, words))
    assert "window" in report["notes"][0]
    found = load.load(tmp_path / "m.gguf").spec
    assert (found.context, found.window) == (16, 16)


def test_other_dtypes(tmp_path, words):
    one = published(SPECS["llama"], words)
    gguf_write.write_gguf(tmp_path / "m.gguf", one)
    found = load.load(tmp_path / "m.gguf", torch.bfloat16).model.state_dict()
    for name, weight in one.model.state_dict().items():
        assert found[name].dtype is torch.bfloat16
        assert torch.equal(found[name], weight.half().bfloat16() if weight.dim() > 1 else weight.bfloat16())


def test_the_tokenizer_comes_back(tmp_path, words):
    report = gguf_write.write_gguf(tmp_path / "m.gguf", published(SPECS["llama"], words))
    found = load.load(tmp_path / "m.gguf").tokenizer
    text = "the mill 磨坊 12345 isn't\n\n  <|endoftext|> \U0001f600"
    assert found.encode(text).tolist() == words.encode(text).tolist()
    assert found.decode(found.encode(text)) == text
    assert (found.end, found.pad, found.ends) == (words.end, words.pad, (words.end,))
    assert found.prefix == ()
    assert "llama-bpe" in report["notes"][0]


def test_what_no_architecture_says_is_refused(tmp_path, words):
    for change in ({"norm": "layernorm"}, {"activation": "relu"}, {"placement": "post"}):
        spec = dataclasses.replace(SPECS["llama"], **change)
        with pytest.raises(TextmillError, match="no GGUF architecture"):
            gguf_write.write_gguf(tmp_path / "m.gguf", published(spec, words))
    with pytest.raises(TextmillError, match="f16, q8_0"):
        gguf_write.write_gguf(tmp_path / "m.gguf", published(SPECS["llama"], words), "q4_0")
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_llama_cpp_cannot_have_is_refused(tmp_path):
    unigram = train(TokenizerSpec(kind="unigram", vocabulary=320), ["the mill turns water into flour " * 50])
    with pytest.raises(TextmillError, match="Unigram"):
        gguf_write.write_gguf(tmp_path / "m.gguf", published(SPECS["llama"], unigram))


@pytest.fixture
def rewritten(tmp_path, words):
    """A llama's file with other metadata, tensors taken away or added: `rewritten({key: value}, ...)`."""
    source = tmp_path / "source.gguf"
    gguf_write.write_gguf(source, published(SPECS["llama"], words))

    def make(metadata=None, without=(), extra=None):
        file = reader.read_file(source)
        known = {key: value for key, value in file.metadata.items() if key not in (metadata or {})}
        for key, value in known.items():
            known[key] = value.tolist() if hasattr(value, "tolist") else value
        known |= {key: value for key, value in (metadata or {}).items() if value is not None}
        tensors = [
            writer.Outgoing(name, entry.shape, entry.type.name, lambda name=name: file.bytes_of(name))
            for name, entry in file.tensors.items()
            if name not in without
        ]
        path = tmp_path / "changed.gguf"
        writer.write_file(path, known, [*tensors, *(extra or [])])
        return path

    return make


WRONG = {
    "an unknown architecture": ({"general.architecture": "rwkv7"}, "rwkv7.*llama"),
    "no architecture": ({"general.architecture": None}, "not supported"),
    "no width": ({"llama.embedding_length": None}, "embedding_length"),
    "a width that is none": ({"llama.embedding_length": 0}, "not a valid size"),
    "an absurd width": ({"llama.feed_forward_length": 2**31}, "not a valid size"),
    "a text for a width": ({"llama.embedding_length": "wide"}, "not a valid size"),
    "another width": ({"llama.embedding_length": 128}, "shape"),
    "endless layers": ({"llama.block_count": 10**6}, "blocks"),
    "too few layers": ({"llama.block_count": 1}, "blocks"),
    "heads that do not divide": ({"llama.attention.head_count_kv": 3}, "no model"),
    "heads layer by layer": ({"llama.attention.head_count_kv": [2, 2]}, "not a valid size"),
    "experts": ({"llama.expert_count": 8}, "expert_count"),
    "half a rotation": ({"llama.rope.dimension_count": 8}, "dimension_count"),
    "another stretching": ({"llama.rope.scaling.type": "longrope"}, "longrope"),
    "a stretching by a text": (
        {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": "much"},
        "no model|number",
    ),
    "a stretching of nothing": (
        {
            "llama.rope.scaling.type": "yarn",
            "llama.rope.scaling.factor": 2.0,
            "llama.rope.scaling.original_context_length": "old",
        },
        "original_context",
    ),
    "a stretching with other ends": (
        {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.yarn_beta_fast": 16.0},
        "yarn_beta_fast",
    ),
    "no tokens": ({"tokenizer.ggml.tokens": None}, "tokens"),
    "another kind of tokenizer": (
        {"tokenizer.ggml.model": "plamo2", "tokenizer.huggingface.json": None},
        "plamo2",
    ),
    "an unknown way to cut": ({"tokenizer.ggml.pre": "xyz", "tokenizer.huggingface.json": None}, "xyz"),
    "an end that is no id": ({"tokenizer.ggml.eos_token_id": 10**6}, "not an id"),
    "types of other tokens": ({"tokenizer.ggml.token_type": [1, 1]}, "one number per token"),
    "a tokenizer.json that is none": ({"tokenizer.huggingface.json": "{}"}, "tokenizer"),
    "more tokens than rows": ({"tokenizer.ggml.tokens": ["x"] * 400}, "one number per token"),
}


@pytest.mark.parametrize("case", WRONG)
def test_metadata_that_are_no_model_s(rewritten, case):
    metadata, message = WRONG[case]
    path = rewritten(metadata)
    with pytest.raises(TextmillError, match=message) as caught:
        gguf_read.read_gguf(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_missing_tensor(rewritten):
    with pytest.raises(DamagedError, match=r"blk\.1\.ffn_up\.weight"):
        gguf_read.read_gguf(rewritten(without=["blk.1.ffn_up.weight"]))


def test_a_tensor_too_many(rewritten):
    extra = writer.Outgoing("blk.0.attn_sub_norm.weight", (4,), "F32", lambda: torch.zeros(16).byte().numpy())
    with pytest.raises(DamagedError, match="attn_sub_norm"):
        gguf_read.read_gguf(rewritten(extra=[extra]))


def test_a_packing_that_is_not_read(rewritten):
    packed = writer.Outgoing("output_norm.weight", (64,), "I32", lambda: torch.zeros(256).byte().numpy())
    with pytest.raises(TextmillError, match="I32"):
        gguf_read.read_gguf(rewritten(without=["output_norm.weight"], extra=[packed]))


def test_other_endings_are_directories(tmp_path):
    with pytest.raises(TextmillError, match="not a directory"):
        load.load(tmp_path / "nothing")
    with pytest.raises(TextmillError, match="cannot be read"):
        load.load(tmp_path / "nothing.gguf")


def _split(path, counts, **changes):
    """The tensors of a file over several, as llama.cpp's own tool names and marks them; their paths."""
    file = reader.read_file(path)
    names, paths = list(file.tensors), []
    bounds = [0, *counts, len(names)]
    for part in range(len(bounds) - 1):
        about = {"split.no": part, "split.count": len(bounds) - 1, "split.tensors.count": len(names)}
        if part == 0:
            about = {key: _writable(value) for key, value in file.metadata.items()} | about
        about |= changes.get(f"part{part}", {})
        outgoing = [
            writer.Outgoing(
                name, file.tensors[name].shape, file.tensors[name].type.name, lambda n=name: file.bytes_of(n)
            )
            for name in names[bounds[part] : bounds[part + 1]]
        ]
        paths.append(path.with_name(f"model-{part + 1:05}-of-{len(bounds) - 1:05}.gguf"))
        writer.write_file(paths[-1], about, outgoing)
    return paths


def _writable(value):
    return value.tolist() if hasattr(value, "tolist") else value


@pytest.mark.parametrize("counts", [(5,), (0, 3, 3)])
def test_a_model_in_several_files_is_one_model(tmp_path, words, counts):
    one = published(SPECS["llama"], words)
    gguf_write.write_gguf(tmp_path / "whole.gguf", one)
    whole = load.load(tmp_path / "whole.gguf")
    for path in _split(tmp_path / "whole.gguf", counts):  # whichever is named
        found = load.load(path)
        assert found.spec == whole.spec
        assert found.tokenizer.encode("the mill").tolist() == whole.tokenizer.encode("the mill").tolist()
        for name, weight in whole.model.state_dict().items():
            assert torch.equal(found.model.state_dict()[name], weight), name


def test_several_files_that_are_not_one_model_are_refused(tmp_path, words):
    gguf_write.write_gguf(tmp_path / "whole.gguf", published(SPECS["llama"], words))

    def refused(match, counts=(5, 9), **changes):
        paths = _split(tmp_path / "whole.gguf", counts, **changes)
        with pytest.raises(DamagedError, match=match):
            load.load(paths[0])
        return paths

    paths = refused("number 2", part1={"split.no": 2})
    refused("tensors; its files hold", part0={"split.tensors.count": 3})
    refused("its name does not", part0={"split.count": 7})
    _split(tmp_path / "whole.gguf", (5, 9))
    paths[1].rename(tmp_path / "elsewhere.gguf")
    with pytest.raises(DamagedError, match="model-00002-of-00003.gguf is not beside it"):
        load.load(paths[2])
    with pytest.raises(DamagedError, match="its name does not"):
        load.load(tmp_path / "elsewhere.gguf")


def test_a_file_may_say_how_its_model_is_sampled(tmp_path, words):
    gguf_write.write_gguf(tmp_path / "m.gguf", published(SPECS["llama"], words))
    assert load.load(tmp_path / "m.gguf").generation == GenerationSpec()
    file = reader.read_file(tmp_path / "m.gguf")
    said = {"temp": 0.6, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "penalty_repeat": 1.1}
    about = {key: _writable(value) for key, value in file.metadata.items()}
    about |= {f"general.sampling.{name}": value for name, value in said.items()}
    tensors = [
        writer.Outgoing(name, entry.shape, entry.type.name, lambda n=name: file.bytes_of(n))
        for name, entry in file.tensors.items()
    ]
    writer.write_file(tmp_path / "said.gguf", about, tensors)
    found = load.load(tmp_path / "said.gguf").generation
    assert found == GenerationSpec(temperature=0.6, top_k=20, top_p=0.9, min_p=0.05, repetition_penalty=1.1)
