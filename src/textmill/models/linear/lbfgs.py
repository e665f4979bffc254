"""Limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.5), for smooth convex functions of many numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

Value = Callable[[Tensor], tuple[float, Tensor]]  # a point -> the function's value and gradient there
_SUFFICIENT, _SHRINK, _TRIES = 1e-4, 0.5, 25


def minimise(
    function: Value, start: Tensor, *, tolerance: float = 1e-3, iterations: int = 200, history: int = 10
) -> Tensor:
    """The point where a function is least, from `start` on (left as it is), as a fixed sequence of operations.

    Ends when the gradient's norm is at most `tolerance` times that at 0, or so many iterations are made, or no
    step goes down any more. Steps are halved until the value falls enough (Armijo); one that would bend the wrong way
    is not remembered.
    """
    point = start.clone()
    least = tolerance * float(function(torch.zeros_like(start))[1].norm())
    value, gradient = function(point)
    memory: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)
    for _ in range(iterations):
        if float(gradient.norm()) <= least:
            break
        direction = _direction(gradient, memory)
        slope = float((direction * gradient).sum())
        if slope >= 0:
            memory.clear()
            direction, slope = -gradient, -float(gradient.square().sum())
        step = 1.0 if memory else 1.0 / max(1.0, float(gradient.norm()))
        for _ in range(_TRIES):
            moved = point + step * direction
            there, bent = function(moved)
            if there <= value + _SUFFICIENT * step * slope:
                break
            step *= _SHRINK
        else:
            break
        difference = bent - gradient
        curvature = float((difference * direction).sum()) * step
        if curvature > 0:
            memory.append((step * direction, difference, curvature))
        point, value, gradient = moved, there, bent
    return point


def _direction(gradient: Tensor, memory: deque[tuple[Tensor, Tensor, float]]) -> Tensor:
    """Minus the gradient, through the inverse of the curvature that is remembered."""
    direction, shares = -gradient, []
    for moved, difference, curvature in reversed(memory):
        share = float((moved * direction).sum()) / curvature
        direction = direction.sub(difference, alpha=share)
        shares.append(share)
    if memory:
        _, difference, curvature = memory[-1]
        direction *= curvature / float(difference.square().sum())
    for (moved, difference, curvature), share in zip(memory, reversed(shares), strict=True):
        back = float((difference * direction).sum()) / curvature
        direction.add_(moved, alpha=share - back)
    return direction
