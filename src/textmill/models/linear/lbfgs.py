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
_PAIRS = 10  # steps that are remembered
_LAST = 2 * _PAIRS
_STRETCH = 1 << 12


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

    point = start
    height, slope = value(point)
    memory, heights = _Memory(gradient(point, slope)), deque([height], maxlen=_LATELY + 1)
    for _ in range(iterations):
        if memory.steepness <= 0:  # as far as float32 can tell
            break
        direction, fall = memory.direction()
        if fall >= 0:
            memory.forget()
            direction, fall = memory.direction()
        step = 1.0 if memory.pairs else _first_step(value, point, direction, height)
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
        memory.add(direction, step, gradient(point, slope))
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


class _Memory:
    """The last steps s, how the gradient changed over each, y, and the gradient g: one under the other, (2 · 10 + 1,
    (N + 1) · K), own and image. With their inner products known, L-BFGS works out a direction as so much of each, and
    reads the vectors once (Chen et al. 2014, "Large-scale L-BFGS using MapReduce", algorithm 3)."""

    def __init__(self, gradient: Vector) -> None:
        self._shape = gradient.own.shape
        self._own, self._image = (torch.zeros(2 * _PAIRS + 1, gradient.own.numel()) for _ in range(2))
        self._inner = torch.zeros(2 * _PAIRS + 1, 2 * _PAIRS + 1, dtype=torch.float64)
        self.pairs: deque[int] = deque()  # rows of s, the oldest first; those of y stand _PAIRS below
        self._put(_LAST, gradient)
        self._multiply([_LAST])

    @property
    def steepness(self) -> float:
        """g · g."""
        return float(self._inner[_LAST, _LAST])

    def direction(self) -> tuple[Vector, float]:
        """Minus the gradient, through the inverse of the curvature that is remembered; and its product with g."""
        inner, much, shares = self._inner, torch.zeros(len(self._inner), dtype=torch.float64), []
        much[_LAST] = -1.0
        for row in reversed(self.pairs):
            shares.append(inner[row] @ much / inner[row, row + _PAIRS])
            much[row + _PAIRS] -= shares[-1]
        if self.pairs:
            row = self.pairs[-1]
            much *= inner[row, row + _PAIRS] / inner[row + _PAIRS, row + _PAIRS]
        for row in self.pairs:
            much[row] += shares.pop() - inner[row + _PAIRS] @ much / inner[row, row + _PAIRS]
        narrow = much.float()
        made = Vector(*((narrow @ whole).view(self._shape) for whole in (self._own, self._image)))
        return made, float(inner[_LAST] @ much)

    def add(self, direction: Vector, step: float, gradient: Vector) -> None:
        """A step was taken, and this is the gradient where it led."""
        free = set(range(_PAIRS)).difference(self.pairs)
        row = min(free) if free else self.pairs.popleft()
        self._put(row, direction.times(step))
        for whole, new in ((self._own, gradient.own), (self._image, gradient.image)):
            torch.sub(new.flatten(), whole[_LAST], out=whole[row + _PAIRS])
        self._put(_LAST, gradient)
        self._multiply([row, row + _PAIRS, _LAST])
        if self._inner[row, row + _PAIRS] > 0 and self._inner[row + _PAIRS, row + _PAIRS] > 0:
            self.pairs.append(row)

    def forget(self) -> None:
        """All but the gradient."""
        self.pairs.clear()

    def _put(self, row: int, vector: Vector) -> None:
        self._own[row], self._image[row] = vector.own.flatten(), vector.image.flatten()

    def _multiply(self, rows: list[int]) -> None:
        """Inner products of these rows with all, summed in float64 over stretches that stay in a cache."""
        made = torch.zeros(len(rows), len(self._inner), dtype=torch.float64)
        for own, image in zip(self._own.split(_STRETCH, 1), self._image.split(_STRETCH, 1), strict=True):
            made += own[rows] @ image.T
        self._inner[rows], self._inner[:, rows] = made, made.T
