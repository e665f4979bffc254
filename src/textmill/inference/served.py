"""A model made ready to be served, and what is seen of it before: what its states cost, and whether its answers are the
same to the byte whatever else is answered."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from textmill import __version__
from textmill.base import machine
from textmill.data.batch import Batch
from textmill.decoding.layout import Made, serving
from textmill.models.joined import joined
from textmill.models.model import Generator
from textmill.models.pretrained import Pretrained
from textmill.nn import mode
from textmill.nn.cache import CacheState
from textmill.nn.low_rank import LowRankLinear
from textmill.nn.shared import shared
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
class Given:
    """A model to be served, and the id of its weights (`models.adapters`)."""

    pretrained: Pretrained
    weights: str


@dataclass(frozen=True, eq=False)
class Company:
    """Models over one base, whose rows make their steps together."""

    names: tuple[str, ...]
    model: Generator

    def step(
        self, rows: Sequence[int], tokens: Tensor, states: Sequence[State]
    ) -> tuple[Tensor, list[State]]:
        """As `Generator.step_apart`, of so many rows of each model, one model after the other."""
        with mode.computing(rows=tuple(rows), between=None):
            return self.model.step_apart(tokens, states)


@dataclass(frozen=True, eq=False)
class Served:
    """A model that is served.

    fingerprint    of its weights as numbers
    deterministic  whether it was seen, on this processor, that an answer is the same to the byte whatever else is
                   answered
    model          its layers laid out for many rows that come and go; None of a model that writes nothing
    company        who its rows make their steps with
    without        all of it but its weights
    there          whether its weights are in memory; else `pretrained` is that
    """

    name: str
    pretrained: Pretrained
    fingerprint: str
    deterministic: bool
    without: Pretrained
    model: Generator | None = None
    company: Company | None = None
    cost: Cost = Cost()
    there: bool = True

    def let_go(self) -> Served:
        """The same without its weights."""
        return replace(self, pretrained=self.without, model=None, company=None, there=False)


# What was found out before: (about what, under which facts, how it is found out) -> what is found, plain data.
Known = Callable[[str, Any, Callable[[], Any]], Any]


def serve(
    given: Mapping[str, Given], weights: str, rows: int, *, spend: bool, known: Known
) -> dict[str, Served]:
    """Models that are read together, ready to be served to so many rows at once. weights, spend: as in
    `decoding.layout.serving`; what is spent is used in the layout that is served, by tasks as well."""
    made: Made = {}
    served = [_serve(name, one, weights, rows, made, spend, known) for name, one in given.items()]
    return {one.name: one for one in _in_company(served)}


def _in_company(served: Sequence[Served]) -> Iterator[Served]:
    """The same, those that write beside all others over their base."""
    left = [one for one in served if one.model is not None]
    yield from (one for one in served if one.model is None)
    while left:
        first = left[0]
        some = [one for one in left if one is first or joined([_model(first), _model(one)]) is not None]
        model = joined([_model(one) for one in some])
        company = Company(tuple(one.name for one in some), _model(first) if model is None else model)
        yield from (replace(one, company=company) for one in some)
        left = [one for one in left if one not in some]


def _model(served: Served) -> Generator:
    assert served.model is not None
    return served.model


def _weightless(pretrained: Pretrained) -> Pretrained:
    """The same without its weights."""
    model = shared(pretrained.model)
    for module in model.modules():
        if isinstance(module, LowRankLinear):
            module._frozen = ()  # type: ignore[assignment]
    return replace(pretrained, model=model.to("meta"), adapter=None)


def _serve(
    name: str,
    given: Given,
    weights: str,
    rows: int,
    made: Made,
    spend: bool,
    known: Known,
) -> Served:
    pretrained, fingerprint = given.pretrained, given.weights[:16]
    without = _weightless(pretrained)
    if not pretrained.writes:
        return Served(name, pretrained, fingerprint, True, without)
    model = serving(pretrained.model, weights, rows=rows, made=made, spend=spend)
    assert isinstance(model, Generator)

    def look() -> dict[str, Any]:
        with torch.inference_mode():
            same = rows == 1 or alike(model, rows, reads_source=pretrained.reads_source)
            return {"deterministic": same, "cost": asdict(_cost(model, pretrained.reads_source))}

    seen = known(f"serving:{given.weights}:{rows}:{weights}", _products(), look)
    if spend:
        pretrained = replace(pretrained, model=model, adapter=None)
    cost = Cost(**seen["cost"])
    return Served(name, pretrained, fingerprint, seen["deterministic"], without, model, cost=cost)


def _products() -> dict[str, Any]:
    """What decides to which bits a product is rounded, beside the model."""
    named = ("ATEN_", "DNNL_", "KMP_", "MKL_", "OMP_", "ONEDNN_")
    return {
        "textmill": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": machine.processor(),
        "settings": {name: value for name, value in sorted(os.environ.items()) if name.startswith(named)},
    }


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
