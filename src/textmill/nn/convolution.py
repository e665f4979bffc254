"""Convolutions over a text: what stands beside each token, read by place (Collobert et al. 2011, section 3.3.2).

Where texts are few, a layer that always reads its neighbours learns from them sooner than attention, which has to
learn first where to look.

Shapes: B sequences, T tokens, D features of a state, W of a layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.nn.linear import Linear


class Convolutions(nn.Module):
    """Layers that each read a token and its two neighbours, W = 2 · D features wide; beside them the states themselves.

    y1 = gelu(A1 [x before, x, x after]),  y2 = y1 + gelu(A2 [y1 before, y1, y1 after]), …;  what is said is [y, x].
    Beyond a text's ends, and where another text stands, neighbours are zeros.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.layers = nn.ModuleList(Linear(3 * (wide if layer else width), wide) for layer in range(layers))
        self.width = wide + width

    def forward(self, states: Tensor, real: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """states (B, T, D), real (B, T) bool, False at padding, documents (B, T), equal within a text -> (B, T, 3D)."""
        before, after = _joined(states, real, documents)
        said: Tensor | None = None
        for layer in self.layers:
            x = states if said is None else said
            beside = F.pad(x, (0, 0, 1, 1))
            made = F.gelu(layer(torch.cat((beside[:, :-2] * before, x, beside[:, 2:] * after), dim=-1)))
            said = made if said is None else said + made
        return states if said is None else torch.cat((said, states), dim=-1)


def _joined(states: Tensor, real: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, T, 1) each, 1 or 0 in the dtype of the states: whether what stands before a token, and after it, is of its
    text."""
    rows, length, _ = states.shape
    pairs = torch.ones(rows, length - 1, dtype=torch.bool, device=states.device)
    if real is not None:
        pairs = pairs & real[:, 1:] & real[:, :-1]
    if documents is not None:
        pairs = pairs & (documents[:, 1:] == documents[:, :-1])
    weights = pairs[..., None].to(states.dtype)
    return F.pad(weights, (0, 0, 1, 0)), F.pad(weights, (0, 0, 0, 1))
