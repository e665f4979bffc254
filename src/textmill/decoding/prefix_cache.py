"""Reading only what is new: a conversation's next prompt begins with what was read and written before.

Shapes: B rows, T tokens, D features.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from textmill.data.batch import Batch
from textmill.models.model import Generator
from textmill.nn.cache import CacheState
from textmill.nn.state import State
from textmill.specs.model import MixtureSpec, ModelSpec


@dataclass
class _Last:
    """What was read last, where it can be gone on from."""

    state: CacheState | None = None
    ids: list[int] = field(default_factory=list)  # the tokens of the state, in order

    def keep(self, state: State | None, ids: list[int]) -> None:
        kept = bool(ids) and isinstance(state, CacheState) and state.rows == 1
        self.state, self.ids = (state, ids) if kept and isinstance(state, CacheState) else (None, [])


class PrefixCache(Generator[State]):
    """A model that is asked one prompt after another, and keeps what it has read of the last one.

    Of a prompt that stands alone it reads what follows the longest beginning it shares with the tokens read last.
    Logits are those of the whole prompt but for rounding, since matrix products then have other shapes. Models whose
    state cannot be shortened, like recurrent ones, read all of it.
    """

    spec: ModelSpec | MixtureSpec

    def __init__(self, model: Generator) -> None:
        super().__init__()
        self.model, self.spec, self.vocabulary = model, model.spec, model.vocabulary
        self._last = _Last()

    def logits(self, hidden: Tensor) -> Tensor:
        """The model's own."""
        return self.model.logits(hidden)

    @torch.no_grad()
    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, State]:
        """As `Generator.hidden_begin`."""
        last = self._last
        alone = len(batch.inputs) == 1 and batch.source is None and batch.mask is None
        ids = batch.inputs[0].tolist() if alone else []
        same = _shared(ids[:-1], last.ids)  # the last token is read again: what follows it is asked for
        kept = last.state
        last.keep(None, [])  # so that it does not stand beside one that takes its place
        if same and kept is not None:
            ahead = self.model.ahead
            state = kept.truncate(ahead + same).grown(ahead + capacity)
            hidden, state = self.model.hidden_step(batch.inputs[:, same:], state)
            hidden = hidden[:, -1]
        else:
            del kept
            hidden, state = self.model.hidden_begin(batch, capacity)
        last.keep(state, ids)
        return hidden, state

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """As `Generator.hidden_step`."""
        last = self._last
        before = 0
        if last.state is not None and state is last.state:
            before = last.state.length - self.model.ahead
        hidden, state = self.model.hidden_step(tokens, state)
        last.keep(state, [*last.ids[:before], *tokens[0].tolist()] if before else [])
        return hidden, state


def _shared(first: list[int], second: list[int]) -> int:
    """How many ids two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((position for position, (a, b) in pairs if a != b), min(len(first), len(second)))
