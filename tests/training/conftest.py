"""Small models and batches for the training tests."""

from __future__ import annotations

import pytest
import torch

from textmill.data.batch import IGNORE, Batch
from textmill.models.build import build
from textmill.specs.model import DecoderSpec

VOCABULARY = 37
SPEC = DecoderSpec(d_model=16, layers=2, heads=2, d_ff=32, context=12)


class RandomLoader:
    """Batches of a counting language with noise, a pure function of the step; some targets bear no loss."""

    def __init__(self, rows: int = 8, length: int = 12) -> None:
        self.rows, self.length = rows, length

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        draw = torch.Generator().manual_seed(step)
        ids = torch.randint(0, 3, (self.rows, self.length + 1), generator=draw).cumsum(1) % VOCABULARY
        targets = ids[:, 1:].clone()
        lengths = torch.randint(2, self.length + 1, (self.rows,), generator=draw)
        targets[torch.arange(self.length)[None] >= lengths[:, None]] = IGNORE
        share = self.rows // world
        return Batch(ids[:, :-1], targets).rows(rank * share, (rank + 1) * share)


@pytest.fixture
def make_loader():
    return RandomLoader


@pytest.fixture
def loader() -> RandomLoader:
    return RandomLoader()


@pytest.fixture
def model() -> torch.nn.Module:
    return build(SPEC, VOCABULARY, seed=1, dtype=torch.float64)


@pytest.fixture
def make_model():
    def make(dtype: torch.dtype = torch.float64, **changes) -> torch.nn.Module:
        import dataclasses

        return build(dataclasses.replace(SPEC, **changes), VOCABULARY, seed=1, dtype=dtype)

    return make
