"""What every model that writes text token by token has in common.

Shapes: B sequences, n tokens, D features, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Writer:
    """A model with `hidden_step` and `logits`."""

    hidden_step: Any
    logits: Any

    @torch.no_grad()
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read `tokens` (B, n) after what `state` holds: logits (B, n, V), and the state after them.

        The old state must not be used again: it may have been written over. Raises TextmillError when the capacity it
        began with is used up.
        """
        hidden, state = self.hidden_step(tokens, state)
        return self.logits(hidden), state
