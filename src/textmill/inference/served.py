"""A model made ready to be served, and what is seen of it before: what its states cost, and whether its answers are the
same to the byte whatever else is answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from textmill.data.batch import Batch
from textmill.decoding.layout import serving
from textmill.models import adapters
from textmill.models.model import Generator
from textmill.models.pretrained import Pretrained
from textmill.nn.cache import CacheState
from textmill.nn.state import State

_SIZES = (2, 3, 5, 8)  # rows together in the test
_DIFFERENT = 3  # of them; the others are the same again in other places of the batch


@dataclass(frozen=True)
class Cost:
    """Bytes of a row's state: so many, and for each token that it may hold, and for each token of its source. grows:
    whether it can be given room as it needs it, instead of all at once."""

    fixed: int = 0
    token: int = 0
    source: int = 0
    grows: bool = False

    def of(self, tokens: int, source: int) -> int:
        """Of a row."""
        return self.fixed + self.token * tokens + self.source * source


@dataclass(frozen=True)
class Served:
    """A model that is served.

    fingerprint    of its weights as numbers
    deterministic  whether it was seen, on this processor, that an answer is the same to the byte whatever else is
                   answered
    model          its layers laid out for many rows that come and go; None of a model that writes nothing
    """

    name: str
    pretrained: Pretrained
    fingerprint: str
    deterministic: bool
    model: Generator | None = None
    cost: Cost = Cost()


def serve(
    name: str, pretrained: Pretrained, weights: str, rows: int, made: dict[tuple[int, torch.Size], nn.Module]
) -> Served:
    """A model ready to be served to so many rows at once. weights, made: as in `decoding.layout.serving`."""
    fingerprint = adapters.weights_id(pretrained.model)[:16]
    if not pretrained.writes:
        return Served(name, pretrained, fingerprint, True)
    model = serving(pretrained.model, weights, rows=rows, made=made)
    assert isinstance(model, Generator)
    with torch.inference_mode():
        same = rows == 1 or alike(model, rows, reads_source=pretrained.reads_source)
        cost = _cost(model, pretrained.reads_source)
    return Served(name, pretrained, fingerprint, same, model, cost)


def alike(model: Generator, rows: int, *, reads_source: bool = False) -> bool:
    """Whether each row gets, to the bit, the logits it gets alone: prompts of several lengths, read alone and then gone
    on with in batches of several sizes. What is rounded otherwise shows in nearly all logits, so a few tokens tell."""
    draw = torch.Generator().manual_seed(1)
    sizes = sorted({size for size in (*_SIZES, rows) if size <= rows})

    def ids(length: int) -> Tensor:
        return torch.randint(0, model.vocabulary, (1, length), generator=draw)

    states = []
    for row in range(_DIFFERENT):
        prompt = ids(3 + 2 * row)
        source = ids(4 + row) if reads_source else None
        states.append(model.hidden_begin(Batch(prompt, prompt, source=source), prompt.shape[1] + 1)[1])
    tokens, only = ids(_DIFFERENT)[0], torch.tensor([0])

    def step(chosen: Sequence[int]) -> Tensor:
        return model.step_apart(tokens[list(chosen)], [states[row].reorder(only) for row in chosen])[0]

    alone = torch.cat([step([row]) for row in range(_DIFFERENT)])
    for size in sizes:
        chosen = [(size + place) % _DIFFERENT for place in range(size)]
        if not torch.equal(step(chosen), alone[chosen]):
            return False
    return True


def _cost(model: Generator, reads_source: bool) -> Cost:
    def state(tokens: int, source: int) -> State:
        ids = torch.zeros(1, 1, dtype=torch.int64)
        read = ids.expand(1, source) if reads_source else None
        return model.hidden_begin(Batch(ids, ids, source=read), tokens)[1]

    one = state(1, 1)
    size = bytes_of(one)
    token = bytes_of(state(2, 1)) - size
    source = bytes_of(state(1, 2)) - size if reads_source else 0
    return Cost(size - token - source, token, source, isinstance(one, CacheState))


def bytes_of(state: Any) -> int:
    """Bytes of all tensors of a state."""
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, (list, tuple)):
        return sum(bytes_of(part) for part in state)
    if dataclasses.is_dataclass(state):
        return sum(bytes_of(getattr(state, field.name)) for field in dataclasses.fields(state))
    return 0
