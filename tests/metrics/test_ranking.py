"""AUROC and average precision against scikit-learn, searches by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from textmill.base.errors import TextmillError
from textmill.metrics import ranking
from textmill.metrics.score import Bootstrap

QUICK = Bootstrap(30)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_as_scikit_learn_has_it_with_ties(rows):
    scores, truth = zip(*rows, strict=True)
    if len(set(truth)) < 2:
        with pytest.raises(TextmillError, match="both true and false"):
            ranking.told_apart(scores, truth, QUICK)
        return
    made = ranking.told_apart(scores, truth, QUICK)
    assert made["AUROC"].value == pytest.approx(sklearn.roc_auc_score(truth, scores))
    assert made["average precision"].value == pytest.approx(sklearn.average_precision_score(truth, scores))


def test_the_interval_is_that_of_resampled_texts():
    draw = np.random.default_rng(1)
    truth = draw.integers(2, size=120).astype(bool)
    scores = truth + draw.normal(size=120)
    made = ranking.told_apart(scores, truth, Bootstrap(200, seed=3))["AUROC"]
    samples = []
    for times in Bootstrap(200, seed=3).draws(120):
        index = np.repeat(np.arange(120), times)
        samples.append(sklearn.roc_auc_score(truth[index], scores[index]))
    assert (made.low, made.high) == pytest.approx(tuple(np.percentile(samples, (2.5, 97.5))))


def test_several_labels_as_scikit_learn_has_them():
    draw = np.random.default_rng(2)
    truth = draw.integers(4, size=90)
    scores = draw.random((90, 4)) + np.eye(4)[truth] / 2
    scores /= scores.sum(1, keepdims=True)
    made = ranking.each_against_the_rest(scores, truth, Bootstrap(100, seed=1))
    assert made.value == pytest.approx(sklearn.roc_auc_score(truth, scores, multi_class="ovr"))
    assert made.low < made.value < made.high
    more = np.column_stack([scores, np.zeros(90)])  # a label that nothing has
    assert ranking.each_against_the_rest(more, truth, Bootstrap(2)).value == made.value
    with pytest.raises(TextmillError, match="two labels"):
        ranking.each_against_the_rest(scores, np.zeros(90), Bootstrap(2))


def test_a_search_by_hand():
    """First query: relevant a and b at ranks 2 and 4; second: c at rank 1; third: nothing found."""
    made = ranking.found(
        [["x", "a", "y", "b", "a"], ["c"], ["z"]], [["a", "b"], ["c"], ["d"]], QUICK, at=(1, 5)
    )
    assert made["recall@1"].value == pytest.approx(1 / 3)
    assert made["recall@5"].value == pytest.approx(2 / 3)
    assert made["MRR"].value == pytest.approx((1 / 2 + 1 + 0) / 3)
    gain = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3))
    assert made["nDCG@5"].value == pytest.approx((gain + 1 + 0) / 3)


def test_a_query_to_which_nothing_is_relevant_is_named():
    with pytest.raises(TextmillError, match="query 2"):
        ranking.found([["a"], ["b"]], [["a"], []], QUICK)
