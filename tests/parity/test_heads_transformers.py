"""Heads beside the published ones of transformers: its bodies, its weights, our heads and losses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from textmill.data.batch import IGNORE, Batch
from textmill.models.encoder import Encoder
from textmill.models.heads import attach
from textmill.objectives.table import objective_of
from textmill.specs.head import ClassifyHead, RegressHead, SpanHead, TagHead
from textmill.specs.objective import ClassifyObjective, RegressObjective, SpanObjective, TagObjective

transformers = pytest.importorskip("transformers")
SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
    "pad_token_id": 0,
}
LABELS = ("a", "b", "c")


def losses(spec):
    return objective_of(spec).losses(spec, sequence=8)


class Theirs(Encoder):
    """A body of transformers as a body of ours."""

    hidden_width = 16

    def __init__(self, body: nn.Module, kind: str, pooler: nn.Module | None = None) -> None:
        nn.Module.__init__(self)
        self.body, self.pooler, self.vocabulary = body, pooler, 40
        self.spec = SimpleNamespace(kind=kind, d_model=16)

    def hidden(self, batch: Batch) -> torch.Tensor:
        return self.body(input_ids=batch.inputs, attention_mask=batch.mask.long()).last_hidden_state

    def pooled(self, hidden: torch.Tensor) -> torch.Tensor:
        assert self.pooler is not None
        return torch.tanh(self.pooler(hidden[:, 0]))


def rows(side: str = "right") -> Batch:
    draw = torch.Generator().manual_seed(2)
    mask = torch.ones(3, 8, dtype=torch.bool)
    mask[0, 6:], mask[2, 3:] = False, False
    inputs = torch.randint(1, 40, (3, 8), generator=draw).masked_fill(~mask, 0)
    if side == "left":
        inputs, mask = inputs.flip(1), mask.flip(1)
    return Batch(inputs, torch.zeros(3, 8, dtype=torch.long), mask)


def encoder(name: str, **changes):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name.split('For', maxsplit=1)[0]}Config")
    sizes = dict(SIZES)
    if name.startswith("DistilBert"):
        sizes = {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
        sizes |= {"max_position_embeddings": 24, "pad_token_id": 0}
    made = config(**sizes, attn_implementation="eager", **{"num_labels": 3, **changes})
    return getattr(transformers, name)(made).double().eval()


def copied(model, body: nn.Module, head, pairs: dict[str, nn.Module]):
    """Our head on their body, with the weights of theirs."""
    ours = attach(body.double(), head, seed=1).eval()
    for name, module in pairs.items():
        ours.get_submodule(name).load_state_dict(module.state_dict(), strict=False)
    return ours


def sequence_models():
    bert = encoder("BertForSequenceClassification")
    pooler = bert.bert.pooler.dense
    head = ClassifyHead(labels=LABELS)
    yield bert, copied(bert, Theirs(bert.bert, "encoder", pooler), head, {"head": bert.classifier})
    roberta = encoder("RobertaForSequenceClassification")
    pairs = {"head": roberta.classifier.out_proj, "head.dense": roberta.classifier.dense}
    dense = ClassifyHead(labels=LABELS, dense="tanh")
    yield roberta, copied(roberta, Theirs(roberta.roberta, "encoder"), dense, pairs)
    distilbert = encoder("DistilBertForSequenceClassification")
    pairs = {"head": distilbert.classifier, "head.dense": distilbert.pre_classifier}
    dense = ClassifyHead(labels=LABELS, dense="relu")
    yield distilbert, copied(distilbert, Theirs(distilbert.distilbert, "encoder"), dense, pairs)


@pytest.mark.parametrize("index", range(3), ids=["bert", "roberta", "distilbert"])
def test_classification(index):
    theirs, ours = list(sequence_models())[index]
    batch, labels = rows(), torch.tensor([2, 0, 1])
    batch = Batch(batch.inputs, labels, batch.mask)
    found = theirs(input_ids=batch.inputs, attention_mask=batch.mask.long(), labels=labels)
    torch.testing.assert_close(ours(batch), found.logits, rtol=0, atol=1e-10)
    nats, number = losses(ClassifyObjective()).training(ours, batch)
    torch.testing.assert_close(nats / number, found.loss, rtol=0, atol=1e-10)


@pytest.mark.parametrize("side", ["left", "right"])
def test_last_state_of_a_decoder(side):
    """GPT2ForSequenceClassification reads the last token that is not padding."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=24, num_labels=3, pad_token_id=0
    )
    theirs = transformers.GPT2ForSequenceClassification(config).double().eval()
    head = ClassifyHead(labels=LABELS, pooling="last", bias=False)
    ours = copied(theirs, Theirs(theirs.transformer, "decoder"), head, {"head": theirs.score})
    batch = rows(side)
    found = theirs(input_ids=batch.inputs, attention_mask=batch.mask.long()).logits
    torch.testing.assert_close(ours(batch), found, rtol=0, atol=1e-10)


def test_several_labels_and_numbers():
    bert = encoder("BertForSequenceClassification", problem_type="multi_label_classification")
    body = Theirs(bert.bert, "encoder", bert.bert.pooler.dense)
    ours = copied(bert, body, ClassifyHead(labels=LABELS, multiple=True), {"head": bert.classifier})
    targets = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=torch.float64)
    batch = Batch(rows().inputs, targets, rows().mask)
    asked = {"input_ids": batch.inputs, "attention_mask": batch.mask.long()}
    nats, number = losses(ClassifyObjective(multiple=True)).training(ours, batch)
    torch.testing.assert_close(nats / number, bert(**asked, labels=targets).loss, rtol=0, atol=1e-10)
    bert.config.problem_type = "regression"
    ours = copied(bert, body, RegressHead(outputs=3), {"head": bert.classifier})
    squares, number = losses(RegressObjective()).training(ours, batch)
    torch.testing.assert_close(squares / number, bert(**asked, labels=targets).loss, rtol=0, atol=1e-10)


def test_tags():
    bert = encoder("BertForTokenClassification")
    ours = copied(bert, Theirs(bert.bert, "encoder"), TagHead(labels=LABELS), {"head": bert.classifier})
    targets = torch.randint(0, 3, (3, 8)).masked_fill(~rows().mask, IGNORE)
    batch = Batch(rows().inputs, targets, rows().mask)
    found = bert(input_ids=batch.inputs, attention_mask=batch.mask.long(), labels=targets)
    torch.testing.assert_close(ours(batch), found.logits, rtol=0, atol=1e-10)
    nats, number = losses(TagObjective()).training(ours, batch)
    torch.testing.assert_close(nats / number, found.loss, rtol=0, atol=1e-10)


def test_answers():
    """Where nothing is padding: theirs lets padding share in the sum."""
    bert = encoder("BertForQuestionAnswering", num_labels=2)
    ours = copied(bert, Theirs(bert.bert, "encoder"), SpanHead(), {"head": bert.qa_outputs})
    mask, targets = torch.ones(3, 8, dtype=torch.bool), torch.tensor([[1, 3], [0, 0], [6, 7]])
    batch = Batch(rows().inputs, targets, mask)
    found = bert(
        input_ids=batch.inputs,
        attention_mask=mask.long(),
        start_positions=targets[:, 0],
        end_positions=targets[:, 1],
    )
    both = torch.stack((found.start_logits, found.end_logits), -1)
    torch.testing.assert_close(ours(batch), both, rtol=0, atol=1e-10)
    nats, number = losses(SpanObjective()).training(ours, batch)
    torch.testing.assert_close(nats / number, found.loss, rtol=0, atol=1e-10)
