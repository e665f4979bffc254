"""Learning-rate schedules: a share of the peak learning rate, as a pure function of the step."""

from __future__ import annotations

import math

from textmill.specs.training import ScheduleSpec


def warmup_steps(spec: ScheduleSpec, steps: int) -> int:
    """Steps of the warm-up: a share of all steps, rounded, but never all of them."""
    return min(round(spec.warmup * steps), steps - 1)


def rate(spec: ScheduleSpec, step: int, steps: int) -> float:
    """The share of the peak learning rate that step `step` (0 <= step < steps) of `steps` uses.

    Warm-up: (step + 1) / (w + 1) in the first w steps, so that no step is made with a learning rate of zero. After it,
    with x = (step - w) / (steps - w) running from 0 towards 1:

    - cosine    floor + (1 - floor) · (1 + cos πx) / 2                  (Loshchilov & Hutter 2017, eq. 5)
    - linear    1 - (1 - floor) · x
    - wsd       1, then over the last `decay` share of all steps linearly to the floor (Hu et al. 2024, eq. 1)
    - constant  1

    A schedule that falls reaches its floor with the step after the last one.
    Example: `rate(ScheduleSpec(kind="linear", warmup=0, floor=0), 5, 10)` is 0.5.
    """
    warm = warmup_steps(spec, steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    fall = 1.0 - spec.floor
    x = min((step - warm) / (steps - warm), 1.0)
    if spec.kind == "cosine":
        return spec.floor + fall * 0.5 * (1.0 + math.cos(math.pi * x))
    if spec.kind == "linear":
        return 1.0 - fall * x
    if spec.kind == "wsd":
        falling = min(max(round(spec.decay * steps), 1), steps - warm)
        return stable(spec, step, warm, steps - falling, steps)
    return 1.0


def stable(spec: ScheduleSpec, step: int, warm: int, falls: int | None, steps: int | None) -> float:
    """The share of wsd: `warm` steps of warm-up, then 1, and from step `falls` on linearly to the floor, reached at
    `steps`. None: that is not known yet."""
    if step < warm:
        return (step + 1) / (warm + 1)
    if falls is None or steps is None:
        return 1.0
    return 1.0 - (1.0 - spec.floor) * min(max(0.0, (step - falls) / (steps - falls)), 1.0)
