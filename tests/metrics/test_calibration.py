"""ECE by hand, temperatures against a fine grid and against the one that was put in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.metrics import calibration
from textmill.metrics.score import Bootstrap

QUICK = Bootstrap(50)


def test_ece_by_hand():
    """Two bins: (0.9, right), (0.9, wrong): |0.5 - 0.9|; (0.6, right): |1 - 0.6|. ECE = 2/3 · 0.4 + 1/3 · 0.4."""
    scores = calibration.calibrated([0.9, 0.9, 0.6], [True, False, True], QUICK)
    assert scores["ECE"].value == pytest.approx(0.4)
    assert scores["Brier score"].value == pytest.approx((0.01 + 0.81 + 0.16) / 3)
    assert scores["ECE"].better == "lower"
    assert calibration.reliability([0.9, 0.9, 0.6], [1, 0, 1]) == [
        {"from": 8 / 15, "to": 9 / 15, "answers": 1, "confidence": 0.6, "accuracy": 1.0},
        {"from": 13 / 15, "to": 14 / 15, "answers": 2, "confidence": 0.9, "accuracy": 0.5},
    ]


def test_edges_fall_into_the_outer_bins():
    bins = calibration.reliability([0.0, 1.0], [0, 1])
    assert [(each["from"], each["to"]) for each in bins] == [(0, 1 / 15), (14 / 15, 1)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_no_temperature_of_a_fine_grid_is_better(seed, several):
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(40, 3)) * draw.uniform(0.3, 5)
    truth = draw.integers(2, size=(40, 3)).astype(bool) if several else draw.integers(3, size=40)
    fitted = calibration.fit_temperature(logits, truth)

    def loss(temperature):
        z = logits / temperature
        if several:
            return np.logaddexp(0, np.where(truth, -z, z)).sum(1).mean()
        return (
            np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(40), truth]
        ).mean()

    assert fitted.before == pytest.approx(loss(1.0))
    assert fitted.after == pytest.approx(loss(fitted.value))
    assert fitted.after <= min(map(loss, np.geomspace(0.01, 100, 400))) + 1e-9


def test_the_temperature_that_was_put_in_comes_out():
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(20_000, 4)) * 2
    truth = (logits + draw.gumbel(size=logits.shape)).argmax(1)  # drawn from softmax(logits)
    assert calibration.fit_temperature(3 * logits, truth).value == pytest.approx(3, rel=0.05)


def test_all_right_is_as_cold_as_may_be_and_nothing_is_refused():
    assert calibration.fit_temperature([[9.0, 0.0]], [0]).value == pytest.approx(0.01, rel=1e-3)
    with pytest.raises(TextmillError, match="nothing to fit"):
        calibration.fit_temperature(np.zeros((0, 2)), [])
    with pytest.raises(TextmillError, match="not finite"):
        calibration.fit_temperature([[np.nan, 0.0]], [0])
