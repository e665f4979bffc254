"""A batch: what one step of training, scoring or generating reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

IGNORE = -100  # a target that bears no loss; the value PyTorch's cross-entropy passes over by default


@dataclass(frozen=True, eq=False)
class Batch:
    """Token ids and everything needed to score them.

    B rows, T positions, S positions on the encoder side.

    inputs       (B, T) int64
    targets      (B, T) or (B,) int64; `IGNORE` bears no loss. Several labels at once, or numbers: (B, C) float32,
                 NaN bears no loss. Spans: (B, 2) int64, first and last token
    mask         (B, T) bool, True = real token; None: every token is real
    documents    (B, T) int64, which packed document a token belongs to: attention stays inside it.
                 None: attention is bounded by the row only
    source       (B, S) int64, encoder side
    source_mask  (B, S) bool, as `mask`
    segments     (B, T) int64, which segment of its row a token belongs to (encoders)
    labels       (B,) int64, a label of the whole row beside its targets: 0, the second segment follows the first, or 1;
                 of an answer, 1 where it is a good one, or 0
    candidates   (B, T) bool, tokens of which something may be said: the first of each word, the text an answer is in.
                 It is no target: who tags or answers new text knows it too. None: every real token
    reference    (B, 2) float64, log-probability of each of a row's two texts under the model the run began as
    baseline     (B,) float64, in every row the same: a mean over all rows of the update, of all ranks

    Groups of texts that are compared with each other, B of them: inputs and mask (B, K, T), K texts of a group, the G
    queries first; targets (B, G) int64, which of the other texts belongs to each query; candidates (B, G, K - G) bool,
    which of them it is compared with.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None
    documents: Tensor | None = None
    source: Tensor | None = None
    source_mask: Tensor | None = None
    segments: Tensor | None = None
    labels: Tensor | None = None
    candidates: Tensor | None = None
    reference: Tensor | None = None
    baseline: Tensor | None = None

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if value is not None})

    def rows(self, start: int, stop: int) -> Batch:
        """Rows start <= r < stop, as views: a micro-batch, or one rank's share."""
        return self._map(lambda tensor: tensor[start:stop])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def __len__(self) -> int:
        """Number of rows, B."""
        return self.inputs.shape[0]
