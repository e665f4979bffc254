"""Learning-rate schedules at points worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.specs.training import ScheduleSpec
from textmill.training.schedule import rate

QUARTER = 0.1 + 0.45 * (1 + math.sqrt(0.5))  # cosine from 1 to 0.1, a quarter of the way


@pytest.mark.parametrize(
    ("spec", "steps", "points"),
    [
        # warm-up over 4 of 20 steps rises in fifths; cosine over the other 16, half-way at step 12
        (ScheduleSpec(kind="cosine", warmup=0.2, floor=0.1), 20, {0: 0.2, 3: 0.8, 4: 1.0, 12: 0.55, 8: QUARTER}),
        (ScheduleSpec(kind="linear", warmup=0.0, floor=0.0), 10, {0: 1.0, 5: 0.5, 9: 0.1}),
        (ScheduleSpec(kind="linear", warmup=0.1, floor=0.5), 10, {0: 0.5, 1: 1.0, 4: 1 - 0.5 * 3 / 9}),
        # the last 2 of 10 steps fall from 1 towards 0
        (ScheduleSpec(kind="wsd", warmup=0.1, floor=0.0, decay=0.2), 10, {0: 0.5, 1: 1.0, 7: 1.0, 8: 1.0, 9: 0.5}),
        (ScheduleSpec(kind="constant", warmup=0.5), 4, {0: 1 / 3, 1: 2 / 3, 2: 1.0, 3: 1.0}),
        (ScheduleSpec(kind="cosine", warmup=0.9), 1, {0: 1.0}),
    ],
)  # fmt: skip
def test_hand_computed_points(spec, steps, points):
    for step, expected in points.items():
        assert rate(spec, step, steps) == pytest.approx(expected, rel=1e-12)


@given(
    kind=st.sampled_from(["cosine", "linear", "wsd", "constant"]),
    warmup=st.floats(0, 0.99),
    floor=st.floats(0, 1),
    decay=st.floats(0, 1),
    steps=st.integers(1, 300),
)
def test_rises_then_never_rises_again_and_stays_in_range(kind, warmup, floor, decay, steps):
    spec = ScheduleSpec(kind=kind, warmup=warmup, floor=floor, decay=decay)
    rates = [rate(spec, step, steps) for step in range(steps)]
    assert all(0 < value <= 1 for value in rates) or floor == 0
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(1.0)
