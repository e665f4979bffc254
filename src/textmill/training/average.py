"""An exponential moving average of the weights, which is what is then evaluated and published."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from textmill.training.distributed import placed


class WeightAverage:
    """avg ← decay·avg + (1 - decay)·w after every update, of what is trained; starts as the weights themselves."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._average = {name: weight.detach().clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        weights = [weight.detach() for weight in self._weights.values()]
        torch._foreach_lerp_(list(self._average.values()), weights, 1.0 - self.decay)

    def state(self) -> dict[str, Tensor]:
        """The average by parameter name."""
        return dict(self._average)

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a saved average (whole tensors; a sharded parameter keeps its own shard of them)."""
        self._average = {name: placed(tensors[name], weight) for name, weight in self._weights.items()}

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the model's weights are the average; afterwards they are what they were."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, weight in self._weights.items():
            kept = weight.detach().clone()
            weight.copy_(self._average[name])
            self._average[name].copy_(kept)
