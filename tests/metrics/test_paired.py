"""Paired tests against scipy, an exhaustive exchange, and how often they cry wolf."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from textmill.base.errors import TextmillError
from textmill.metrics import paired
from textmill.metrics.score import Bootstrap, share

QUICK = Bootstrap(50)
MEAN = share(0, 1)


def columns(values):
    return np.column_stack([np.asarray(values, np.float64), np.ones(len(values))])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_is_the_binomial_test_of_what_only_one_got_right(rows):
    one, other = (np.array(side) for side in zip(*rows, strict=True))
    made = paired.mcnemar(one, other, QUICK)
    only = int((one & ~other).sum()), int((other & ~one).sum())
    expected = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
    assert made.p == pytest.approx(expected)
    assert made.value == pytest.approx(one.mean() - other.mean())


def test_all_exchanges_of_few_texts():
    draw = np.random.default_rng(2)
    one, other = draw.normal(0.6, 1, 9), draw.normal(size=9)
    difference = one - other
    seen = abs(difference.mean())
    signs = np.array(list(itertools.product((1, -1), repeat=9)))
    exact = (np.abs((signs * difference).mean(1)) >= seen - 1e-12).mean()
    made = paired.randomised(columns(one), columns(other), MEAN, QUICK, rounds=20_000)
    assert made.p == pytest.approx(exact, abs=0.015)
    assert made.value == pytest.approx(difference.mean())


def test_alike_systems_differ_by_chance_as_often_as_p_says():
    draw = np.random.default_rng(3)
    small = 0
    for trial in range(200):
        one, other = draw.normal(size=(2, 40))
        small += (
            paired.randomised(columns(one), columns(other), MEAN, Bootstrap(2, trial), rounds=200).p < 0.1
        )
    assert 6 <= small <= 36  # 20 expected, deviation 4.2


def test_texts_of_one_group_are_exchanged_together():
    """Twenty groups of fifty equal texts: told apart text by text, chance would look like certainty."""
    draw = np.random.default_rng(4)
    base = draw.normal(0.15, 1, 20)
    one, other = np.repeat(base, 50), np.zeros(1000)
    units = np.repeat(np.arange(20), 50)
    grouped = paired.randomised(columns(one), columns(other), MEAN, Bootstrap(50, units=units), rounds=2000)
    assert grouped.p > 0.05
    assert paired.randomised(columns(one), columns(other), MEAN, QUICK, rounds=2000).p < 0.01


def test_a_real_difference_is_called_real_and_other_texts_are_refused():
    one, other = np.ones(30, dtype=bool), np.arange(30) % 3 > 0
    assert paired.mcnemar(one, other, QUICK).real
    assert not paired.mcnemar(one, one, QUICK).real
    with pytest.raises(TextmillError, match="the same texts"):
        paired.mcnemar(one, other[:-1])
