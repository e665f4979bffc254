"""The low-rank additions of a model by the layers of a format, whose matrices are fused otherwise than ours.

Shapes: R rank, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.models import adapters
from textmill.models.adapters import Site
from textmill.models.model import Model
from textmill.nn.linear import rows_of
from textmill.nn.low_rank import WHOLE, LowRank, LowRankEmbedding, LowRankLinear


@dataclass
class Published:
    """A low-rank addition to one published layer: scale · b a."""

    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None
    embedding: bool = False

    @property
    def rank(self) -> int:
        return self.a.shape[0]


def published(model: Model, modules: Mapping[str, list[Site]]) -> dict[str, Published]:
    """A model's additions by the published layers they belong to.

    An addition to a fused matrix that is published apart is one to each, with the same a; additions to sections of one
    that is published fused are one whose a are stacked, and whose b has each in its own rows and columns.
    """
    lows = dict(adapters.additions_of(model))
    found: dict[str, Published] = {}
    for name, held in modules.items():
        here = [site for site in held if site in lows]
        if not here:
            continue
        module = model.get_submodule(here[0].path)
        assert isinstance(module, adapters.ADAPTED)
        low, sections = lows[here[0]], [site.section for site in held if site.section != WHOLE]
        if here[0].section != WHOLE and len(sections) > 1:
            found[name] = _stacked(module, {site.section: lows[site] for site in here})
            continue
        apart = here[0].section == WHOLE and len(sections) == 1
        rows = slice(None)
        if apart and isinstance(module, LowRankLinear):
            rows = rows_of(module.sections, sections[0])
        magnitude = None if low.magnitude is None else low.magnitude[rows]
        embedding = isinstance(module, LowRankEmbedding)
        found[name] = Published(low.a, low.b[rows], low.scale, magnitude, embedding)
    return found


def _stacked(module: nn.Module, lows: Mapping[str, LowRank]) -> Published:
    assert isinstance(module, LowRankLinear)
    scale = next(iter(lows.values())).scale
    b = torch.zeros(module.out_features, sum(low.a.shape[0] for low in lows.values()))
    column = 0
    for section, low in lows.items():
        columns = slice(column, column + low.a.shape[0])
        b[module.rows[section], columns] = low.b.detach() * (low.scale / scale)
        column = columns.stop
    magnitudes: list[Tensor] = [low.magnitude for low in lows.values() if low.magnitude is not None]
    if magnitudes and sum(map(len, magnitudes)) != module.out_features:
        raise TextmillError(
            "has magnitudes (DoRA) for some sections of a matrix that is published whole, which PEFT cannot say",
            advice="give all of q, k and v an addition, or none",
        )
    a = torch.cat([low.a for low in lows.values()])
    return Published(a, b, scale, torch.cat(magnitudes) if magnitudes else None)
