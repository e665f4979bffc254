"""A time budget: when the learning rate falls, and that it falls on until the time is over."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.base import schema
from textmill.base.errors import RecipeError
from textmill.specs.training import ScheduleSpec, TrainingSpec
from textmill.training import budget
from textmill.training.budget import Course

WSD = ScheduleSpec(kind="wsd", warmup=0.1, decay=0.25, floor=0.0)


def ran(training, seconds):
    """The course and the learning rates of a run whose step n takes seconds(n)."""
    course, spent, lately, rates, made = Course(), 0.0, [], [], 0
    while made < (course.steps or training.steps):
        rates.append(budget.rate(training, course, made))
        spent += seconds(made)
        made += 1
        if made > 1:
            lately = [*lately[1 - budget.LATELY :], seconds(made - 1)]
        course = budget.decided(training, course, made, spent, sum(lately) / max(len(lately), 1))
    return course, rates, spent


def test_a_steady_machine():
    training = TrainingSpec(minutes=10, steps=10**9, schedule=WSD)
    course, rates, spent = ran(training, lambda step: 0.5)
    assert course == Course(expected=1200, falls=900, steps=1200)
    assert spent == 600
    assert rates[: budget.TIMED] == [budget.SLOW] * budget.TIMED
    assert rates[119] == pytest.approx(120 / 121)
    assert rates[120:901] == [1.0] * 781
    assert rates[901:] == pytest.approx([1 - n / 300 for n in range(1, 300)])


def test_slow_steps_show_their_speed_sooner():
    """36 steps of 25 seconds: four at next to no learning rate would be a ninth of the run."""
    training = TrainingSpec(minutes=15, steps=10**9, schedule=WSD)
    course, rates, _ = ran(training, lambda step: 25.0)
    assert course.expected == len(rates) == 36
    assert rates[:5] == pytest.approx([budget.SLOW, budget.SLOW, 3 / 5, 4 / 5, 1.0])


@given(
    st.lists(st.floats(0.01, 5.0), min_size=20, max_size=20),
    st.floats(0.5, 5.0),
    st.floats(0.05, 1.0),
)
def test_whatever_the_machine_does_the_rate_falls_to_the_end(times, minutes, decay):
    training = TrainingSpec(
        minutes=minutes, steps=5000, schedule=ScheduleSpec(kind="wsd", warmup=0.05, decay=decay, floor=0.0)
    )
    course, rates, _ = ran(training, lambda step: times[step * 20 // 400 % 20])
    assert course.falls is not None
    assert course.falls < course.steps == len(rates) <= 5000
    fall = rates[max(course.falls, budget.TIMED) :]
    assert all(0 < later <= earlier for earlier, later in itertools.pairwise(fall)) or len(fall) < 2


def test_a_machine_that_slows_down_still_ends_near_its_time():
    """Twice as slow after five of ten minutes: fewer steps, the same time."""
    training = TrainingSpec(minutes=10, steps=10**9, schedule=WSD)
    course, _, spent = ran(training, lambda step: 0.5 if step < 600 else 1.0)
    assert course.steps < 1000
    assert spent == pytest.approx(600, rel=0.01)


def test_steps_are_the_most_there_are():
    training = TrainingSpec(minutes=1000, steps=100, schedule=WSD)
    course, rates, _ = ran(training, lambda step: 0.1)
    assert course == Course(expected=100, falls=75, steps=100)
    assert len(rates) == 100
    assert rates[-1] == pytest.approx(1 / 25)


def test_a_schedule_that_must_know_its_steps_is_refused():
    with pytest.raises(RecipeError, match=r'kind = "wsd"') as refused:
        schema.read(TrainingSpec, {"minutes": 3}, path="training")
    assert refused.value.where == "training.minutes"
