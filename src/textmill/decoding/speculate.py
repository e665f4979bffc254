"""Speculative decoding: drafted tokens are read together with the last real one, and kept while the model agrees.

The draft is a fixed guess, so the rule of Leviathan et al. 2023 (algorithm 1) accepts a drafted token x with the
model's probability p(x), and after a rejection draws from p without x. Drawing from p as plain decoding does, and
keeping the draft for as long as it is what was drawn, is that rule: the draw is x with probability p(x), and given
that it is not x, it is distributed as p without x. It also takes one random number a token, as plain decoding does.
So what is written does not depend on drafts at all; they only decide how many tokens one step of the model gives.

Say the text is "the cat sat on the" and the draft "mat and the cat". One step reads "the mat and the cat" and gives the
logits after each of them. The model draws "mat", as drafted, then "and", as drafted, then "then": three tokens for one
step. "the cat" was wrong; the state is cut back to "… on the mat and", and the next step reads "then".

Rounding is the one thing that does: reading n tokens at once sums in another order than reading them one by one.
`unsure` finds the places where the likeliest two tokens are so close that this could turn them round, and `settle`
reads the text since the last certain place again, token by token, as plain decoding does.

Shapes: V vocabulary. One row at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textmill.decoding.pace import Pace
from textmill.index.draft import Draft, Drafter
from textmill.models.model import Generator
from textmill.nn.state import Rewindable, State

MOST = 16  # tokens drafted at once
_CLOSE = 8.0  # times the difference measured between a token's logits read together and alone
_TOO_FAR = 8.0  # times the least such difference: a length of drafts that rounds so much worse is not used


@dataclass
class Report:
    """What speculation did. Tokens are counted as the model reads them, so the last of an answer is not among them."""

    tokens: int = 0
    steps: int = 0  # of the model, those that settled a near tie included
    speculated: int = 0  # steps that read drafted tokens
    drafted: int = 0
    accepted: int = 0
    settled: int = 0  # near ties that were read again
    seconds: float = 0.0  # in the model and in drafting
    saved: float = 0.0  # estimated seconds against plain steps

    def plain(self) -> dict[str, Any]:
        """Figures for people and machines."""
        return {
            "tokens": self.tokens,
            "steps": self.steps,
            "tokens_per_step": round(self.tokens / self.steps, 3) if self.steps else None,
            "speculated_share": round(self.speculated / self.steps, 3) if self.steps else 0.0,
            "accepted_per_speculated_step": round(self.accepted / self.speculated, 3)
            if self.speculated
            else None,
            "drafted": self.drafted,
            "accepted": self.accepted,
            "settled": self.settled,
            "estimated_speedup": round(1 + self.saved / self.seconds, 3) if self.seconds else None,
        }


class Speculation:
    """Reads one row at a time for `generate`, several tokens per step where that is expected to pay.

    drafters: makes the guessers of a new text, as `Drafter`s by name.
    `report` and what was learnt about the guesses are of all rows together.
    """

    def __init__(self, drafters: Callable[[], dict[str, Drafter]], pace: Pace | None = None) -> None:
        self.report, self.pace = Report(), pace or Pace()
        self._make = drafters
        # Largest difference between a token's logits read alone and with so many drafted ones.
        self._differences: dict[int, float] = {}
        self._begin(None, 0)

    def _begin(self, row: object, exact: int) -> None:
        self._row: object = row
        self._drafters = self._make()
        self._known = dict.fromkeys(self._drafters, 0)
        self._logits: Tensor | None = None  # (1, n, V) of the last step
        self._draft: Draft | None = None
        self._accepted = 0  # how many drafted tokens were kept
        self._spent = 0.0
        self._exact = exact  # columns of the state that are to the bit those of plain decoding
        self._loose = 0.0  # largest difference of what was read together after those

    def next_logits(
        self, model: Generator, state: State, row: object, tokens: Tensor, text: Sequence[int], room: int
    ) -> tuple[Tensor, State]:
        """Logits (1, V) after the last of `text`, and the state; what was read ahead is not read again.

        row: whose text it is (any object, the same for the same row). tokens: (1, 1), the last of `text`, where the
        model is. text: all tokens so far, of which the state holds all but the last, or that and tokens drafted.
        room: tokens that may be written after the next one.
        """
        self.report.tokens += 1
        if not isinstance(state, Rewindable):
            self.report.steps += 1
            logits, state = model.step(tokens, state)
            return logits[:, -1], state
        if row is not self._row:
            self._begin(row, state.length)
        if self._draft is not None and self._logits is not None:
            ids = self._draft.ids
            if self._accepted < len(ids) and text[-1] == ids[self._accepted]:
                self._accepted += 1
                self.report.accepted += 1
                return self._logits[:, self._accepted], state
            state = self._judged(state)
        return self._ahead(model, state, tokens, text, room)

    def _judged(self, state: Rewindable) -> Rewindable:
        """Forget the draft that was read: the tokens that were wrong leave the state."""
        assert self._draft is not None
        wrong = len(self._draft.ids) - self._accepted
        self.report.saved += self.pace.learn(self._draft, self._accepted, self._spent)
        self._draft = self._logits = None
        return state.truncate(state.length - wrong) if wrong else state

    def _ahead(
        self, model: Generator, state: Rewindable, tokens: Tensor, text: Sequence[int], room: int
    ) -> tuple[Tensor, Rewindable]:
        """Read the last token, and with it a draft where one is worth it."""
        begun = time.perf_counter()
        draft = self._drafted(text, room)
        drafting = time.perf_counter() - begun
        if draft is not None:
            tokens = torch.tensor([[text[-1], *draft.ids]], device=tokens.device)
        if draft is not None and len(draft.ids) not in self._differences:
            state = self._compare(model, state, tokens)
            if not self._near(len(draft.ids)):
                draft, tokens = None, tokens[:, :1]
        begun = time.perf_counter()
        logits, state = model.step(tokens, state)
        if logits.is_cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
        self.report.steps += 1
        self.report.seconds += seconds + drafting
        if draft is None:
            self.pace.plain(seconds)
            self.report.saved -= drafting
            if self._exact == state.length - 1:
                self._exact = state.length
            return logits[:, -1], state
        self._loose = max(self._loose, self._differences[len(draft.ids)])
        self.report.speculated += 1
        self.report.drafted += len(draft.ids)
        self.report.saved -= drafting
        self._logits, self._draft, self._accepted, self._spent = logits, draft, 0, seconds
        return logits[:, 0], state

    def _drafted(self, text: Sequence[int], room: int) -> Draft | None:
        """The guess that is expected to save most, as long as it is expected to pay; or None."""
        most, drafts = min(MOST, room), {}
        if most <= 0:
            return None
        for name, drafter in self._drafters.items():
            if not self.pace.asks(name):
                continue
            begun = time.perf_counter()
            drafter.extend(text[self._known[name] :])
            self._known[name] = len(text)
            drafts[name] = drafter.propose(most)
            self.pace.asked(name, time.perf_counter() - begun)
        return self.pace.choose(drafts, self._near)

    def _near(self, length: int) -> bool:
        """Whether drafts of this length may be used: rounding is about the same as for the others, or not yet known."""
        known = self._differences
        return length not in known or known[length] <= _TOO_FAR * min(known.values())

    def _compare(self, model: Generator, state: Rewindable, tokens: Tensor) -> Rewindable:
        """Once for each length: how far the logits of a token are from its logits when more are read with it."""
        alone, state = model.step(tokens[:, :1], state)
        state = state.truncate(state.length - 1)
        together, state = model.step(tokens, state)
        difference = float((alone[:, 0].float() - together[:, 0].float()).abs().max())
        self._differences[tokens.shape[1] - 1] = difference
        self.report.steps += 2
        return state.truncate(state.length - tokens.shape[1])

    def unsure(self, row: object, logits: Tensor) -> bool:
        """Whether rounding may have turned round which token of `logits` (1, V) is the likeliest."""
        if row is not self._row or not self._loose:
            return False
        first, second = logits[0].topk(min(2, logits.shape[-1])).values[[0, -1]].tolist()
        return first - second <= _CLOSE * self._loose

    def _at(self, state: Rewindable) -> int:
        """Columns of the state that belong to the text whose next token is being chosen."""
        return state.length - (len(self._draft.ids) - self._accepted if self._draft is not None else 0)

    def settle(
        self, model: Generator, state: State, text: Sequence[int], logits: Tensor
    ) -> tuple[Tensor, State]:
        """The logits (1, V) after `text` as plain decoding has them, and the state.

        Whatever was read together is read again one by one. logits: what they seemed to be.
        """
        assert isinstance(state, Rewindable)
        begun = time.perf_counter()
        at = self._at(state)
        if self._draft is not None:
            state = self._judged(state)
        state, result = state.truncate(self._exact), logits
        for token in text[len(text) - (at - self._exact) :]:
            read, state = model.step(torch.tensor([[token]], device=logits.device), state)
            result = read[:, -1]
            self.report.steps += 1
        self._exact, self._loose = state.length, 0.0
        self.report.settled += 1
        seconds = time.perf_counter() - begun
        self.report.seconds += seconds
        self.report.saved -= seconds
        self.pace.lost(seconds)
        return result, state
