"""ONNX graphs in onnxruntime: the model's logits, at any size, padded on either side, and token by token."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from textmill.base.errors import DamagedError, TextmillError
from textmill.data.batch import Batch
from textmill.interop.onnx import graphs
from textmill.interop.onnx.runtime import OnnxModel
from textmill.models.build import build
from textmill.models.pretrained import Pretrained
from textmill.specs.head import ClassifyHead, TagHead
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec, RecurrentSpec
from textmill.specs.position import AlibiPositions, LearnedPositions, RelativePositions, T5Positions
from textmill.specs.recipe import GenerationSpec

if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")):
    pytest.skip("the extra `export` is not installed", allow_module_level=True)
SMALL = {"d_model": 16, "heads": 2, "layers": 1, "d_ff": 24, "context": 32}
GEMMA = {
    "kv_heads": 1,
    "layers": 2,
    "window": 4,
    "full_every": 2,
    "window_theta": 100.0,
    "placement": "sandwich",
    "qk_norm": True,
    "activation": "geglu_tanh",
    "attention_softcap": 5.0,
    "logit_softcap": 5.0,
}
CASES = {
    "decoder": (DecoderSpec(**SMALL | GEMMA), None),
    "gpt2": (DecoderSpec(**SMALL, position=LearnedPositions(), norm="layernorm", bias="all"), None),
    "shaw": (DecoderSpec(**SMALL, position=RelativePositions(clip=3)), None),
    "alibi": (DecoderSpec(**SMALL, position=AlibiPositions(), norm="batchnorm"), None),
    "encoder": (EncoderSpec(**SMALL), None),
    "windowed encoder": (
        EncoderSpec(
            **SMALL,
            position=RelativePositions(clip=3),
            window=4,
            ngrams=(2, 3),
            ngram_rows=64,
            ngram_places="any",
        ),
        None,
    ),
    "labels": (EncoderSpec(**SMALL), ClassifyHead(labels=("a", "b"))),
    "tags of a decoder": (DecoderSpec(**SMALL), TagHead(labels=("a", "b", "c"), convolutions=2)),
    "encoder-decoder": (EncoderDecoderSpec(**SMALL, output_bias=True), None),
    "t5": (EncoderDecoderSpec(**SMALL, position=T5Positions(), norm="rmsnorm", placement="pre"), None),
    "bart": (EncoderDecoderSpec(**SMALL, position=LearnedPositions(), embedding_norm=True), None),
}
QUICK = ("decoder", "labels")  # drawing a graph takes seconds


def make(name: str, tokenizer) -> Pretrained:
    spec, head = CASES[name]
    model = build(spec, tokenizer.vocabulary, seed=1, head=head).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return Pretrained(model, tokenizer, spec, GenerationSpec(), {})


def batch_of(published: Pretrained, rows: int, length: int, side: str) -> Batch:
    inputs = torch.randint(0, published.model.vocabulary, (rows, length))
    mask = torch.ones(rows, length, dtype=torch.bool)
    mask[0, : length // 2 if side == "left" else 0] = False
    if side == "right":
        mask[0, (length + 1) // 2 :] = False
    source = torch.randint(0, published.model.vocabulary, (rows, 2 * length))
    reads = published.spec.kind == "encoder-decoder"
    return Batch(inputs, inputs, mask, source=source if reads else None)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
@torch.no_grad()
def test_the_graphs_are_the_model(name, tokenizer, tmp_path):
    published = make(name, tokenizer)
    about = graphs.write_onnx(published, tmp_path / "out")
    assert about["kind"] == published.spec.kind
    model, exported = published.model, OnnxModel.load(tmp_path / "out")
    for rows, length, side in ((1, 1, "none"), (3, 6, "left"), (2, 9, "right")):
        batch = batch_of(published, rows, length, side)
        expected, found = model(batch), exported(batch)
        if expected.ndim == 3:
            expected, found = expected[batch.mask], found[batch.mask]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        if not exported.writes:
            continue
        (expected, theirs), (found, ours) = model.begin(batch, 32), exported.begin(batch, 32)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        order = torch.arange(rows).flip(0)
        theirs, ours = theirs.reorder(order), ours.reorder(order)
        for count in (1, 3, 1):
            tokens = torch.randint(0, tokenizer.vocabulary, (rows, count))
            expected, theirs = model.step(tokens, theirs)
            found, ours = exported.step(tokens, ours)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    for parameter in model.parameters():  # and graphs of another model would have been refused
        parameter.add_(0.01)
    with pytest.raises(TextmillError, match="differ from the model by"):
        graphs._check(model, tmp_path / "out")


def test_what_has_no_graph_says_so(tokenizer, tmp_path):
    spec = RecurrentSpec(d_model=8, layers=1)
    published = Pretrained(build(spec, tokenizer.vocabulary), tokenizer, spec, GenerationSpec(), {})
    with pytest.raises(TextmillError, match="recurrent has no ONNX graph"):
        graphs.write_onnx(published, tmp_path / "out")


def test_a_missing_extra_says_what_to_install(tokenizer, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name)
    )
    with pytest.raises(TextmillError, match=r"needs onnxscript; pip install 'textmill\[export\]'"):
        graphs.write_onnx(make("decoder", tokenizer), tmp_path / "out")


def test_a_damaged_graph_says_so(tmp_path):
    from textmill.base.files import write_json

    write_json(tmp_path / "onnx.json", {"vocabulary": 3, "graphs": ["model.onnx"]})
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(DamagedError, match="cannot be run"):
        OnnxModel.load(tmp_path)
