"""Vectors of n-grams of tokens, found by their hash: the first block already reads what stands side by side
(fastText: Joulin et al. 2017; Byte Latent Transformer: Pagnoni et al. 2024, section 3.2.1).

Shapes: B sequences, T tokens, R rows of the table, D features.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A polynomial of the ids, and then a line, modulo a prime (Carter & Wegman 1979): no product leaves 63 bits.
_PRIME, _BASE, _FACTOR = 2**31 - 1, 1_540_483_477, 1_812_433_253


class NGramEmbedding(nn.Module):
    """The sum of the vectors of the n-grams that end in each token, those of all orders in one table of R rows.

    An n-gram is of one text: where fewer than n of its tokens are there, it has no vector. Two n-grams may share a row.
    """

    def __init__(self, orders: tuple[int, ...], rows: int, width: int) -> None:
        super().__init__()
        self.orders, self.weight = orders, nn.Parameter(torch.zeros(rows, width))

    def forward(self, ids: Tensor, real: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """ids (B, T), real (B, T) bool, False at padding, documents (B, T), equal within a text -> (B, T, D)."""
        total = self.weight.new_zeros(())
        for rows, there in hashed(ids, self.orders, len(self.weight), real, documents):
            total = total + F.embedding(rows, self.weight) * there[..., None].to(self.weight.dtype)
        return total


def hashed(
    ids: Tensor, orders: tuple[int, ...], rows: int, real: Tensor | None, documents: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each order: (B, T) the row of the n-gram that ends in each token, and (B, T) bool whether there is one."""
    key, there = torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool) if real is None else real
    whole = there
    for back in range(max(orders)):
        key = torch.remainder(key * _BASE + _earlier(ids, back) + 1, _PRIME)
        whole = whole & _earlier(there, back)
        if documents is not None:
            whole = whole & (_earlier(documents, back) == documents)
        if back + 1 in orders:
            yield torch.remainder(torch.remainder((key + back) * _FACTOR, _PRIME), rows), whole


def _earlier(values: Tensor, by: int) -> Tensor:
    """(B, T): what stands so many places before; zero, or False, where there is no such place."""
    return torch.cat((torch.zeros_like(values[:, :by]), values[:, : values.shape[1] - by]), dim=1)
