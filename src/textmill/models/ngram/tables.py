"""Modules that hold tables of numbers which are counted, not trained, and whose lengths only the text decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Tables(nn.Module):
    """Named tables, as parameters that never want a gradient, so that they are saved, moved and cast like weights.

    Those that are loaded take the place of what was there, whatever their length.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.put(name, torch.zeros(0))

    def put(self, name: str, table: Tensor) -> None:
        """Hold a table under this name."""
        setattr(self, name, nn.Parameter(table, requires_grad=False))

    def _load_from_state_dict(  # pyrefly: ignore[bad-override]
        self, state_dict: dict, prefix: str, _metadata: Any, _strict: bool, missing: list, *_: Any
    ) -> None:
        for name in self._parameters:
            if prefix + name in state_dict:
                self.put(name, state_dict[prefix + name])
            else:
                missing.append(prefix + name)


def first_not_under(
    low: Tensor, high: Tensor, wanted: Tensor, read: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """(n,): in each stretch low <= i < high, the first place whose value is not under `wanted`; high if all are.

    read(places, which) gives the values there, rising within a stretch; which: (n,) the numbers of the stretches.
    """
    low, high = low.clone(), high.clone()
    which = torch.arange(len(low), device=low.device)
    for _ in range(int((high - low).max()).bit_length() if len(low) else 0):
        middle = (low + high) // 2
        under = (read(torch.where(low < high, middle, 0), which) < wanted) & (low < high)
        low, high = torch.where(under, middle + 1, low), torch.where(under, high, middle)
    return low


def ragged(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Every place of stretches low <= i < high, one stretch after the other: (which stretch, place)."""
    sizes = high - low
    which = torch.repeat_interleave(torch.arange(len(low), device=low.device), sizes)
    before = torch.cumsum(sizes, 0) - sizes
    return which, torch.arange(len(which), device=low.device) - (before - low)[which]
