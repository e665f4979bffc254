"""Scores against hand computation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.metrics.perplexity import language_model
from textmill.metrics.score import Bootstrap, Score, percentiles


def test_the_three_numbers_by_hand():
    # 12 nats over 6 targets and 9 bytes: 2 nats per token, e^2, 12 / (9 ln 2) bits per byte.
    scores = language_model([3.0, 9.0], [2, 4], [4, 5], bootstrap=Bootstrap(50))
    assert scores["nats per token"].value == pytest.approx(2.0)
    assert scores["perplexity"].value == pytest.approx(math.e**2)
    assert scores["bits per byte"].value == pytest.approx(12 / (9 * math.log(2)))
    assert {score.n for score in scores.values()} == {2}


def test_a_uniform_model_over_bytes_spends_eight_bits_a_byte():
    sizes = np.array([10, 1, 300])
    score = language_model(sizes * math.log(256), sizes, sizes)["bits per byte"]
    assert (score.value, score.low, score.high) == pytest.approx((8, 8, 8))


def test_long_documents_weigh_more_than_short_ones():
    assert language_model([1.0, 300.0], [1, 100], [1, 100])["nats per token"].value == pytest.approx(
        301 / 101
    )


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """95 % intervals from 200 synthetic corpora of 40 documents; between 88 % and 99 % must hold the mean."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        targets = generator.integers(20, 200, size=40)
        nats = targets * generator.normal(2.0, 0.5, size=40).clip(0.1)
        score = language_model(nats, targets, targets, bootstrap=Bootstrap(200))["nats per token"]
        held += score.low <= 2.0 <= score.high
    assert 0.88 <= held / 200 <= 0.99


def test_the_percentiles_of_a_hand_made_bootstrap():
    """With two documents a sample is both, twice one, or twice the other: its mean is 2, 1 or 3."""
    sums = Bootstrap(4000).sums(np.array([[1.0], [3.0]])) / 2
    shares = [float((sums == value).mean()) for value in (1, 2, 3)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert percentiles(sums) == (1.0, 3.0)


def test_seeds_decide_the_interval_and_the_signature_says_them():
    data = ([1.0, 5.0, 2.0], [1, 2, 3], [1, 1, 1])
    one, two = (language_model(*data, bootstrap=Bootstrap(30, seed))["bits per byte"] for seed in (1, 2))
    assert one == language_model(*data, bootstrap=Bootstrap(30, 1))["bits per byte"]
    assert (one.value, one.n) == (two.value, two.n)
    assert (one.low, one.high) != (two.low, two.high)
    assert "seed 1" in one.signature
    assert "30 resamples" in one.signature
    assert "context:64" in language_model(*data, how="context:64")["perplexity"].signature


def test_one_document_has_no_interval():
    score = language_model([3.0], [2], [4])["perplexity"]
    assert (score.low, score.high, score.interval) == (None, None, "")
    assert score.signature.endswith("interval:none")


def test_a_score_survives_json():
    score = language_model([3.0, 1.0], [2, 1], [4, 1], bootstrap=Bootstrap(9))["bits per byte"]
    assert Score.read(json.loads(json.dumps(score.plain()))) == score


@pytest.mark.parametrize(
    ("nats", "targets", "sizes"),
    [([], [], []), ([0.0], [0], [0]), ([1.0], [1, 2], [1]), ([math.nan], [1], [1]), ([-1.0], [1], [1])],
)
def test_what_cannot_be_scored_is_refused(nats, targets, sizes):
    with pytest.raises(TextmillError):
        language_model(nats, targets, sizes)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.integers(1, 500), st.integers(1, 2000)), min_size=2, max_size=20)
)
def test_the_value_lies_between_the_documents_own(rows):
    nats, targets, sizes = zip(*rows, strict=True)
    score = language_model(nats, targets, sizes, bootstrap=Bootstrap(20))["nats per token"]
    own = np.array(nats) / np.array(targets)
    assert own.min() - 1e-9 <= score.value <= own.max() + 1e-9
    assert own.min() - 1e-9 <= score.low <= score.high <= own.max() + 1e-9
