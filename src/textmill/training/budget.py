"""A run of so many minutes, not steps: warm-up, a stable learning rate, and a decay that ends with the time.

How many steps there are is known only once the machine has shown its speed, so two decisions are made on the way, each
from the time used so far, and each kept in a checkpoint at once: a run that is resumed goes on with what was decided.

    training.minutes = 10, decay 0.2    the first steps last 0.1 s: some 6,000 are expected, so 2 % of them warm up
                                        after 8 minutes and 4,000 steps: 2 minutes of 0.12 s are 1,000 steps to fall in

Between decisions the learning rate is a function of the step alone. Warm-up, stable, decay: Hu et al. 2024, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from textmill.specs.training import TrainingSpec
from textmill.training import schedule

TIMED = 4  # steps that show the speed: the first, which loads and compiles, does not count
SHOWN = 0.01  # share of the budget after which two steps have shown it: slow ones are too dear to be made for nothing
LATELY = 50  # steps
SLOW = 1e-3  # share of the peak learning rate while they are made


@dataclass(frozen=True)
class Course:
    """What was decided: steps expected, the step from which the learning rate falls, and how many there are at last."""

    expected: int | None = None
    falls: int | None = None
    steps: int | None = None


def decided(training: TrainingSpec, course: Course, made: int, seconds: float, lately: float) -> Course:
    """The course after `made` steps and `seconds`, validation and saving included; the same one while there is nothing
    to decide. `training.steps` is the most there are.

    lately: seconds each of the last steps took. A machine that became slower is believed to stay so, one that became
    quicker is not, so that a run rather ends early.
    """
    assert training.minutes is not None
    budget, most, decay = 60 * training.minutes, training.steps, training.schedule.decay
    expected = course.expected
    if expected is None:
        if made < (TIMED if seconds < SHOWN * budget else 2):
            return course
        expected = min(most, max(made, round(budget / max(lately, 1e-9))))
        course = Course(expected)
    if course.falls is not None or made < schedule.warmup_steps(training.schedule, expected):
        return course
    if seconds < (1 - decay) * budget and made < most - max(1, round(decay * most)):
        return course
    left = round((budget - seconds) / max(seconds / made, lately))
    return Course(expected, made, min(most, made + max(1, left)))


def rate(training: TrainingSpec, course: Course, step: int) -> float:
    """The share of the peak learning rate that step `step`, from 0, uses."""
    if course.expected is None:
        return SLOW
    warm = schedule.warmup_steps(training.schedule, course.expected)
    return schedule.stable(training.schedule, step, warm, course.falls, course.steps)
