"""Heads on encoders and decoders, both ways: transformers' classes read, ours written for them."""

import json

import pytest
import torch

from helpers import published
from textmill.base.errors import DamagedError, TextmillError
from textmill.data.batch import Batch
from textmill.interop.huggingface import directory
from textmill.models.build import build
from textmill.models.heads import Headed, attach
from textmill.specs.head import ClassifyHead, RegressHead, SpanHead, TagHead
from textmill.specs.model import DecoderSpec, EncoderSpec
from textmill.specs.recipe import GenerationSpec

transformers = pytest.importorskip("transformers")

SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 40, "dropout": 0.0}
LABELS = ("no", "yes", "perhaps")
BERT = EncoderSpec(**SMALL)
ROBERTA = EncoderSpec(**SMALL, segments=1, pooler=False)
DISTILBERT = EncoderSpec(**SMALL, segments=0, pooler=False)
GPT2 = DecoderSpec(**SMALL, **published.GPT2)
LAST = {"pooling": "last", "bias": False}
HEADED = {
    "bert-classify": (BERT, ClassifyHead(labels=LABELS), "BertForSequenceClassification"),
    "bert-multiple": (BERT, ClassifyHead(labels=LABELS, multiple=True), "BertForSequenceClassification"),
    "bert-regress": (BERT, RegressHead(outputs=2), "BertForSequenceClassification"),
    "bert-tag": (BERT, TagHead(labels=LABELS), "BertForTokenClassification"),
    "bert-answer": (BERT, SpanHead(), "BertForQuestionAnswering"),
    "roberta-classify": (
        ROBERTA,
        ClassifyHead(labels=LABELS, dense="tanh"),
        "RobertaForSequenceClassification",
    ),
    "roberta-tag": (ROBERTA, TagHead(labels=LABELS), "RobertaForTokenClassification"),
    "roberta-answer": (ROBERTA, SpanHead(), "RobertaForQuestionAnswering"),
    "distilbert-classify": (
        DISTILBERT,
        ClassifyHead(labels=LABELS, dense="relu"),
        "DistilBertForSequenceClassification",
    ),
    "distilbert-answer": (DISTILBERT, SpanHead(dropout=0.2), "DistilBertForQuestionAnswering"),
    "llama-classify": (
        DecoderSpec(**SMALL),
        ClassifyHead(labels=LABELS, **LAST),
        "LlamaForSequenceClassification",
    ),
    "llama-tag": (DecoderSpec(**SMALL), TagHead(labels=LABELS), "LlamaForTokenClassification"),
    "gpt2-classify": (GPT2, ClassifyHead(labels=LABELS, **LAST), "GPT2ForSequenceClassification"),
}
ORPHANS = {
    "pooling": (BERT, ClassifyHead(labels=LABELS, pooling="mean"), "pooling = first, not mean"),
    "crf": (BERT, TagHead(labels=LABELS, crf=True), "crf = false, not true"),
    "dense": (ROBERTA, ClassifyHead(labels=LABELS), "dense = tanh, not none"),
    "pooler": (
        EncoderSpec(**SMALL, pooler=False),
        ClassifyHead(labels=LABELS),
        "pooler = true under its head",
    ),
}


def make(spec, head, tokenizer):
    return published.shaken(attach(build(spec, tokenizer.vocabulary), head))


def logits_of(answer):
    if hasattr(answer, "start_logits"):
        return torch.stack((answer.start_logits, answer.end_logits), dim=-1)
    return answer.logits


@torch.no_grad()
@pytest.mark.parametrize("name", HEADED)
def test_transformers_reads_what_we_write(name, tmp_path, tokenizer):
    spec, head, cls = HEADED[name]
    ours = make(spec, head, tokenizer)
    about = directory.write_directory(tmp_path, ours, tokenizer, GenerationSpec(), {})
    assert about["architecture"] == name.split("-")[0]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == [cls]
    theirs, told = getattr(transformers, cls).from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    inputs = torch.randint(0, 250, (3, 9))
    batch = Batch(inputs, inputs)
    reference = logits_of(theirs.eval()(inputs))
    torch.testing.assert_close(ours(batch), reference, rtol=0, atol=1e-4)
    if hasattr(head, "labels"):
        assert tuple(theirs.config.id2label[place] for place in range(3)) == LABELS
    back = directory.read_directory(tmp_path)
    assert isinstance(back.model, Headed)
    assert back.model.head.spec == head
    assert torch.equal(back.model(batch), ours(batch))
    (tmp_path / "textmill.json").unlink()
    assert torch.equal(directory.read_directory(tmp_path).model(batch), ours(batch))


@torch.no_grad()
@pytest.mark.parametrize("name", HEADED)
def test_what_transformers_saves_is_read(name, tmp_path, tokenizer):
    spec, head, cls = HEADED[name]
    directory.write_directory(tmp_path / "a", make(spec, head, tokenizer), tokenizer, GenerationSpec(), {})
    config = transformers.AutoConfig.from_pretrained(tmp_path / "a")
    theirs = published.shaken(getattr(transformers, cls)(config))
    theirs.save_pretrained(tmp_path / "b")
    tokenizer.save(tmp_path / "b/tokenizer.json")
    back = directory.read_directory(tmp_path / "b")
    assert back.ignored == back.missing == ()
    inputs = torch.randint(0, 250, (3, 9))
    reference = logits_of(theirs(inputs))
    torch.testing.assert_close(back.model(Batch(inputs, inputs)), reference, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ORPHANS)
def test_heads_nobody_publishes_are_ours_and_say_why(name, tmp_path, tokenizer):
    spec, head, why = ORPHANS[name]
    ours = make(spec, head, tokenizer)
    about = directory.write_directory(tmp_path, ours, tokenizer, GenerationSpec(), {})
    assert about["architecture"] is None
    assert why in about["reason"]
    inputs = torch.randint(0, 250, (3, 9))
    batch = Batch(inputs, inputs)
    for _ in range(2):
        back = directory.read_directory(tmp_path)
        assert back.model.head.spec == head
        assert torch.equal(back.model(batch), ours(batch))
        (tmp_path / "textmill.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, DamagedError, "does not number its labels"),
        ({"id2label": [1, 2]}, DamagedError, "not a table of labels"),
        ({"id2label": {"0": "a", "1": "b"}}, DamagedError, r"classifier.weight has the shape \(3, 32\)"),
        ({"architectures": "Bert"}, TextmillError, ""),
    ],
)
def test_lying_labels(change, error, message, tmp_path, tokenizer):
    spec, head, _ = HEADED["bert-classify"]
    directory.write_directory(tmp_path, make(spec, head, tokenizer), tokenizer, GenerationSpec(), {})
    (tmp_path / "textmill.json").unlink()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    if message:
        with pytest.raises(error, match=message):
            directory.read_directory(tmp_path)
    else:  # no class named: the body alone, and the head is passed over by name
        assert set(directory.read_directory(tmp_path).ignored) == {"classifier.weight", "classifier.bias"}
