"""Limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.5) for losses of a linear model, in the space of its texts.

The weights that are best under an L2 penalty are a sum of the texts' own vectors, w = Xᵀa (the representer theorem;
Schölkopf et al. 2001), so what is sought is a: one number for each text, not for each n-gram. All that L-BFGS asks of
weights are sums and inner products, and ⟨Xᵀa, Xᵀb⟩ = ⟨a, Kb⟩ where K = XXᵀ: every vector a is carried with its image
Ka, which is also the logits it makes. So steps along a line cost no product with X, and one iteration costs one with X
and one with Xᵀ, whatever the line search does.

Shapes: N texts, K columns of weights. A vector has N + 1 rows; the last is the bias, whose image is itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Loss = Callable[[Tensor], tuple[float, Tensor]]  # logits (N, K) -> the sum of losses, and its gradient (N, K)
Product = Callable[[Tensor], Tensor]  # (N, K) -> K times it
_SUFFICIENT, _SHRINK, _TRIES = 1e-4, 0.5, 25
_LATELY = 3  # steps whose gain decides
_FARTHEST = 1e6


@dataclass(frozen=True, eq=False)
class Vector:
    """A vector (N + 1, K) and its image."""

    own: Tensor
    image: Tensor

    def dot(self, other: Vector) -> float:
        """The inner product of the weights."""
        return float((self.own * other.image).sum(dtype=torch.float64))

    def plus(self, other: Vector, share: float) -> Vector:
        """This and a share of another."""
        return Vector(self.own.add(other.own, alpha=share), self.image.add(other.image, alpha=share))

    def times(self, factor: float) -> Vector:
        """A multiple."""
        return Vector(self.own * factor, self.image * factor)


def minimise(
    loss: Loss, product: Product, penalty: float, start: Vector, *, tolerance: float, iterations: int = 200
) -> Vector:
    """The vector where loss(logits) + penalty/2 · |w|² is least, from `start` on: a fixed sequence of operations.

    Ends when the last few steps together gained at most `tolerance` of the value, after so many iterations, or where no
    step goes down. Steps are halved until the value falls enough (Armijo); the first is doubled while it falls.
    """

    def value(point: Vector) -> tuple[float, Tensor]:
        nats, slope = loss(point.image[:-1] + point.image[-1])
        return nats + penalty / 2 * float((point.own[:-1] * point.image[:-1]).sum()), slope

    def gradient(point: Vector, slope: Tensor) -> Vector:
        bias = slope.sum(0, keepdim=True)
        own = torch.cat([slope + penalty * point.own[:-1], bias])
        return Vector(own, torch.cat([product(slope) + penalty * point.image[:-1], bias]))

    point, memory = start, deque(maxlen=10)
    height, slope = value(point)
    here, heights = gradient(point, slope), deque([height], maxlen=_LATELY + 1)
    for _ in range(iterations):
        if here.dot(here) <= 0:  # as far as float32 can tell
            break
        direction = _direction(here, memory)
        fall = direction.dot(here)
        if fall >= 0:
            memory.clear()
            direction, fall = here.times(-1.0), -here.dot(here)
        step = 1.0 if memory else _first_step(value, point, direction, height)
        for _ in range(_TRIES):
            moved = point.plus(direction, step)
            there, slope = value(moved)
            if there <= height + _SUFFICIENT * step * fall:
                break
            step *= _SHRINK
        else:
            break
        point, height = moved, there
        heights.append(height)
        if len(heights) > _LATELY and heights[0] - height <= tolerance * abs(height):
            break
        ahead = gradient(point, slope)
        difference, taken = ahead.plus(here, -1.0), direction.times(step)
        curvature = taken.dot(difference)
        if curvature > 0 and difference.dot(difference) > 0:
            memory.append((taken, difference, curvature))
        here = ahead
    return point


def _first_step(
    value: Callable[[Vector], tuple[float, Tensor]], point: Vector, direction: Vector, height: float
) -> float:
    """How far to go before anything is known of the curvature: twice as far as long as that falls."""
    step = 1.0 / max(1.0, direction.dot(direction) ** 0.5)
    while (there := value(point.plus(direction, 2 * step))[0]) < height and step < _FARTHEST:
        step, height = 2 * step, there
    return step


def zeros(like: Tensor) -> Vector:
    """Where to begin."""
    return Vector(torch.zeros_like(like), torch.zeros_like(like))


def _direction(gradient: Vector, memory: deque[tuple[Vector, Vector, float]]) -> Vector:
    """Minus the gradient, through the inverse of the curvature that is remembered."""
    direction, shares = gradient.times(-1.0), []
    for taken, difference, curvature in reversed(memory):
        share = taken.dot(direction) / curvature
        direction = direction.plus(difference, -share)
        shares.append(share)
    if memory:
        _, difference, curvature = memory[-1]
        direction = direction.times(curvature / difference.dot(difference))
    for (taken, difference, curvature), share in zip(memory, reversed(shares), strict=True):
        back = difference.dot(direction) / curvature
        direction = direction.plus(taken, share - back)
    return direction
