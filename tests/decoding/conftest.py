"""A Generator made by hand, whose logits are a function of all that was read: a table in disguise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from textmill.models.model import TokenScorer
from textmill.nn.state import State
from textmill.specs.model import DecoderSpec


class Told(State):
    """The state: what each row has read."""

    def __init__(self, rows: list[tuple[int, ...]]) -> None:
        self.read = rows
        self.reorders = 0

    def reorder(self, rows: torch.Tensor) -> Told:
        chosen = Told([self.read[row] for row in rows.tolist()])
        chosen.reorders = self.reorders + 1
        return chosen


class Toy(TokenScorer):
    """Logits of the token after a text: numbers drawn with the text (and the source) as the seed."""

    def __init__(self, vocabulary: int, seed: int = 0, scale: float = 2.0, context: int = 64) -> None:
        super().__init__()
        self.vocabulary, self.seed, self.scale = vocabulary, seed, scale
        self.spec = DecoderSpec(context=context)
        self.nothing = nn.Parameter(torch.zeros(1))
        self.rows: list[int] = []

    def after(self, text: tuple[int, ...]) -> torch.Tensor:
        """(V,): the logits after a text."""
        generator = torch.Generator().manual_seed(hash((self.seed, *text)) & 0x7FFFFFFF)
        return torch.randn(self.vocabulary, generator=generator) * self.scale

    def begin(self, batch, capacity):
        real = torch.ones_like(batch.inputs, dtype=torch.bool) if batch.mask is None else batch.mask
        rows = []
        for place in range(len(batch)):
            source = ()
            if batch.source is not None:
                there = ... if batch.source_mask is None else batch.source_mask[place]
                source = (-1, *batch.source[place][there].tolist(), -2)
            rows.append((*source, *batch.inputs[place][real[place]].tolist()))
        return torch.stack([self.after(row) for row in rows]), Told(rows)

    def step(self, tokens, state):
        self.rows.append(len(tokens))
        after = Told([(*row, *more) for row, more in zip(state.read, tokens.tolist(), strict=True)])
        after.reorders = state.reorders
        return torch.stack([self.after(row) for row in after.read])[:, None], after


@pytest.fixture(scope="session")
def toy() -> type[Toy]:
    """The class: toy(vocabulary, seed) makes a model."""
    return Toy
