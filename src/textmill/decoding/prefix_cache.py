"""Reading only what is new: a conversation's next prompt begins with what was read and written before.

Shapes: V vocabulary.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from textmill.data.batch import Batch
from textmill.nn.cache import CacheState


class Recall(nn.Module):
    """A model that is asked one prompt after another, and keeps what it has read of the last one.

    A Generator (DESIGN §4) for `decoding.generate`: of a prompt that stands alone it reads what follows the longest
    beginning it shares with the tokens read last. Logits are those of the whole prompt but for rounding, since matrix
    products then have other shapes. Models whose state cannot be shortened, like recurrent ones, read all of it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.spec = self.model.spec
        self._state: CacheState | None = None
        self._read: list[int] = []  # the tokens of the state, in order

    def begin(self, batch: Batch, capacity: int) -> tuple[Tensor, Any]:
        """Read a prompt: logits (1, V) after its last token, and the state. Others as the model's own."""
        alone = len(batch.inputs) == 1 and batch.source is None and batch.mask is None
        ids = batch.inputs[0].tolist() if alone else []
        same = _shared(ids[:-1], self._read)  # the last token is read again: what follows it is asked for
        kept = self._state
        self._keep(None, [])  # so that it does not stand beside one that takes its place
        if same and kept is not None:
            state = kept.truncate(same).grown(capacity)
            hidden, state = self.model.hidden_step(batch.inputs[:, same:], state)
            logits = self.model.logits(hidden[:, -1])
        else:
            del kept
            logits, state = self.model.begin(batch, capacity)
        self._keep(state, ids)
        return logits, state

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As the model's own."""
        kept = self._state
        before = kept.length if kept is not None and state is kept else 0
        logits, state = self.model.step(tokens, state)
        self._keep(state, [*self._read[:before], *tokens[0].tolist()] if before else [])
        return logits, state

    def _keep(self, state: Any, ids: list[int]) -> None:
        kept = bool(ids) and isinstance(state, CacheState) and state.rows == 1
        self._state, self._read = (state, ids) if kept else (None, [])


def _shared(first: list[int], second: list[int]) -> int:
    """How many ids two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))
