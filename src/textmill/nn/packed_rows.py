"""An embedding as the packed bytes its file has of it: rows are unpacked when they are looked up.

Where a matrix is laid out for products, and was the embedding as well, its rows would have to stand there a second time
to be looked up: a sixth of a small model, and most of one with a large vocabulary. Packed they take an eighth to a half
of that, and give the same numbers to the bit.

Shapes: V ids, D features, P bytes of a packed row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


class PackedRows(nn.Module):
    """Rows by their ids: (…) -> (…, D)."""

    def __init__(self, packed: np.ndarray, width: int, unpack: Callable[[np.ndarray], Tensor]) -> None:
        """packed: (V, P) uint8, which may be mapped; unpack: of some of these rows (n, P) the numbers (n, D)."""
        super().__init__()
        self.num_embeddings, self.embedding_dim = len(packed), width
        self._packed, self._unpack = packed, unpack

    def keep(self) -> PackedRows:
        """This one, with bytes of its own in memory: a mapped file might change."""
        if not self._packed.flags.owndata:
            self._packed = np.array(self._packed)
        return self

    def forward(self, ids: Tensor) -> Tensor:
        flat = ids.reshape(-1)
        if not len(flat):
            return torch.empty(*ids.shape, self.embedding_dim)
        return self._unpack(self._packed[flat.numpy()]).view(*ids.shape, self.embedding_dim)


class PackedEmbedding(nn.Embedding):
    """An embedding that knows what its matrix was unpacked from, so that it may be let go of."""

    def __init__(self, weight: Tensor, rows: PackedRows) -> None:
        """weight: the matrix (V, D) of the embedding in whose place this stands."""
        super().__init__(rows.num_embeddings, rows.embedding_dim, _weight=weight)
        self.weight.requires_grad_(weight.requires_grad)
        self._rows = (rows,)  # no module below this one

    @property
    def rows(self) -> PackedRows:
        """The same without a matrix."""
        return self._rows[0]
