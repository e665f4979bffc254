"""Trained vectors before a text: soft prompts (Lester et al. 2021) and prefixes (Li & Liang 2021).

Both are tokens that stand in no vocabulary. A batch gets n of them before each text, and what the model says at them is
left out again. Of a soft prompt they have vectors of their own in the embedding; of a prefix, keys and values of their
own in every layer, and what they are besides reaches nothing.

Shapes: B sequences, T tokens, S tokens of a source, n virtual tokens, D features, K key heads, E features of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE, Batch
from textmill.models.model import Generator, SourceReader, source_of
from textmill.models.output import OutputLayer
from textmill.nn.attention import Attention, Prefix
from textmill.nn.state import State

S = TypeVar("S", bound=State)


class PromptEmbedding(nn.Module):
    """The rows of an embedding, and after its last id those of a soft prompt: (…) -> (…, D)."""

    def __init__(self, base: nn.Module, rows: int, width: int, tokens: int) -> None:
        super().__init__()
        self.base, self.first, self.embedding_dim = base, rows, width
        self.prompt = nn.Parameter(torch.empty(tokens, width))

    def forward(self, ids: Tensor) -> Tensor:
        virtual = ids >= self.first
        vectors = self.base(ids.masked_fill(virtual, 0))
        own = self.prompt[(ids - self.first).clamp(0, len(self.prompt) - 1)]
        return torch.where(virtual[..., None], own, vectors)


class Virtual(Generator[S]):
    """A body that reads n virtual tokens before each text."""

    def __init__(self, body: Generator[S], tokens: int, first: int) -> None:
        """first: the id of the first of them; where they have no vectors, any, and the others follow it."""
        super().__init__()
        self.body, self.tokens, self.first = body, tokens, first
        self.vocabulary = body.vocabulary
        self.spec = replace(body.spec, context=body.spec.context - tokens)  # type: ignore
        if self.spec.context < 2:
            raise RecipeError(
                f"{tokens} tokens leave no room in a context of {body.spec.context}", where="tuning.tokens"
            )

    def all_blocks(self) -> list[nn.Module]:
        """The body's."""
        return self.body.all_blocks()

    def logits(self, hidden: Tensor) -> Tensor:
        """The body's."""
        return self.body.logits(hidden)

    @property
    def hidden_width(self) -> int:
        """The body's."""
        return self.body.hidden_width

    @property
    def bare(self) -> bool:
        """The body's."""
        return self.body.bare

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: S) -> tuple[Tensor, S]:
        """The body's: its state holds the virtual tokens."""
        return self.body.hidden_step(tokens, state)

    def step_apart(self, tokens: Tensor, states: Sequence[S]) -> tuple[Tensor, list[S]]:
        """The body's."""
        return self.body.step_apart(tokens, states)

    def _before(self, inputs: Tensor) -> Tensor:
        """(B, n): the ids of the virtual tokens."""
        ids = torch.arange(self.first, self.first + self.tokens, device=inputs.device)
        return ids.expand(len(inputs), -1)


class VirtualTokens(Virtual[S]):
    """Before each document of a decoder's sequence."""

    @property
    def ahead(self) -> int:
        """As `Generator.ahead`."""
        return self.tokens

    def hidden(self, batch: Batch) -> Tensor:
        """As `Model.hidden`."""
        if batch.documents is not None:
            return self._packed(batch)
        states = self.body.hidden(self._with(batch))
        return states[:, self.tokens :]

    @torch.no_grad()
    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, S]:
        """As `Generator.hidden_begin`."""
        return self.body.hidden_begin(self._with(batch), capacity + self.tokens)

    def _with(self, batch: Batch) -> Batch:
        inputs = torch.cat((self._before(batch.inputs), batch.inputs), dim=1)
        real = batch.mask
        if real is not None:
            real = torch.cat((torch.ones_like(inputs[:, : self.tokens], dtype=torch.bool), real), dim=1)
        return Batch(inputs, torch.full_like(inputs, IGNORE), real)

    def _packed(self, batch: Batch) -> Tensor:
        """The states of rows of several documents, each of which has the virtual tokens before it."""
        inputs, documents = batch.inputs, batch.documents
        assert documents is not None
        begins = torch.ones_like(documents, dtype=torch.bool)
        begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
        rows, length = inputs.shape
        moved = torch.arange(length, device=inputs.device) + self.tokens * begins.cumsum(
            1
        )  # where each token goes
        longest = length + self.tokens * int(begins.sum(1).max())

        def spread(values: Tensor, empty: int | bool) -> Tensor:
            return torch.full((rows, longest), empty, dtype=values.dtype, device=values.device).scatter(
                1, moved, values
            )

        ids, real = spread(inputs, 0), spread(batch.mask if batch.mask is not None else begins | True, False)
        owners = spread(documents, -1)  # what follows the last document belongs to none
        row, column = begins.nonzero(as_tuple=True)
        for number in range(self.tokens):
            place = moved[row, column] - self.tokens + number
            ids[row, place], real[row, place] = self.first + number, True
            owners[row, place] = documents[row, column]
        wide = Batch(ids, torch.full_like(ids, IGNORE), real, owners)
        states = self.body.hidden(wide)
        return states.gather(1, moved[..., None].expand(-1, -1, states.shape[-1]))


class VirtualSource(Virtual[S], SourceReader[S]):
    """Before each source of an encoder-decoder."""

    def hidden(self, batch: Batch) -> Tensor:
        """As `Model.hidden`."""
        return self.body.hidden(self._with(batch))

    def encode(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """As `SourceReader.encode`, the states of the virtual tokens left out."""
        assert isinstance(self.body, SourceReader)
        return self.body.encode(*self._prompted(source, source_mask))[:, self.tokens :]

    @torch.no_grad()
    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, S]:
        """As `Generator.hidden_begin`."""
        return self.body.hidden_begin(self._with(batch), capacity)

    def _with(self, batch: Batch) -> Batch:
        source, real = self._prompted(source_of(batch), batch.source_mask)
        return replace(batch, source=source, source_mask=real)

    def _prompted(self, source: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if real is not None:
            real = torch.cat(
                (torch.ones(len(source), self.tokens, dtype=torch.bool, device=real.device), real), 1
            )
        return torch.cat((self._before(source), source), dim=1), real


def prompted(body: Generator, tokens: int) -> Generator:
    """A body with a soft prompt of so many tokens, not yet filled, before its texts or its sources.

    Raises RecipeError for a model that writes nothing.
    """
    if not isinstance(body, OutputLayer) or not isinstance(body, Generator):
        raise RecipeError(f"a {body.spec.kind} takes no soft prompt", where="tuning.kind", advice="use lora")
    rows, embedding = body.vocabulary, body.embedding
    body.embedding = PromptEmbedding(embedding, rows, embedding.embedding_dim, tokens)  # type: ignore
    body.embedding.to(next(body.parameters()).device)
    wrapper = VirtualSource if isinstance(body, SourceReader) else VirtualTokens
    return wrapper(body, tokens, rows)


def prefixed(body: Generator, tokens: int) -> Generator:
    """A decoder with trained keys and values, not yet filled, before its texts. Raises RecipeError for other models."""
    if body.spec.kind != "decoder" or not isinstance(body, Generator):
        raise RecipeError(
            f"a {body.spec.kind} takes no prefix: decoders do", where="tuning.kind", advice="use lora"
        )
    for module in body.modules():
        if isinstance(module, Attention):
            device = next(module.parameters()).device
            module.prefix = Prefix(module.key_heads, tokens, module.head_width).to(device)
    return VirtualTokens(body, tokens, 0)
