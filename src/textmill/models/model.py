"""What a model is to everybody else: logits of a batch, never a loss; and for those that write, step by step.

    hidden = model.hidden(batch)                      # (B, T, D)
    logits = model.logits(hidden)                     # (B, T, V)

    logits, state = model.begin(prompts, capacity)    # (B, V), after each row's last token
    logits, state = model.step(tokens, state)         # tokens (B, n) -> (B, n, V)

Shapes: B rows, T positions, n tokens, N positions in one row, S source tokens, D features, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.nn.state import State
from textmill.specs.model import MixtureSpec, ModelSpec

S = TypeVar("S", bound=State)


class Model(nn.Module):
    """Batch -> logits, in two halves, so that whoever wants few logits, or none, need not make them all.

    `gathered` names the methods beside `forward` that read weights: what shards a model gathers them there.
    """

    vocabulary: int
    if TYPE_CHECKING:  # an attribute of each family, which may say more of its own

        @property
        def spec(self) -> ModelSpec | MixtureSpec: ...

    gathered: ClassVar[tuple[str, ...]] = ("hidden", "logits")

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, T, V) at each of `batch.inputs`."""
        return self.logits(self.hidden(batch))

    def hidden(self, batch: Batch) -> Tensor:
        """What the output layer reads, (B, T, D)."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, V)."""
        raise NotImplementedError

    @property
    def hidden_width(self) -> int:
        """Numbers `hidden` gives for a position, D."""
        raise NotImplementedError

    @property
    def bare(self) -> bool:
        """Whether it is its body alone: it has states, and no logits."""
        return False

    def factors(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """hidden (B, T, D) and a matrix (V, D), where logits are nothing but hidden · matrixᵀ: a loss may then make
        that product itself. None elsewhere."""
        return None

    def all_blocks(self) -> list[nn.Module]:
        """The blocks, for who compiles or shards a model block by block; empty where it is all one piece."""
        return []


Form = Callable[[Model], Model]  # the modules of a model again, some swapped


def as_it_is(model: Model) -> Model:
    """The `Form` that changes nothing."""
    return model


class Generator(Model, Generic[S]):
    """A model that writes: it reads prompts once, and then goes on from a state."""

    @property
    def ahead(self) -> int:
        """Columns of a state that stand before the first token of a prompt: those of a soft prompt, say."""
        return 0

    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, S]:
        """Read the prompts `batch.inputs` (B, T): what the output layer reads after each one's last token, (B, D),
        and the state.

        capacity: tokens a row may hold in all, padding included. `batch.mask` may mark padding on either side.
        Raises TextmillError where T does not fit into it, or into the positions of the model.
        """
        raise NotImplementedError

    def hidden_step(self, tokens: Tensor, state: S) -> tuple[Tensor, S]:
        """Read `tokens` (B, n) after what `state` holds: what the output layer reads, (B, n, D), and the state."""
        raise NotImplementedError

    @torch.no_grad()
    def begin(self, batch: Batch, capacity: int) -> tuple[Tensor, S]:
        """`hidden_begin`, and the logits (B, V) of it."""
        hidden, state = self.hidden_begin(batch, capacity)
        return self.logits(hidden), state

    @torch.no_grad()
    def step(self, tokens: Tensor, state: S) -> tuple[Tensor, S]:
        """`hidden_step`, and the logits (B, n, V) of it.

        The old state must not be used again: it may have been written over. Raises TextmillError when the capacity it
        began with is used up.
        """
        hidden, state = self.hidden_step(tokens, state)
        return self.logits(hidden), state

    @torch.no_grad()
    def step_apart(self, tokens: Tensor, states: Sequence[S]) -> tuple[Tensor, list[S]]:
        """Read the next token (B,) of rows that each have a state of their own, so that they come and go as they like:
        logits (B, V), and their states. The old ones must not be used again.

        Here one row after the other, each as if it were alone; models of large matrices read those once for all.
        """
        read = [self.step(tokens[row, None, None], state) for row, state in enumerate(states)]
        return torch.cat([logits[:, -1] for logits, _ in read]), [state for _, state in read]


class TokenScorer(Generator[S]):
    """A model that knows what one token costs without working out all others.

    Its `hidden` are not vectors to compare, but whatever its own methods read: places in tables.
    """

    def log_probs(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Log probabilities (N,) of one token after each position (N, D)."""
        raise NotImplementedError


class SourceReader(Generator[S]):
    """A model that reads a source, `batch.source` (B, S), and writes a target."""

    def encode(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """What the encoder makes of ids (B, S), source_mask (B, S) bool: (B, S, D or W)."""
        raise NotImplementedError


def source_of(batch: Batch) -> Tensor:
    """(B, S): the source. Raises TextmillError where the batch has none."""
    if batch.source is None:
        raise TextmillError("the batch has no source", advice="this model reads a source and writes a target")
    return batch.source


def left_padded(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Tokens (B, T) and mask, each row's padding moved to its left, so that all rows end together; None: no padding."""
    inputs, real = batch.inputs, batch.mask
    if real is None or bool(real.all()):
        return inputs, None
    order = real.long().argsort(dim=1, stable=True)
    return inputs.gather(1, order), real.gather(1, order)
