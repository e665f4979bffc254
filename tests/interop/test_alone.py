"""What transformers reads by itself from a directory is what Textmill reads: ids, logits, answers, labels, chats."""

from __future__ import annotations

import json

import pytest
import torch

from helpers import published
from textmill.interop import alone, hostile, parity
from textmill.interop.huggingface import directory
from textmill.models.build import build
from textmill.models.heads import attach
from textmill.specs.head import ClassifyHead, RegressHead, SpanHead, TagHead
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec
from textmill.specs.recipe import GenerationSpec, TokenizerSpec
from textmill.tokenization.training import train

transformers = pytest.importorskip("transformers")

TEXTS = ["The mill stood where the two streams met", "磨坊在两条小溪交汇的地方 x", "naïve 👩‍🔬 <|mask|>\n\n"]
SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 40, "dropout": 0.0}
LABELS = ("no", "yes", "perhaps")
LAST = {"pooling": "last", "bias": False}
DECODER = DecoderSpec(**SMALL)
GPT2 = DecoderSpec(**SMALL, **published.GPT2)
BERT = EncoderSpec(**SMALL)
ROBERTA = EncoderSpec(**SMALL, segments=1, pooler=False)
DISTILBERT = EncoderSpec(**SMALL, segments=0, pooler=False)
FAMILIES = {
    "llama": (DECODER, None),
    "gpt2": (GPT2, None),
    "bert": (BERT, None),
    "roberta": (ROBERTA, None),
    "distilbert": (DISTILBERT, None),
    "t5": (EncoderDecoderSpec(**SMALL, **published.T5, activation="relu", logit_scale=32**-0.5), None),
    "bart": (EncoderDecoderSpec(**SMALL, **published.BART), None),
    "marian": (EncoderDecoderSpec(**SMALL, **published.MARIAN), None),
    "bert-classify": (BERT, ClassifyHead(labels=LABELS)),
    "bert-multiple": (BERT, ClassifyHead(labels=LABELS, multiple=True)),
    "bert-regress": (BERT, RegressHead()),
    "bert-tag": (BERT, TagHead(labels=LABELS)),
    "bert-answer": (BERT, SpanHead()),
    "roberta-classify": (ROBERTA, ClassifyHead(labels=LABELS, dense="tanh")),
    "roberta-answer": (ROBERTA, SpanHead()),
    "distilbert-classify": (DISTILBERT, ClassifyHead(labels=LABELS, dense="relu")),
    "llama-classify": (DECODER, ClassifyHead(labels=LABELS, **LAST)),
    "llama-tag": (DECODER, TagHead(labels=LABELS)),
    "gpt2-classify": (GPT2, ClassifyHead(labels=LABELS, **LAST)),
}
SAYS = ["transformers", "AutoTokenizer", "transformers from text"]


@pytest.fixture(scope="module")
def tokenizer():
    return train(TokenizerSpec(kind="bpe", vocabulary=300), TEXTS * 5)


def written(place, name, tokenizer, template=None):
    spec, head = FAMILIES[name]
    torch.manual_seed(0)
    model = build(spec, tokenizer.vocabulary)
    model = published.shaken(model if head is None else attach(model, head))
    directory.write_directory(place, model, tokenizer, GenerationSpec(), {}, template=template)
    return place


@torch.no_grad()
def found(place, texts=TEXTS):
    return {check.name: check for check in parity.verify(place, texts).checks}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_published_directory_says_everything(name, tmp_path, tokenizer):
    checks = found(written(tmp_path / "model", name, tokenizer))
    assert not [check for check in checks.values() if check.state == "failed"]
    spec, head = FAMILIES[name]
    more = "generate" if head is None and spec.kind != "encoder" else "pipeline"
    assert [*SAYS, *([] if "answer" in name else [more])] == [
        name for name in checks if name in (*SAYS, more)
    ]
    assert checks["transformers from text"].max_difference < 1e-5


def test_a_conversation_has_the_same_ids(tmp_path, tokenizer):
    template = "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
    assert found(written(tmp_path / "model", "llama", tokenizer, template))["chat template"].state == "ok"


def change(place, name, **values):
    path = place / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "file", "values", "failing"),
    [
        ("bert-classify", "tokenizer_config.json", {"padding_side": "left"}, "transformers from text"),
        ("bert-classify", "tokenizer.json", {"post_processor": None}, "AutoTokenizer"),
        ("bert-classify", "config.json", {"id2label": {"0": "yes", "1": "no", "2": "perhaps"}}, "pipeline"),
        (
            "bert-answer",
            "tokenizer_config.json",
            {"model_input_names": ["input_ids", "attention_mask"]},
            "AutoTokenizer",
        ),
        ("bart", "tokenizer.json", {"post_processor": None}, "AutoTokenizer"),
        ("bart", "config.json", {"decoder_start_token_id": 5}, "transformers from text"),
        ("llama", "generation_config.json", {"suppress_tokens": list(range(20, 290))}, "generate"),
        ("llama", "tokenizer_config.json", {"split_special_tokens": True}, "chat template"),
    ],
)
def test_what_a_directory_leaves_out_is_found(name, file, values, failing, tmp_path, tokenizer):
    template = "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
    place = written(tmp_path / "model", name, tokenizer, template if name == "llama" else None)
    pretrained = directory.read_directory(place)
    change(place, file, **values)
    batches = parity.forward_passes.batches_of(pretrained, TEXTS, 32)
    reference = parity.forward_passes.alone(pretrained.model, batches)
    checks = alone.checks(place, pretrained, TEXTS, reference, batches, tokens=32)
    assert {check.name: check.state for check in checks}[failing] == "failed"


def test_hostile_texts_are_always_the_same():
    drawn = hostile.texts(50, special=["<|end|>"], seed=3)
    assert drawn == hostile.texts(50, special=["<|end|>"], seed=3)
    assert len(set(drawn)) == 50
    assert any("<|end|>" in text for text in drawn)
    assert all(text.encode("utf-8") for text in drawn)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_thousand_hostile_texts(name, tmp_path, tokenizer):
    place = written(tmp_path / "model", name, tokenizer)
    pretrained = directory.read_directory(place)
    texts = hostile.texts(1000, special=list(tokenizer.special), seed=1)
    batches = parity.forward_passes.batches_of(pretrained, TEXTS, 32)
    reference = parity.forward_passes.alone(pretrained.model, batches)
    checks = alone.checks(place, pretrained, texts, reference, batches, tokens=32)
    assert not [check for check in checks if check.state == "failed"]
