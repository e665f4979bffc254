"""Labels, numbers and guesses against scikit-learn, and against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.metrics import guesses, labels, numbers
from textmill.metrics.score import Bootstrap, Sums

QUICK = {"bootstrap": Bootstrap(20)}


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5).flatmap(lambda c: st.lists(st.tuples(*[st.integers(0, c - 1)] * 2), min_size=1)))
def test_one_label_as_scikit_learn_has_it(pairs):
    sklearn = pytest.importorskip("sklearn.metrics")
    truth, guess = (np.array(side) for side in zip(*pairs, strict=True))
    scores = labels.one_label(truth, guess, 5, **QUICK)
    assert scores["accuracy"].value == pytest.approx(sklearn.accuracy_score(truth, guess))
    assert scores["macro F1"].value == pytest.approx(sklearn.f1_score(truth, guess, average="macro"))
    if len(set(truth)) > 1 and len(set(guess)) > 1:
        assert scores["MCC"].value == pytest.approx(sklearn.matthews_corrcoef(truth, guess))
    else:
        assert "MCC" not in scores


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=20))
def test_several_labels_as_scikit_learn_has_them(cells):
    sklearn = pytest.importorskip("sklearn.metrics")
    table = np.array(cells)
    truth, guess = table % 2 == 1, table >= 2
    scores = labels.several_labels(truth, guess, **QUICK)
    assert scores["subset accuracy"].value == pytest.approx(sklearn.accuracy_score(truth, guess))
    if not (truth | guess).any():
        assert set(scores) == {"subset accuracy"}
        return
    for average in ("micro", "macro"):
        expected = sklearn.f1_score(truth, guess, average=average, zero_division=np.nan)
        assert scores[f"{average} F1"].value == pytest.approx(expected)


def test_what_is_taken_for_what():
    truth, guess = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 2, 2])
    assert labels.confusion(truth, guess, ["a", "b", "c"]) == {
        "a": {"a": 1, "b": 1},
        "b": {"b": 1},
        "c": {"a": 1, "c": 2},
    }
    rows = labels.by_label(["a", "b", "c"], *labels.counts_of_one(truth, guess, 3))
    assert [(row["label"], row["precision"], row["recall"], row["texts"]) for row in rows] == [
        ("a", 0.5, 0.5, 2),
        ("b", 0.5, 1.0, 1),
        ("c", 1.0, pytest.approx(2 / 3), 3),
    ]
    assert rows[2]["F1"] == pytest.approx(0.8)


def test_a_label_that_nobody_has_or_says_is_left_out():
    rows = labels.by_label(["a", "b"], *labels.counts_of_one(np.array([0, 0]), np.array([0, 0]), 2))
    assert [row["label"] for row in rows] == ["a"]
    assert labels.one_label(np.array([0, 0]), np.array([0, 0]), 2, **QUICK)["macro F1"].value == 1


def test_intervals_resample_texts():
    """Three of four right: a sample of four has any share of quarters, and so has the interval's ends."""
    truth, guess = np.zeros(4, dtype=int), np.array([0, 0, 0, 1])
    score = labels.one_label(truth, guess, 2, bootstrap=Bootstrap(2000))["accuracy"]
    assert (score.value, score.low, score.high, score.n) == (0.75, 0.25, 1.0, 4)


def test_events_are_summed_as_a_table_would_be():
    generator = np.random.default_rng(3)
    owners, kinds = generator.integers(7, size=50), generator.integers(4, size=50)
    table = np.zeros((7, 4))
    np.add.at(table, (owners, kinds), 1)
    sums = Sums.of_events(7, owners, kinds, 4, bootstrap=Bootstrap(30, 5))
    plain = Sums.of(table, bootstrap=Bootstrap(30, 5))
    assert np.array_equal(sums.total, plain.total)
    assert np.array_equal(sums.samples, plain.samples)


def test_each_sample_draws_as_many_documents_as_there_are():
    bootstrap = Bootstrap(50)
    assert {int(times.sum()) for times in bootstrap.draws(9)} == {9}
    assert np.allclose(bootstrap.sums(np.ones((9, 1))), 9)


def test_documents_that_were_split_together_are_drawn_together():
    units = np.array([0, 0, 1, 2, 1, 0])
    for times in Bootstrap(50, units=units).draws(6):
        assert len(set(times[units == 0])) == len(set(times[units == 1])) == 1
        assert times[0] + times[2] + times[3] == 3


def test_an_interval_over_groups_is_as_wide_as_one_over_their_sums():
    """Forty groups of twenty-five documents, each group all right or all wrong: forty facts, not a thousand."""
    right = np.repeat(np.random.default_rng(0).random(40) < 0.5, 25)
    units = np.repeat(np.arange(40), 25)
    truth, guess = np.zeros(1000, int), np.where(right, 0, 1)
    grouped = labels.one_label(truth, guess, 2, Bootstrap(2000, units=units))["accuracy"]
    alone = labels.one_label(truth, guess, 2, Bootstrap(2000))["accuracy"]
    rate = right.mean()
    expected = 2 * 1.96 * np.sqrt(rate * (1 - rate) / 40)  # the normal interval of forty draws
    assert grouped.high - grouped.low == pytest.approx(expected, rel=0.1)
    assert alone.high - alone.low == pytest.approx(expected / 5, rel=0.1)
    assert "over 40 groups" in grouped.signature
    assert "groups" not in alone.signature


def test_some_documents_keep_their_units():
    bootstrap = Bootstrap(9, units=np.array([4, 4, 7, 9])).of(np.array([1, 3]))
    assert bootstrap.units.tolist() == [0, 1]
    assert bootstrap.drawn(2) == 2
    assert Bootstrap(9, units=np.zeros(5, int)).sums(np.ones((5, 1))) is None  # one group says nothing


def test_regression_as_scikit_learn_and_numpy_have_it():
    sklearn = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    truth = generator.normal(1e4, 2, 200)  # far from zero, where sums of squares would lose their digits
    guess = truth * 0.5 + generator.normal(0, 1, 200)
    scores = numbers.regression(truth, guess, bootstrap=Bootstrap(50))
    assert scores["mean squared error"].value == pytest.approx(sklearn.mean_squared_error(truth, guess))
    assert scores["mean absolute error"].value == pytest.approx(sklearn.mean_absolute_error(truth, guess))
    r = scores["Pearson r"]
    assert r.value == pytest.approx(np.corrcoef(truth, guess)[0, 1], abs=1e-9)
    assert r.low < r.value < r.high < 1


def test_what_never_changes_correlates_with_nothing():
    assert "Pearson r" not in numbers.regression([1.0, 2.0], [3.0, 3.0], **QUICK)
    assert numbers.regression([1.0], [3.0], **QUICK)["mean squared error"].value == 4


def test_tokens_by_hand():
    scores = guesses.token_scores(
        [3.0, 5.0], [1, 2], [2, 4], target="masked token", accuracy="masked accuracy", **QUICK
    )
    assert scores["masked accuracy"].value == pytest.approx(0.5)
    assert scores["nats per masked token"].value == pytest.approx(8 / 6)
    assert scores["nats per masked token"].unit == "nats/token"


def test_a_unigram_model_is_a_distribution():
    nats = guesses.unigram_nats(np.array([0, 3, 1]))
    assert np.exp(-nats).sum() == pytest.approx(1)
    assert nats[0] == pytest.approx(np.log(7))


@pytest.mark.parametrize(
    "make", [lambda: labels.one_label(*[np.zeros(0, dtype=int)] * 2, 1), lambda: numbers.regression([], [])]
)
def test_nothing_to_score(make):
    with pytest.raises(TextmillError, match="nothing to score"):
        make()


def test_weights_that_are_damaged():
    with pytest.raises(TextmillError, match="is not a number"):
        numbers.regression([1.0, 2.0], [np.nan, 1.0], **QUICK)
