"""Vectors of n-grams of tokens, found by their hash: the first block already reads what stands side by side
(fastText: Joulin et al. 2017; Byte Latent Transformer: Pagnoni et al. 2024, section 3.2.1).

Shapes: B sequences, T tokens, R rows of the table, D features.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A polynomial of the ids, and then a line, modulo a prime (Carter & Wegman 1979): no product leaves 63 bits. Lines of
# different slopes for different places, so that n-grams that share a row in one place are apart in the others.
_PRIME, _BASE, _FACTOR, _STEP = 2**31 - 1, 1_540_483_477, 1_812_433_253, 20_149_457


class NGramEmbedding(nn.Module):
    """The sum of the vectors of the n-grams of each token, those of all orders in one table of R rows: of the n-grams
    that end in it or, with `around`, of all that hold it, n of each order, told apart by its place in them.

    An n-gram is of one text: where fewer than n of its tokens are there, it has no vector. Two n-grams may share a row.
    """

    def __init__(self, orders: tuple[int, ...], rows: int, width: int, *, around: bool = False) -> None:
        super().__init__()
        self.orders, self.around = orders, around
        self.weight = nn.Parameter(torch.zeros(rows, width))

    def forward(self, ids: Tensor, real: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """ids (B, T), real (B, T) bool, False at padding, documents (B, T), equal within a text -> (B, T, D)."""
        found = hashed(ids, self.orders, len(self.weight), real, documents, around=self.around)
        rows, there = (torch.stack(each, dim=-1) for each in zip(*found, strict=True))
        # Summed at once: n-gram by n-gram, each would have a gradient as large as the table.
        weights = there.flatten(0, 1).to(self.weight.dtype)
        summed = F.embedding_bag(rows.flatten(0, 1), self.weight, mode="sum", per_sample_weights=weights)
        return summed.unflatten(0, ids.shape)


def hashed(
    ids: Tensor,
    orders: tuple[int, ...],
    rows: int,
    real: Tensor | None,
    documents: Tensor | None,
    *,
    around: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each order: (B, T) the row of the n-gram that ends in each token, and (B, T) bool whether there is one; with
    `around`, after it those of the n-grams that end one token later, two, and so on, as long as they hold the token."""
    key, there = torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool) if real is None else real
    whole = there
    for back in range(max(orders)):
        key = torch.remainder(key * _BASE + _shifted(ids, back) + 1, _PRIME)
        whole = whole & _shifted(there, back)
        if documents is not None:
            whole = whole & (_shifted(documents, back) == documents)
        if back + 1 in orders:
            for ahead in range(back + 1 if around else 1):
                row = torch.remainder((key + back) * (_FACTOR + ahead * _STEP), _PRIME)
                yield torch.remainder(_shifted(row, -ahead), rows), _shifted(whole, -ahead)


def _shifted(values: Tensor, by: int) -> Tensor:
    """(B, T): what stands so many places before, or after where it is negative; zero, or False, where nothing does."""
    beyond = values.new_zeros(len(values), abs(by))
    if by >= 0:
        return torch.cat((beyond, values), dim=1)[:, : values.shape[1]]
    return torch.cat((values, beyond), dim=1)[:, -by:]
