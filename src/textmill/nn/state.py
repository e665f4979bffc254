"""What a model remembers of the rows it has read, as decoding sees it."""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

from torch import Tensor


class State(Protocol):
    """One entry for each row that is written; rows may change places, be left out and be doubled between steps."""

    def reorder(self, rows: Tensor) -> Self:
        """The state whose row i is row rows[i] of this one, rows (n,) int64. This state is left as it was."""
        ...

    def rearrange(self, rows: Tensor) -> Self:
        """The same for as many rows as there are. This state must not be used again: it may have been written over."""
        return self.reorder(rows)


@runtime_checkable
class Rewindable(State, Protocol):
    """A state that can forget the tokens read last, so that more than one may be tried."""

    length: int  # tokens a row holds

    def truncate(self, length: int) -> Self:
        """The state after its first `length` tokens only. This state must not be used again."""
        ...
