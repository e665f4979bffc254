"""The n-gram: a language model that was counted, not trained. It has the protocol of every other.

What the output reads of a position is not a vector but where its contexts stand in the tables: whole numbers, the
number of the context of 1, 2, … tokens or -1 where it was never seen, then what the ∞-gram and the cache need.

Shapes: B rows, T positions, N positions in one row of numbers, V vocabulary, W tokens in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from textmill.data.batch import Batch
from textmill.models.model import TokenScorer, left_padded
from textmill.models.ngram.stream import FIELDS, Stream, Stretches
from textmill.models.ngram.tables import Tables, first_not_under, ragged
from textmill.nn.state import State
from textmill.specs.model import NGramSpec

_LOGITS = 1 << 24  # probabilities worked out at once: 64 MiB in float32


class Level(Tables):
    """The n-grams of one length: those that go on from one context stand together, by rising last token.

    tokens (N,) the last token; starts (M + 1,) where each of the M contexts' n-grams begin; alpha (N,), gamma (M,)
    as in models/ngram/smoothing.py.
    """

    tokens: nn.Parameter
    starts: nn.Parameter
    alpha: nn.Parameter
    gamma: nn.Parameter

    def __init__(self) -> None:
        super().__init__("tokens", "starts", "alpha", "gamma")

    def child(self, contexts: Tensor, tokens: Tensor) -> Tensor:
        """The number of each n-gram (…): context and last token; -1 where it, or its context, was never seen."""
        numbers = torch.full_like(contexts, -1)
        if not len(self.tokens):
            return numbers
        seen = contexts >= 0
        context, token = contexts[seen], tokens[seen]
        low, high = self.starts[context].long(), self.starts[context + 1].long()
        position = first_not_under(low, high, token, lambda positions, _: self.tokens[positions].long())
        there = (position < high) & (self.tokens[position.clamp(max=len(self.tokens) - 1)] == token)
        numbers[seen] = torch.where(there, position, -1)
        return numbers


@dataclass(slots=True)
class NGramState(State):
    """What is remembered of the rows so far: the contexts of their last token."""

    nodes: Tensor  # (B, order - 1): of 1, 2, … tokens
    since: Tensor  # (B,): tokens since the row, or its document, began
    recent: Tensor  # (B, W): tokens read last, -1 where there are none
    ranges: Tensor | None  # (B, L, 2): stretches of the contexts of 1, 2, … tokens

    def reorder(self, rows: Tensor) -> NGramState:
        """The state whose row i is row rows[i] of this one; this state is left as it was."""
        ranges = None if self.ranges is None else self.ranges[rows]
        return NGramState(self.nodes[rows], self.since[rows], self.recent[rows], ranges)


class NGram(Tables, TokenScorer[NGramState]):
    """Tables and how they are read: `unigram` (V,) P(w), `levels`, and for the ∞-gram the text as a `stream`."""

    spec: NGramSpec
    unigram: nn.Parameter
    end: nn.Parameter

    def __init__(self, spec: NGramSpec, vocabulary: int) -> None:
        super().__init__("unigram", "end")
        self.spec, self.vocabulary = spec, vocabulary
        self.levels = nn.ModuleList(Level() for _ in range(spec.order - 1))
        self.stream = Stream() if spec.smoothing == "infinity" else None
        self._window = spec.cache_window if spec.cache else 0
        self._nodes = spec.order - 1
        self._kept = FIELDS if self.stream is not None else 0

    @property
    def hidden_width(self) -> int:
        """Whole numbers `hidden` gives for a position."""
        return self._nodes + self._kept + self._window

    @torch.no_grad()
    def hidden(self, batch: Batch) -> Tensor:
        """Where the contexts of each position stand: (B, T, `hidden_width`) int64."""
        inputs = batch.inputs
        real = torch.ones_like(inputs, dtype=torch.bool) if batch.mask is None else batch.mask
        return self._read(inputs, real, batch.documents)[0]

    @torch.no_grad()
    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, NGramState]:
        """As `Generator.hidden_begin`: (B, `hidden_width`). A state grows as it must, whatever `capacity` is."""
        inputs, real = left_padded(batch)
        real = torch.ones_like(inputs, dtype=torch.bool) if real is None else real
        hidden, state = self._read(inputs, real, None)
        return hidden[:, -1], state

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: NGramState) -> tuple[Tensor, NGramState]:
        """As `Generator.hidden_step`: (B, n, `hidden_width`)."""
        rows = []
        for token in tokens.unbind(1):
            state = self._next(token, state)
            stretches = None if state.ranges is None else _stretches(state.ranges)
            rows.append(self._hidden(state.nodes, state.since, state.recent, stretches))
        return torch.stack(rows, 1), state

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """(…, `hidden_width`) -> log probabilities (…, V)."""
        flat = hidden.flatten(0, -2)
        logits = flat.new_empty(len(flat), self.vocabulary, dtype=self.unigram.dtype)
        rows = max(1, _LOGITS // self.vocabulary)
        for start in range(0, len(flat), rows):
            logits[start : start + rows] = self._probabilities(flat[start : start + rows]).log_()
        return logits.view(*hidden.shape[:-1], self.vocabulary)

    @torch.no_grad()
    def log_probs(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Log probabilities (N,) of one token after each position (N, `hidden_width`): all that scoring needs."""
        nodes, kept, recent = self._parts(hidden)
        probability = self.unigram[tokens]
        for length, level in enumerate(self._levels()):
            contexts = nodes[:, length]
            child = level.child(contexts, tokens)
            if len(level.gamma):
                probability = torch.where(contexts >= 0, level.gamma[contexts.clamp(min=0)], 1) * probability
            if len(level.alpha):
                probability = probability + torch.where(child >= 0, level.alpha[child.clamp(min=0)], 0)
        if self.stream is not None:
            probability = self.stream.mix_one(kept, tokens, probability)
        if self._window:
            size, times = (recent >= 0).sum(1), (recent == tokens[:, None]).sum(1)
            probability = torch.where(
                size > 0, self._cached(probability, times / size.clamp(min=1)), probability
            )
        return probability.log()

    def clues(self, hidden: Tensor) -> Tensor:
        """(N, C) float32: what is known of a position before its token is: how long its longest context is, and how
        much that context leaves to shorter ones. A learned mixture weighs models by it."""
        nodes, kept, _ = self._parts(hidden)
        length = (nodes >= 0).long().cumprod(1).sum(1)
        clues = [nn.functional.one_hot(length, self._nodes + 1).float()]
        for index, level in enumerate(self._levels()):
            top = length == index + 1
            left = level.gamma[nodes[:, index].clamp(min=0)] if len(level.gamma) else self.unigram.new_ones(1)
            clues.append(torch.where(top, left.float().clamp(min=1e-6).log(), 0)[:, None])
        if self.stream is not None:
            low, high, tokens, followers = kept.float().unbind(-1)
            clues.append(torch.stack([tokens.log1p(), (high - low).log1p(), followers.log1p()], -1))
        return torch.cat(clues, 1)

    def _levels(self) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)]

    def _parts(self, hidden: Tensor) -> tuple[Tensor, ...]:
        return hidden.split([self._nodes, self._kept, self._window], -1)

    def _probabilities(self, hidden: Tensor) -> Tensor:
        """(N, `hidden_width`) -> (N, V). The shortest context's weight is the product of what the longer ones leave."""
        nodes, kept, recent = self._parts(hidden)
        weight = self.unigram.new_ones(len(hidden))
        parts = []
        for index in range(self._nodes - 1, -1, -1):
            level, contexts = self._levels()[index], nodes[:, index]
            seen = (contexts >= 0).nonzero().squeeze(1)
            if len(level.gamma) and len(seen):
                low, high = (level.starts[contexts[seen] + side].long() for side in (0, 1))
                which, positions = ragged(low, high)
                rows = seen[which]
                cells = rows * self.vocabulary + level.tokens[positions]
                parts.append((cells, level.alpha[positions] * weight[rows]))
                weight[seen] *= level.gamma[contexts[seen]]
        probabilities = weight[:, None] * self.unigram
        for cells, values in reversed(parts):
            probabilities.view(-1).index_add_(0, cells, values)
        if self.stream is not None:
            self.stream.mix(kept, probabilities)
        if self._window:
            there = recent >= 0
            size = there.sum(1, keepdim=True)
            times = torch.zeros_like(probabilities).scatter_add_(
                1, recent.clamp(min=0), there.to(probabilities.dtype)
            )
            probabilities = torch.where(
                size > 0, self._cached(probabilities, times / size.clamp(min=1)), probabilities
            )
        return probabilities

    def _cached(self, probabilities: Tensor, share: Tensor) -> Tensor:
        return (1 - self.spec.cache) * probabilities + self.spec.cache * share

    def _read(self, inputs: Tensor, real: Tensor, documents: Tensor | None) -> tuple[Tensor, NGramState]:
        """`hidden` of every position, and the state after the last."""
        rows, length = inputs.shape
        linked = torch.zeros_like(real)
        linked[:, 1:] = real[:, 1:] & real[:, :-1]
        if documents is not None:
            linked[:, 1:] &= documents[:, 1:] == documents[:, :-1]
        at = torch.arange(length, device=inputs.device)
        begins = torch.where(~linked | (inputs == self.end), at, 0).cummax(1).values
        since = torch.where(real, at - begins + 1, 0)
        node = torch.where(real, inputs, -1)
        nodes = [node][: self._nodes]
        for level in self._levels()[:-1]:
            before = torch.full_like(node, -1)
            before[:, 1:] = torch.where(linked[:, 1:], node[:, :-1], -1)
            node = level.child(before, inputs)
            nodes.append(node)
        stacked = torch.stack(nodes, -1) if nodes else inputs.new_zeros(rows, length, 0)
        recent = self._recent(inputs, since)
        stretches = self._follow(inputs, linked, real)
        hidden = self._hidden(stacked.flatten(0, 1), since.flatten(), recent.flatten(0, 1), stretches).view(
            rows, length, -1
        )
        return hidden, NGramState(
            stacked[:, -1], since[:, -1], recent[:, -1], self._last(stretches, rows, length, inputs.device)
        )

    def _recent(self, inputs: Tensor, since: Tensor) -> Tensor:
        """(B, T, W): the tokens read last at each position, as far as its document has any."""
        rows, length = inputs.shape
        if not self._window:
            return inputs.new_zeros(rows, length, 0)
        padded = nn.functional.pad(
            torch.where(inputs == self.end, -1, inputs), (self._window - 1, 0), value=-1
        )
        back = torch.arange(self._window - 1, -1, -1, device=inputs.device)
        return torch.where(back < since[..., None], padded.unfold(1, self._window, 1), -1)

    def _follow(self, inputs: Tensor, linked: Tensor, real: Tensor) -> Stretches | None:
        if self.stream is None:
            return None
        return self.stream.follow(inputs, linked, real, self.spec.context)

    @staticmethod
    def _last(stretches: Stretches | None, rows: int, length: int, device: torch.device) -> Tensor | None:
        """(B, L, 2): the stretches of each row's last position."""
        if stretches is None:
            return None
        ranges = torch.zeros(rows, stretches[-1][0] if stretches else 1, 2, dtype=torch.int64, device=device)
        for size, at, low, high in stretches:
            last = at % length == length - 1
            ranges[at[last] // length, size - 1] = torch.stack([low[last], high[last]], -1)
        return ranges

    def _hidden(
        self,
        nodes: Tensor,
        since: Tensor,
        recent: Tensor,
        stretches: Stretches | None,
    ) -> Tensor:
        """(N, `hidden_width`). Add-k reads the longest context alone, seen or not."""
        if self.spec.smoothing == "add-k" and self._nodes:
            longest = (
                torch.arange(1, self._nodes + 1, device=nodes.device) == since.clamp(max=self._nodes)[:, None]
            )
            nodes = torch.where(longest, nodes, -1)
        parts = [nodes]
        if self.stream is not None:
            assert stretches is not None
            parts.append(self.stream.longest(stretches, len(nodes), self._nodes + 1))
        return torch.cat([*parts, recent], -1)

    def _next(self, token: Tensor, state: NGramState) -> NGramState:
        """The state after one more token (B,)."""
        nodes = [token][: self._nodes]
        for index, level in enumerate(self._levels()[:-1]):
            nodes.append(level.child(state.nodes[:, index], token))
        ended = token == self.end
        since = torch.where(ended, 1, state.since + 1)
        recent = state.recent
        if self._window:
            fresh = torch.where(ended, -1, token)[:, None]
            recent = torch.cat([torch.where(ended[:, None], -1, recent[:, 1:]), fresh], 1)
        ranges = state.ranges
        if self.stream is not None:
            assert ranges is not None
            ranges = self.stream.step(ranges, token, self.spec.context)
        stacked = torch.stack(nodes, -1) if nodes else state.nodes
        return NGramState(stacked, since, recent, ranges)


def _stretches(ranges: Tensor) -> Stretches:
    """The stretches (B, L, 2) of a state, as `Stream.follow` gives them."""
    alive = ranges[..., 1] > ranges[..., 0]
    stretches: Stretches = []
    for index in alive.any(0).nonzero().squeeze(1).tolist():
        at = alive[:, index].nonzero().squeeze(1)
        low, high = ranges[at, index].unbind(-1)
        stretches.append((index + 1, at, low, high))
    return stretches
