"""Heads: what they read of a body, with padding on either side, and what they say."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE, Batch
from textmill.models import heads
from textmill.models.build import build
from textmill.models.initial import kind_of_parameter
from textmill.objectives.table import OBJECTIVES
from textmill.specs import objective as objectives
from textmill.specs.head import ClassifyHead, RegressHead, SpanHead, TagHead
from textmill.specs.model import DecoderSpec, EncoderSpec, RecurrentSpec
from textmill.specs.position import LearnedPositions, RelativePositions, T5Positions

VOCABULARY = 23
POSITIONS = {"learned": LearnedPositions, "relative": RelativePositions, "t5": T5Positions}
BODIES = {
    "encoder": EncoderSpec(d_model=16, layers=2, heads=2, d_ff=24, context=16, dropout=0.0),
    "no pooler": EncoderSpec(d_model=16, layers=1, heads=2, d_ff=24, context=16, dropout=0.0, pooler=False),
    "decoder": DecoderSpec(d_model=16, layers=2, heads=2, d_ff=24, context=16),
    "recurrent": RecurrentSpec(d_model=12, hidden=16, layers=1, context=16),
}
LABELS = ("yes", "no", "perhaps")
HEADS = {
    "first": ClassifyHead(labels=LABELS),
    "dense": ClassifyHead(labels=LABELS, dense="tanh"),
    "mean": ClassifyHead(labels=LABELS, pooling="mean", dense="relu"),
    "last": ClassifyHead(labels=LABELS, pooling="last", multiple=True, bias=False),
    "number": RegressHead(outputs=2, pooling="mean"),
    "tag": TagHead(labels=LABELS),
    "crf": TagHead(labels=LABELS, crf=True),
    "convolutions": TagHead(labels=LABELS, crf=True, convolutions=2),
    "span": SpanHead(),
}
PAIRS = [
    (body, head)
    for body in BODIES
    for head in HEADS
    if not (body in ("decoder", "recurrent") and head in ("first", "dense"))
]


def make(body: str, head: str, seed: int = 1) -> heads.Headed:
    return heads.attach(build(BODIES[body], VOCABULARY, dtype=torch.float64), HEADS[head], seed=seed).eval()


def padded(rows: list[torch.Tensor], side: str, extra: int = 2) -> Batch:
    """Rows of different lengths beside padding of random ids."""
    length = max(map(len, rows)) + extra
    inputs = torch.randint(0, VOCABULARY, (len(rows), length))
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(length - len(row), length)
        inputs[index, place], mask[index, place] = row, True
    return Batch(inputs, torch.where(mask, 0, IGNORE), mask)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("body", "head"), PAIRS)
def test_padding_changes_nothing(body, head, side):
    model = make(body, head)
    for _, parameter in model.named_parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    rows = [torch.randint(0, VOCABULARY, (length,)) for length in (9, 1, 4)]
    batch = padded(rows, side)
    predict = OBJECTIVES[model.head.spec.kind].predict
    logits, said = model(batch), predict(model, batch)
    for index, row in enumerate(rows):
        alone = Batch(row[None], torch.zeros(1, len(row), dtype=torch.long))
        expected, answer = model(alone)[0], predict(model, alone)
        whole = logits[index] if logits.ndim == 2 else logits[index][batch.mask[index]]
        torch.testing.assert_close(whole, expected, rtol=1e-9, atol=1e-10)
        if head == "span":
            begin = batch.mask[index].int().argmax()
            assert (said.first[index] - begin, said.last[index] - begin) == (answer.first, answer.last)
            if side == "right":  # the row's first token, which says "not here", is a real one
                torch.testing.assert_close(said.odds[index], answer.odds[0])
            continue
        found = said[index]
        if head in ("tag", "crf", "convolutions"):
            assert (found[~batch.mask[index]] == IGNORE).all()
            found = found[batch.mask[index]]
        torch.testing.assert_close(found, answer[0])


def test_pooling_by_hand():
    states = torch.arange(24.0).view(2, 4, 3)
    real = torch.tensor([[False, True, True, False], [True, True, True, True]])
    assert heads.first_state(states, real).tolist() == [[3, 4, 5], [12, 13, 14]]
    assert heads.last_state(states, real).tolist() == [[6, 7, 8], [21, 22, 23]]
    assert heads.mean_state(states, real).tolist() == [[4.5, 5.5, 6.5], [16.5, 17.5, 18.5]]
    for pool in heads.POOLED.values():
        torch.testing.assert_close(pool(states, None), pool(states, torch.ones(2, 4, dtype=torch.bool)))


@pytest.mark.parametrize("pooling", ["first", "last"])
@pytest.mark.parametrize("placement", ["pre", "post", "sandwich"])
@pytest.mark.parametrize("position", ["learned", "relative", "t5"])
def test_one_state_of_a_text_is_the_same_where_the_others_are_not_made(pooling, placement, position):
    spec = dataclasses.replace(
        BODIES["no pooler"], placement=placement, position=POSITIONS[position](), layers=2
    )
    body = build(spec, VOCABULARY, dtype=torch.float64).eval()
    batch = padded([torch.randint(0, VOCABULARY, (length,)) for length in (9, 1, 4)], "right")
    read = []
    body.blocks[-1].feedforward.register_forward_hook(lambda module, given, made: read.append(made.shape[1]))
    with torch.no_grad():
        alone = heads.pooled_state(body, batch, pooling)
        torch.testing.assert_close(alone, heads.POOLED[pooling](body.hidden(batch), batch.mask))
    assert read == [1 if position == "learned" else 11, 11]


def test_the_body_keeps_only_what_is_read():
    """Every parameter has a gradient: none is carried along unread."""
    for body, head in PAIRS:
        model = make(body, head).train()
        batch = Batch(torch.randint(0, VOCABULARY, (2, 5)), torch.randint(0, 3, (2, 5)))
        logits = model(batch)
        loss = logits.square().sum()
        if model.head.crf is not None:
            loss = loss + model.head.crf.nats(logits, batch.targets, batch.targets >= 0).sum()
        loss.backward()
        unread = [name for name, weight in model.named_parameters() if weight.grad is None]
        assert not unread, (body, head, unread)
    assert make("encoder", "first").body.pooler is not None
    assert make("encoder", "mean").body.pooler is None


def test_fresh_heads_depend_on_the_seed_only():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = make("decoder", "mean"), make("decoder", "mean"), make("decoder", "mean", seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.head.weight, same.head.weight)
    assert torch.equal(one.head.dense.weight, same.head.dense.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert one.head.bias.abs().sum() == 0
    assert one.head.weight.dtype == torch.float64


def test_a_headed_model_without_storage_takes_weights():
    """As whoever reads a published one does it."""
    from textmill.models.build import empty

    model = make("encoder", "crf")
    with torch.device("meta"):
        read = heads.Headed(empty(BODIES["encoder"], VOCABULARY), HEADS["crf"])
    read.load_state_dict(model.state_dict(), assign=True, strict=True)
    batch = Batch(torch.randint(0, VOCABULARY, (2, 5)), torch.zeros(2, 5, dtype=torch.long))
    assert torch.equal(read.eval()(batch), model(batch))


def test_what_the_optimiser_takes_a_head_for():
    kinds = kind_of_parameter(make("decoder", "crf"))
    assert kinds["head.weight"] == "output"
    assert kinds["head.crf.transitions"] == "vector"
    assert kinds["body.embedding.weight"] == "embedding"


def test_best_span_is_the_best_of_all():
    """Of all spans that are not longer than allowed, between real tokens."""
    torch.manual_seed(3)
    for length, longest in ((1, 5), (6, 3), (9, 1), (9, 30)):
        logits = torch.randn(4, length, 2)
        real = torch.rand(4, length) < 0.7
        real[:, length // 2] = True
        found = heads.best_span(logits, real, longest)
        for row in range(4):
            spans = {
                (i, j): (logits[row, i, 0] + logits[row, j, 1]).item()
                for i in range(length)
                for j in range(i, min(length, i + longest))
                if real[row, i] and real[row, j]
            }
            assert tuple(found[row].tolist()) == max(spans, key=spans.get)


class Records:
    """What a head wants to know of the data."""

    labels = LABELS

    def __len__(self):
        return 0


def head_for(spec, family):
    return OBJECTIVES[spec.kind].head(spec, family, Records())


def test_a_model_that_reads_one_way_is_not_pooled_by_its_first_state():
    with pytest.raises(RecipeError, match="read only one token"):
        make("decoder", "first")
    with pytest.raises(RecipeError, match="read only one token"):
        head_for(objectives.ClassifyObjective(pooling="first"), "recurrent")
    assert head_for(objectives.ClassifyObjective(), "recurrent").pooling == "last"
    assert head_for(objectives.RegressObjective(), "encoder").pooling == "first"


def test_heads_of_objectives():
    assert OBJECTIVES["masked"].head is None
    assert head_for(objectives.TagObjective(crf=True), "decoder") == HEADS["crf"]
    assert head_for(objectives.SpanObjective(), "encoder") == SpanHead()
    several = head_for(objectives.ClassifyObjective(multiple=True), "encoder")
    assert several == dataclasses.replace(HEADS["first"], multiple=True)


def test_a_head_has_the_blocks_of_its_body():
    model = make("decoder", "last")
    assert model.all_blocks() == list(model.body.blocks)
