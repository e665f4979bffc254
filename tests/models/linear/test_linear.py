"""The linear model: features that never change, gradients, scikit-learn's weights, ids read as the text they are."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from textmill.base.errors import RecipeError, TextmillError
from textmill.models.build import empty
from textmill.models.linear import fit as fitting
from textmill.models.linear.features import features, flattened, key_of, occurrences
from textmill.models.linear.fit import Labelled, bag, fit, scores
from textmill.models.linear.lbfgs import minimise, zeros
from textmill.models.linear.model import tables
from textmill.models.linear.shares import shares
from textmill.specs.head import ClassifyHead
from textmill.specs.model import LinearSpec
from textmill.specs.recipe import TokenizerSpec
from textmill.tasks.reasons import can_tell
from textmill.tokenization.training import train

WORDS = [
    "mill",
    "flour",
    "bread",
    "wind",
    "river",
    "grain",
    "stone",
    "wheel",
    "sack",
    "field",
    "水",
    "磨",
    "坊",
]
SPEC = LinearSpec(words=(1, 2), characters=(3,), bits=20)


def texts(number: int, seed: int = 0) -> list[tuple[str, ...]]:
    draw = np.random.default_rng(seed)
    return [(" ".join(draw.choice(WORDS, draw.integers(3, 9))),) for _ in range(number)]


def labels(rows: list[tuple[str, ...]], number: int) -> np.ndarray:
    """That depend on words, with some noise."""
    draw = np.random.default_rng(1)
    marks = [sum(text.count(word) * (place % number) for place, word in enumerate(WORDS)) for (text,) in rows]
    return (np.array(marks) + draw.integers(0, 2, len(rows))) % number


def logits(spec: LinearSpec, fitted: fitting.Fitted, rows: list[tuple[str, ...]]) -> np.ndarray:
    read, worth = bag(spec, fitted.keys, fitted.scale, rows)
    return scores(
        read, torch.from_numpy(worth), torch.from_numpy(fitted.weight), torch.from_numpy(fitted.bias)
    ).numpy()


def test_features_are_the_same_in_every_process_and_beside_any_text():
    rows = [("The mill, 磨坊!",), ("flour",), ("",)]
    here = features(rows, SPEC)
    program = (
        "from textmill.models.linear.features import features; from textmill.specs.model import LinearSpec; "
        f"print(features([('The mill, 磨坊!',)], {SPEC!r}).keys.tolist())"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert there.strip() == str(here.keys[: here.offsets[1]].tolist())
    assert here.offsets[-1] == here.offsets[-2]  # a text without words has none but its blank
    assert here.keys.max() < 1 << SPEC.bits


def test_n_grams_stand_where_they_are_said_to_stand():
    text = "The Mill  turns! 磨坊"
    found = occurrences([text], SPEC)
    words = {text[a:b] for a, b, c in zip(found.start, found.end, found.characters, strict=True) if not c}
    assert words == {
        "The",
        "Mill",
        "turns",
        "!",
        "磨",
        "坊",
        "The Mill",
        "Mill  turns",
        "turns!",
        "! 磨",
        "磨坊",
    }
    plain = flattened(text)
    assert {plain[a:b] for a, b, c in zip(found.start, found.end, found.characters, strict=True) if c} == {
        plain[at : at + 3] for at in range(len(plain) - 2)
    }


def test_of_two_texts_what_both_hold_is_a_feature_of_its_own():
    spec = LinearSpec(words=(1,))
    read = features([("mill flour", "mill bread"), ("mill flour", "bread")], spec)
    assert np.diff(read.offsets).tolist() == [5, 3]
    mill = occurrences(["mill"], spec).hash
    assert key_of(mill, 2, spec.bits)[0] in read.keys[:5]
    assert key_of(mill, 2, spec.bits)[0] not in read.keys[5:]


@pytest.mark.parametrize("kind", ["one", "two", "several", "numbers"])
@pytest.mark.parametrize("weighting", ["binary", "naive-bayes"])
def test_the_gradient_is_the_slope_of_the_function(monkeypatch, kind, weighting):
    if (kind, weighting) == ("numbers", "naive-bayes"):
        weighting = "tf-idf"  # there are no labels to weigh by
    rows = texts(30)
    targets = labels(rows, 2 if kind == "two" else 3)
    if kind in ("several", "numbers"):
        targets = np.eye(3)[targets]
        targets = targets > 0 if kind == "several" else targets
    aims, least = [], fitting._Aim.least
    monkeypatch.setattr(fitting._Aim, "least", lambda self, *given: aims.append(self) or least(self, *given))
    spec = LinearSpec(words=(1,), weighting=weighting, penalty=0.5)
    fit(spec, Labelled(rows, targets), 2 if kind == "two" else 3)
    [aim] = aims
    draw = torch.Generator().manual_seed(0)
    point, way = (torch.randn(aim.loss.wanted.shape, generator=draw) for _ in range(2))
    step = 1e-2
    slope = (aim.loss(point + step * way)[0] - aim.loss(point - step * way)[0]) / (2 * step)
    assert slope == pytest.approx(float((aim.loss(point)[1] * way).sum()), rel=5e-3, abs=1e-2)
    one, other = (float((left * aim.product(right)).sum()) for left, right in ((point, way), (way, point)))
    assert one == pytest.approx(other, rel=1e-3)  # K is symmetric, as inner products are


def test_lbfgs_finds_the_bottom_of_a_bowl():
    draw = torch.Generator().manual_seed(0)
    table, wanted = torch.randn(30, 5, generator=draw), torch.randn(30, 2, generator=draw)

    def loss(logits):
        return 0.5 * float((logits - wanted).square().sum()), logits - wanted

    found = minimise(
        loss, lambda shares: table @ (table.T @ shares), 2.0, zeros(torch.zeros(31, 2)), tolerance=1e-8
    )
    whole = torch.cat([table, torch.ones(30, 1)], 1)
    ridge = torch.diag(torch.tensor([2.0] * 5 + [0.0]))
    best = torch.linalg.solve(whole.T @ whole + ridge, whole.T @ wanted)
    assert torch.allclose(table.T @ found.own[:-1], best[:-1], atol=1e-4)
    assert torch.allclose(found.own[-1], best[-1], atol=1e-4)


@pytest.mark.parametrize("number", [2, 3])
def test_weights_are_those_of_scikit_learn(number):
    linear_model = pytest.importorskip("sklearn.linear_model")
    text = pytest.importorskip("sklearn.feature_extraction.text")
    rows = texts(200)
    targets = labels(rows, number)
    spec = LinearSpec(words=(1, 2), penalty=0.5)
    words = text.TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True)
    theirs = linear_model.LogisticRegression(C=2, tol=1e-8, max_iter=2000)
    theirs.fit(words.fit_transform([row[0] for row in rows]), targets)
    new = texts(50, seed=5)
    mine = logits(spec, fit(spec, Labelled(rows, targets), number, tolerance=1e-8), new)
    probabilities = np.exp(mine) / np.exp(mine).sum(1, keepdims=True)
    expected = theirs.predict_proba(words.transform([row[0] for row in new]))
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)


def test_numbers_are_those_of_ridge_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    text = pytest.importorskip("sklearn.feature_extraction.text")
    rows = texts(150)
    targets = np.array([[100 + 3.0 * row[0].count("mill") - row[0].count("水")] for row in rows])
    spec = LinearSpec(words=(1,), penalty=2.0)
    words = text.TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True)
    theirs = linear_model.Ridge(alpha=2.0).fit(words.fit_transform([row[0] for row in rows]), targets)
    new = texts(50, seed=5)
    mine = logits(spec, fit(spec, Labelled(rows, targets), 1, tolerance=1e-8), new)
    np.testing.assert_allclose(
        mine.ravel(), theirs.predict(words.transform([row[0] for row in new])).ravel(), atol=1e-3
    )


def test_columns_alike_change_nothing(monkeypatch):
    rows = texts(60)
    targets, spec = labels(rows, 3), LinearSpec(words=(1, 2, 3), penalty=0.3)
    new = texts(20, seed=9)
    joined = logits(spec, fit(spec, Labelled(rows, targets), 3, tolerance=1e-8), new)

    def apart(columns, owners, counts):
        number = int(columns.max()) + 1
        return np.arange(number), np.arange(number), np.ones(number, dtype=np.int64)

    monkeypatch.setattr(fitting, "_alike", apart)
    np.testing.assert_allclose(
        joined, logits(spec, fit(spec, Labelled(rows, targets), 3, tolerance=1e-8), new), atol=2e-3
    )


def test_the_penalty_is_chosen_on_held_out_texts():
    rows, held = texts(200), texts(80, seed=3)
    found = fit(LinearSpec(words=(1,)), Labelled(rows, labels(rows, 2)), 2, Labelled(held, labels(held, 2)))
    assert found.penalty == min(found.tried, key=found.tried.__getitem__)
    assert len(found.tried) > 1


def test_without_a_validation_split_a_tenth_of_the_texts_chooses_it_and_all_are_learnt_from():
    rows = texts(200)
    targets = labels(rows, 2)
    found = fit(LinearSpec(words=(1,)), Labelled(rows, targets), 2)
    assert found.penalty == min(found.tried, key=found.tried.__getitem__)
    assert len(found.tried) > 1
    with_it = fit(LinearSpec(words=(1,), penalty=found.penalty), Labelled(rows, targets), 2)
    assert np.array_equal(found.weight, with_it.weight)
    few = fit(LinearSpec(words=(1,)), Labelled(rows[:40], targets[:40]), 2)
    assert (few.penalty, few.tried) == (1.0, {})


def test_ids_are_read_as_the_text_they_stand_for():
    rows = [*texts(40), ("naïve café 👩‍🔬",)]
    spec = LinearSpec(words=(1, 2), characters=(2,), penalty=1.0)
    found = fit(spec, Labelled(rows, labels(rows, 2)), 2)
    tokenizer = train(TokenizerSpec(vocabulary=300), [row[0] for row in rows])
    model = empty(spec, tokenizer.vocabulary, ClassifyHead(labels=("a", "b")))
    model.load_state_dict(tables(found, tokenizer), assign=True)
    from textmill.data.codec import Codec

    codec = Codec(tokenizer)
    batch = codec.batch([codec.source(text) for (text,) in rows])
    assert model.body.texts(batch) == rows
    assert np.array_equal(model(batch).numpy(), logits(spec, found, rows))
    alone = torch.cat([model(codec.batch([codec.source(text)])) for (text,) in rows])
    assert torch.equal(model(batch), alone)
    pair = codec.batch([codec.pair("the mill", "磨坊"), codec.pair("flour", "bread and wind")])
    assert model.body.texts(pair) == [("the mill", "磨坊"), ("flour", "bread and wind")]


@pytest.mark.parametrize("pair", [False, True])
def test_the_shares_of_n_grams_are_the_whole_logit(pair):
    rows = [
        (text, other) if pair else (text,)
        for (text,), (other,) in zip(texts(60), texts(60, seed=5), strict=True)
    ]
    spec = LinearSpec(words=(1, 2), characters=(3,), penalty=0.5)
    found = fit(spec, Labelled(rows, np.arange(60) % 3), 3)
    tokenizer = train(TokenizerSpec(vocabulary=300), [row[0] for row in rows])
    model = empty(spec, tokenizer.vocabulary, ClassifyHead(labels=("a", "b", "c")))
    model.load_state_dict(tables(found, tokenizer), assign=True)
    for row, expected in zip(rows[:5], logits(spec, found, rows[:5]), strict=True):
        told = [shares(model.body, model.head, row, label, against=False, most=10_000) for label in range(3)]
        added = [sum(share.weight for share in each) for each in told]
        np.testing.assert_allclose(np.array(added) + found.bias, expected, atol=1e-4)
        against = shares(model.body, model.head, row, 0, against=True, most=10_000)
        mean = expected.mean() - found.bias.mean()
        assert abs(sum(share.weight for share in against) - (added[0] - mean)) < 1e-4
        written = " ".join(row).lower()
        assert all(share.ngram.lower().strip() in written for share in told[0])
        assert len(shares(model.body, model.head, row, 0, against=True, most=4)) == 4


def test_nothing_to_learn_from_is_said():
    with pytest.raises(RecipeError, match="no labelled text"):
        fit(LinearSpec(), Labelled([("",)], np.zeros(1, dtype=np.int64)), 2)
    with pytest.raises(RecipeError, match="numbers are to be said"):
        fit(LinearSpec(weighting="naive-bayes"), Labelled(texts(5), np.zeros((5, 1))), 1)


def test_only_a_linear_model_says_why():
    other = SimpleNamespace(model=torch.nn.Linear(1, 1), spec=SimpleNamespace(kind="encoder"))
    with pytest.raises(TextmillError, match="an? encoder model cannot say") as error:
        can_tell(other)
    assert "trace" in str(error.value.advice)
