"""Evidence: a logistic regression beside scikit-learn's, and the threshold that is worth most."""

from __future__ import annotations

import numpy as np
import pytest

from textmill.retrieval import evidence
from textmill.retrieval.reading import Sentences


def test_weights_are_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    table = np.column_stack([np.ones(300), rng.normal(size=(300, 3))])
    right = rng.random(300) < 1 / (1 + np.exp(-table @ [0.5, 2, -1, 0]))
    found = evidence.fit(table, right, np.arange(300))
    peer = linear.LogisticRegression(C=10, tol=1e-10).fit(table[:, 1:], right)  # C = 1 / penalty
    assert [found.span, found.held, found.near] == pytest.approx(peer.coef_[0].tolist(), abs=1e-4)
    assert found.bias == pytest.approx(peer.intercept_[0], abs=1e-4)
    assert found.questions == 300


@pytest.mark.parametrize(
    ("p", "right", "least"),
    [
        ([0.9, 0.8, 0.3, 0.2], [1, 1, 0, 0], 0.55),
        ([0.9, 0.8, 0.3, 0.2], [1, 0, 1, 1], 0.2),
        ([0.9, 0.8], [0, 0], 1.0),
    ],
)
def test_answers_are_given_from_where_they_are_worth_it(p, right, least):
    assert evidence.least(np.array(p), np.array(right)) == pytest.approx(least)


def test_without_a_model_the_sentence_that_fits_best_is_read():
    texts = ["It rained. Ottokar is the miller. Nobody came.", "No.", "长江很长。守塔人叫王小明。"]
    found = Sentences().read("Who is the miller?", texts)
    assert texts[0][found[0].start : found[0].end] == "Ottokar is the miller."
    assert found[1] is None
    [_, _, chinese] = Sentences().read("守塔人是谁？", texts)
    assert texts[2][chinese.start : chinese.end] == "守塔人叫王小明。"
