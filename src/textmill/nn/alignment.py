"""Attention of a recurrent decoder over what its encoder read: additive, dot and general scores.

Shapes: B sequences, T queries (states of the decoder), S source positions, W features of a state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from textmill.nn.linear import Linear

Score = Literal["additive", "dot", "general"]


@dataclass(frozen=True, slots=True)
class Memory:
    """What an encoder read, and what of it can be worked out once for all queries."""

    values: Tensor  # (B, S, W)
    keys: Tensor  # (B, S, W): U m (additive), W m (general), or the values themselves (dot)
    mask: Tensor | None  # (B, S) bool, True = real; None: all are

    def reorder(self, rows: Tensor) -> Memory:
        """The memory whose row i is row rows[i] of this one."""
        mask = None if self.mask is None else self.mask[rows]
        values = self.values[rows]
        return Memory(values, values if self.keys is self.values else self.keys[rows], mask)


class Alignment(nn.Module):
    """Where a query q looks among the values m of a memory, and the state it leaves with.

    additive  score(q, m) = vᵀ tanh(W q + U m)           Bahdanau et al. 2015, appendix A.1.2
    general   score(q, m) = qᵀ W m                       Luong et al. 2015, equation 8
    dot       score(q, m) = qᵀ m                         the same

    weights = softmax of the scores over real source positions, context c = Σ weight · m, and the attentional state
    is tanh(W_c [c; q]) (Luong et al., equation 5). The query is the decoder's state after it has read its token, as
    Luong has it, for all three.
    """

    def __init__(self, score: Score, width: int) -> None:
        super().__init__()
        additive = score == "additive"
        self.key = None if score == "dot" else Linear(width, width, bias=False)
        self.query = Linear(width, width, bias=False) if additive else None
        self.score = Linear(width, 1, bias=False) if additive else None
        self.combine = Linear(2 * width, width, bias=False)

    def memory(self, values: Tensor, mask: Tensor | None) -> Memory:
        """values (B, S, W), mask (B, S) bool: the memory of them, its keys worked out."""
        return Memory(values, values if self.key is None else self.key(values), mask)

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attentional states (B, T, W) of queries (B, T, W), and the weights (B, T, S)."""
        weights = self.weights(queries, memory)
        context = weights @ memory.values
        return torch.tanh(self.combine(torch.cat([context, queries], dim=-1))), weights

    def weights(self, queries: Tensor, memory: Memory) -> Tensor:
        """How much each query looks at each source position, (B, T, S); zero at padding, rows sum to 1."""
        if self.query is not None and self.score is not None:
            both = torch.tanh(self.query(queries)[:, :, None] + memory.keys[:, None])
            scores = self.score(both).squeeze(-1)
        else:
            scores = queries @ memory.keys.transpose(1, 2)
        if memory.mask is not None:
            # Where a row has no source at all, its values are zeros, and any weights over them will do.
            seen = memory.mask | ~memory.mask.any(1, keepdim=True)
            scores = scores.masked_fill(~seen[:, None], -math.inf)
        return torch.softmax(scores, dim=-1)
