"""What taggers, summaries and answers are to beat: the CRF's objective by hand, and sentences that are chosen."""

from __future__ import annotations

import random

import pytest
import torch

from textmill.metrics.score import Bootstrap
from textmill.nn.crf import CRF
from textmill.tasks.answer import ANSWER
from textmill.tasks.baselines import feature_crf
from textmill.tasks.summarize import SUMMARIZE
from textmill.tasks.tag import TAG

TAGS = ("B-LOC", "I-LOC", "O")


def tagged(number: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Words of which capitals behind "in" are places."""
    draw = random.Random(seed)
    texts, tags = [], []
    for _ in range(number):
        words = draw.choices(["the", "mill", "stands", "Bread", "and", "flour"], k=draw.randint(2, 7))
        some = ["O"] * len(words)
        if draw.random() < 0.7:
            at = draw.randrange(len(words) + 1)
            place = draw.choice([["Delft"], ["New", "York"], ["Ghent"]])
            words[at:at] = ["in", *place]
            some[at:at] = ["O", "B-LOC", "I-LOC"][: 1 + len(place)]
        texts.append(words)
        tags.append(some)
    return texts, tags


def test_the_objective_and_its_gradient_are_those_of_autograd():
    texts, tags = tagged(9)
    pairs = sorted(zip(texts, tags, strict=True), key=lambda pair: -len(pair[0]))
    texts = [words for words, _ in pairs]
    names = sorted({name for words in texts for some in feature_crf.features(words) for name in some})
    numbers = {name: place for place, name in enumerate(names)}
    ids, offsets = feature_crf._numbered(texts, numbers)
    truth = torch.tensor([TAGS.index(tag) for _, some in pairs for tag in some])
    problem = feature_crf._Problem(ids, offsets, truth, list(map(len, texts)), len(names), 3, 0.3)
    torch.manual_seed(1)
    flat = torch.randn(problem.cut + 2 * 3 + 9, dtype=torch.float64)
    value, gradient = problem.value(flat)

    free = flat.clone().requires_grad_()
    start, end, moves = problem.moves(free)
    crf = CRF(3)
    for name, given in (("start", start), ("end", end), ("transitions", moves)):
        delattr(crf, name)
        setattr(crf, name, given)
    weights = free[: problem.cut].view(len(names), 3)
    scores = torch.nn.functional.embedding_bag(ids, weights, offsets, mode="sum")
    total, begin = 0.15 * free.square().sum(), 0
    for words in texts:
        part = slice(begin, begin + len(words))
        begin += len(words)
        real = torch.ones(1, len(words), dtype=torch.bool)
        total = total + crf.nats(scores[part][None], truth[part][None], real).sum()
    total.backward()
    assert value == pytest.approx(total.item(), rel=1e-5)
    torch.testing.assert_close(gradient, free.grad, rtol=1e-4, atol=1e-4)


def test_it_learns_where_names_stand_and_says_so_as_a_tagger_does():
    records = [
        {"text": " ".join(words), "tags": " ".join(some)} for words, some in zip(*tagged(80), strict=True)
    ]
    fresh = [
        {"text": " ".join(words), "tags": " ".join(some)} for words, some in zip(*tagged(40, 1), strict=True)
    ]
    baseline = TAG.baselines["features"](records)
    said = baseline.predict(fresh)
    assert TAG.metrics(said, fresh, Bootstrap(10))["entity F1"].value > 0.95
    for one, record in zip(said, fresh, strict=True):
        assert [span.text for span in one.spans] == [
            record["text"][span.start : span.end] for span in one.spans
        ]
    again = TAG.baselines["features"](records).predict(fresh)
    assert again == said


def test_shapes_of_words():
    assert [feature_crf.shape(word) for word in ("Delft", "iPhone4", "磨坊", "3.14", "U.S.")] == [
        "Xx",
        "xXx9",
        "x",
        "9.9",
        "X.X.",
    ]


def test_sentences_that_are_chosen():
    source = "The mill stands. Dr. Smith owns the mill and the river. 他卖面粉。Bread is baked there."
    record = {"source": source, "target": "x"}

    def said(name: str) -> str:
        return SUMMARIZE.baselines[name]([]).predict([record])[0].text

    assert said("lead 1") == "The mill stands."
    assert said("lead 3") == "The mill stands. Dr. Smith owns the mill and the river. 他卖面粉。"
    assert said("BM25") in source
    asked = {"passage": source, "question": "Who owns the river?"}
    [answer] = ANSWER.baselines["BM25"]([]).predict([asked])
    assert answer.text == "Dr. Smith owns the mill and the river." == source[answer.start : answer.end]
    [empty] = ANSWER.baselines["BM25"]([]).predict([{"passage": " ", "question": "x"}])
    assert empty.text == " "
