"""`verify` says yes to a true model, and no to each thing that may be wrong with one."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest
import torch

from textmill.base.errors import TextmillError
from textmill.interop import check, parity
from textmill.interop.huggingface import directory
from textmill.models.build import build
from textmill.specs.model import DecoderSpec, EncoderSpec
from textmill.specs.position import AlibiPositions
from textmill.specs.recipe import GenerationSpec, TokenizerSpec
from textmill.tokenization.training import train

SPEC = DecoderSpec(d_model=32, layers=2, heads=4, kv_heads=2, d_ff=64, context=64)
TEXTS = ["def main():\n    return 中文", "x", "", "A longer text, so that the others want padding beside it."]


@pytest.fixture(scope="module")
def tokenizer():
    return train(TokenizerSpec(kind="bpe", vocabulary=280), TEXTS * 5)


def published(path, tokenizer, spec=SPEC):
    directory.write_directory(
        path, build(spec, tokenizer.vocabulary, seed=2), tokenizer, GenerationSpec(), {}
    )
    return path


def state(report, name):
    return next(check for check in report.checks if check.name == name)


def test_a_true_model_agrees_everywhere(tmp_path, tokenizer):
    report = parity.verify(published(tmp_path / "model", tokenizer), TEXTS)
    assert report.ok
    assert [check.name for check in report.checks] == [
        "cached decoding",
        "batch with padding",
        "reload",
        "compiled",
        "transformers",
        "AutoTokenizer",
        "transformers from text",
        "generate",
    ]
    assert state(report, "reload").max_difference < 1e-5
    assert state(report, "compiled").state == "skipped"
    assert all(check.mean_kl < 1e-7 for check in report.checks if check.mean_kl is not None)
    assert report.texts == 4
    assert report.tokens == sum(len(tokenizer.encode(text)) + 1 for text in TEXTS)
    assert report.plain()["ok"] is True


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
def test_transformers_agrees(tmp_path, tokenizer):
    report = parity.verify(published(tmp_path / "model", tokenizer), TEXTS)
    assert state(report, "transformers").state == "ok"
    assert state(report, "transformers").max_difference < 1e-4


def test_without_transformers_that_row_is_skipped(tmp_path, tokenizer, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "transformers" else find(name, *a)
    )
    report = parity.verify(published(tmp_path / "model", tokenizer), ["x"])
    assert (state(report, "transformers").state, report.ok) == ("skipped", True)
    assert "not installed" in state(report, "transformers").why


def test_an_architecture_without_a_twin_says_so(tmp_path, tokenizer):
    spec = dataclasses.replace(SPEC, position=AlibiPositions())
    report = parity.verify(published(tmp_path / "model", tokenizer, spec), TEXTS)
    assert report.ok
    assert "no such architecture" in state(report, "transformers").why


def test_long_texts_are_cut_to_the_context(tmp_path, tokenizer):
    report = parity.verify(published(tmp_path / "model", tokenizer), ["word " * 500, "y"], tokens=10_000)
    assert report.tokens == SPEC.context + 2
    assert report.ok


def test_no_text_is_refused(tmp_path, tokenizer):
    with pytest.raises(TextmillError, match="no text"):
        parity.verify(published(tmp_path / "model", tokenizer), [])


def logits(seed=0):
    return [torch.randn(5, 11, generator=torch.Generator().manual_seed(seed + row)) for row in range(3)]


def test_a_difference_is_measured_and_located():
    reference, other = logits(), logits()
    other[1][3, int(other[1][3].argmin())] += 8
    found = check.compare("x", reference, lambda: other)
    assert (found.state, found.why) == ("failed", "the logits differ")
    assert found.max_difference == pytest.approx(8, abs=1e-5)
    assert found.first_disagreement == (1, 3)
    p, q = (one[1][3].double().log_softmax(-1) for one in (reference, other))
    assert found.mean_kl == pytest.approx(float((p.exp() * (p - q)).sum()) / 15, rel=1e-4)


@pytest.mark.parametrize(("shift", "state"), [(5e-5, "ok"), (5e-4, "failed"), (float("nan"), "failed")])
def test_the_tolerance_is_kept(shift, state):
    other = logits()
    other[2][0, 0] += shift
    assert check.compare("x", logits(), lambda: other).state == state


def test_large_logits_have_a_larger_tolerance():
    reference = [one * 100 for one in logits()]
    largest = max(float(one.abs().max()) for one in reference)
    found = check.compare("x", reference, lambda: reference)
    assert found.tolerance == pytest.approx(check.TOLERANCE * largest / 8)


def test_a_broken_cache_is_found(tmp_path, tokenizer, monkeypatch):
    from textmill.nn.cache import LayerCache

    write = LayerCache.write
    monkeypatch.setattr(LayerCache, "write", lambda self, k, v, start: write(self, k, v * 1.5, start))
    report = parity.verify(published(tmp_path / "model", tokenizer), TEXTS)
    assert state(report, "cached decoding").state == "failed"
    assert state(report, "batch with padding").state == "ok"
    assert not report.ok
    assert report.plain()["ok"] is False


def test_weights_are_compared_to_the_bit(tokenizer):
    one, other = (build(SPEC, tokenizer.vocabulary, seed=2) for _ in range(2))
    assert check.same_weights("x", one, other).state == "ok"
    with torch.no_grad():
        other.blocks[1].feedforward.down.weight[3, 3] += 1e-7
    found = check.same_weights("x", one, other)
    assert (found.state, found.why) == ("failed", "blocks.1.feedforward.down.weight differs")
    assert found.max_difference == pytest.approx(1e-7, rel=0.1)
    assert check.same_weights("x", one, build(dataclasses.replace(SPEC, layers=1), 280)).state == "failed"


def test_weights_of_fewer_bits_and_exports_are_run(tmp_path, tokenizer):
    place = published(tmp_path / "model", tokenizer)
    report = parity.verify(place, TEXTS, weights=["int8"], exports=["gguf", "huggingface"])
    assert report.ok
    rounded, exact = state(report, "weights int8"), state(report, "export huggingface")
    assert 1e-4 < rounded.max_difference < 1
    assert rounded.mean_kl < check.QUALITY
    assert state(report, "export gguf").mean_kl < 1e-3
    assert exact.max_difference < 1e-4
    with pytest.raises(TextmillError, match="'tar' is not a supported format"):
        parity.verify(place, TEXTS, exports=["tar"])


def test_fewer_bits_are_judged_by_their_divergence():
    reference = logits()
    near = check.by_divergence(check.compare("x", reference, lambda: [one + 0.01 for one in reference]))
    assert (near.state, near.why) == ("ok", "")  # a shift of all logits changes no probability
    far = check.by_divergence(check.compare("x", reference, lambda: [one * 2 for one in reference]))
    assert far.state == "failed"
    assert "mean KL" in far.why


def test_an_export_that_cannot_be_made_has_failed(tmp_path, tokenizer):
    spec = dataclasses.replace(SPEC, position=AlibiPositions())
    report = parity.verify(published(tmp_path / "model", tokenizer, spec), ["x"], exports=["gguf"])
    assert not report.ok
    assert state(report, "export gguf").why


def test_an_encoder_that_is_its_body_alone_is_compared_by_its_states(tmp_path):
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    place = tmp_path / "bare"
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **shape)).save_pretrained(place)
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(place)
    report = parity.verify(place, ["a b c", "x y"])
    assert report.ok, report
    assert state(report, "transformers").max_difference < 1e-4


def test_the_graph_of_an_encoder_reads_whole_texts(tmp_path, tokenizer):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    spec = EncoderSpec(d_model=16, layers=1, heads=2, d_ff=24, context=32)
    report = parity.verify(published(tmp_path / "model", tokenizer, spec), TEXTS, exports=["onnx"])
    assert state(report, "export onnx").state == "ok"
