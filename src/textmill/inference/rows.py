"""One answer on its way: its prompt is read chunk by chunk, and then it is written token by token.

What is chosen is a function of the row's logits (1, V) and of its own request: the strategies, draws and stop strings
are those of decoding/, one row at a time.

Shapes: V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from textmill.base.errors import NonFiniteError
from textmill.data.batch import Batch
from textmill.decoding.prompt import Fitted, Prompt, fitted
from textmill.decoding.sampling import (
    History,
    Strategy,
    changed,
    constraints,
    draw,
    highest,
    normalizer,
    seeded,
    strategies,
)
from textmill.decoding.stop_strings import Spelling, TextStream
from textmill.decoding.stream import drawable
from textmill.inference.constraints import Matcher
from textmill.inference.prefixes import CHUNK, Prefixes, chain
from textmill.inference.requests import Event, Finished, Read, Reason, Request, Token, Usage
from textmill.inference.served import Served
from textmill.nn.cache import CacheState
from textmill.nn.state import State

Listener = Callable[[Event], None]


class Ticket:
    """A request that was taken, and who listens."""

    def __init__(self, request: Request, listener: Listener) -> None:
        self.request, self._listener = request, listener
        self.cancelled = self.finished = False

    def cancel(self) -> None:
        """End it. `Finished("cancelled")` follows within a step, unless it has finished by then."""
        self.cancelled = True

    @property
    def gone(self) -> bool:
        """Whether nobody waits for it any more."""
        deadline = self.request.deadline
        return self.cancelled or (deadline is not None and time.monotonic() > deadline)

    def tell(self, event: Event) -> None:
        """Say something to who listens; where that fails, nobody does any more."""
        try:
            self._listener(event)
        except Exception:  # it is not ours, and the answers of others go on
            self.cancelled = True

    def finish(self, reason: Reason, written: int = 0, cached: int = 0, message: str = "") -> None:
        """Say that it has ended."""
        self.finished = True
        request = self.request
        if reason == "cancelled" and not self.cancelled:
            message = "its time is up"
        read = len(request.ids) + len(request.source or ())
        self.tell(Finished(reason, Usage(read, cached, written), message))


@dataclass(frozen=True)
class _Bias:
    """What is added to the logits of some ids."""

    ids: Tensor  # (n,) int64
    values: Tensor  # (n,) float32

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        return logits.index_add(1, self.ids, self.values[None])


class Row:
    """An answer that is being read for, or written."""

    def __init__(self, ticket: Ticket, served: Served, prefixes: Prefixes, matcher: Matcher | None) -> None:
        request, tokenizer = ticket.request, served.pretrained.tokenizer
        assert served.model is not None
        self.ticket, self.served, self.model = ticket, served, served.model
        self.ends = tokenizer.ends if request.ends is None else request.ends
        spec = drawable(request.spec, self.model, tokenizer)
        self._fit = fits(request, served)
        self._prefixes, self._matcher = prefixes, matcher
        self._keys = list(chain(f"{served.name} {served.fingerprint} {request.owner}", self._fit.ids))

        # How a token is chosen.
        bias = (_Bias(torch.tensor([*request.bias]), torch.tensor([*request.bias.values()])),)
        first: tuple[Strategy, ...] = bias if request.bias else ()
        if matcher is not None:
            first = (*first, matcher)
        self._chain = (*first, *strategies(spec, self.ends))
        self._history = None
        if constraints(spec, self.ends):
            self._history = History.of([self._fit.ids], sources=[self._fit.source])
        self._generator = None
        if spec.temperature > 0:
            seed_ids = [*(request.source or ()), *(request.ids or self._fit.ids)]
            self._generator = seeded(spec.seed, request.sample, seed_ids)
        decoder = Spelling(tokenizer.stream(), request.spelt) if request.spelt else tokenizer.stream()
        self._stream = TextStream(decoder, spec.stop, before=self._fit.ids)

        # Where it stands.
        self.state: State | None = None
        self.next = -1  # the token that was written last, and is not yet read
        self.place = self.cached = self.written = 0
        self._told: list[Token] = []  # tokens of the prompt, where they are asked for
        self._decoder = tokenizer.stream()  # of those
        self.done: Reason | None = None

    @property
    def reading(self) -> bool:
        """Whether some of its prompt is not yet read."""
        return self.place < len(self._fit.ids)

    @property
    def left(self) -> int:
        """Tokens that may still be read and written."""
        return len(self._fit.ids) - self.place + self.room - self.written

    @property
    def room(self) -> int:
        """Tokens it may write."""
        return min(self._fit.room, self.ticket.request.spec.tokens)

    def read(self) -> int:
        """Read the next chunk of the prompt, and choose the first token where it was the last; how many were read."""
        ids, asked = self._fit.ids, self.ticket.request.prompt_logprobs
        if self.state is None and not asked:
            self._recall()
        start = self.place
        stop = min(len(ids), (start // CHUNK + 1) * CHUNK)
        if self.state is None:
            # Whose prompt is asked about reads its first token alone: what follows each of the others is then known.
            stop = 1 if asked else stop
            source = self._fit.source
            inputs = torch.tensor([ids[:stop]])
            read = Batch(inputs, inputs, source=None if source is None else torch.tensor([source]))
            hidden, self.state = self.model.hidden_begin(read, self._capacity(stop))
            hidden = hidden[:, None]
        else:
            self.make_room(stop - start)
            hidden, self.state = self.model.hidden_step(torch.tensor([ids[start:stop]]), self.state)
        self.place = stop
        if asked:
            self._tell_prompt(hidden[0], start)
        elif stop - start == CHUNK and isinstance(self.state, CacheState) and self.state.sources is None:
            ahead = self.model.ahead
            columns = self.state.columns(ahead + start if start else 0, ahead + stop)
            self._prefixes.keep(self._keys[stop // CHUNK - 1], columns)
        if not self.reading:
            if self.room:
                self.take(self.model.logits(hidden[:, -1]))
            else:
                self.done = "length"
        return stop - start

    def make_room(self, tokens: int) -> None:
        """See that its state can take so many more tokens."""
        state = self.state
        if isinstance(state, CacheState) and state.length + tokens > state.capacity:
            ahead = self.model.ahead
            self.state = state.grown(ahead + self._capacity(state.length - ahead + tokens))

    def take(self, logits: Tensor) -> None:
        """Choose the next token by logits (1, V), and tell it. Raises NonFiniteError when they are not finite."""
        logits = logits.float()
        generators = None if self._generator is None else [self._generator]
        token = draw(changed(logits, self._chain, self._history), generators)
        self.next = int(token)
        # Of greedy rows the likeliest logit is finite where all are, and a sum over the vocabulary is not asked for.
        asked = self.ticket.request.logprobs is not None
        total = normalizer(logits) if asked or generators else None
        logprob = float(logits[0, self.next] - (0.0 if total is None else total))
        if not math.isfinite(logprob):
            raise NonFiniteError("the model's logits are not finite", advice="its weights are damaged")
        self.written += 1
        if self._history is not None:
            self._history = self._history.add(token)

        # Whether it was the last; what is held back of the text comes out then.
        ended = self.next in self.ends
        text = "" if ended else self._stream.push(self.next)
        complete = self._matcher is not None and not ended and self._matcher.wrote(self.next)
        if ended:
            self.done = "end"
        elif self._stream.stopped or complete:
            self.done = "stop"
        elif self.written >= self.room:
            self.done = "length"
        if self.done is not None:
            text += self._stream.finish()
            if self._stream.stopped:  # the last, broken character completed a stop string
                self.done = "stop"
        self.ticket.tell(self._token(self.next, text, logprob if asked else None, logits, total))

    def _token(
        self, id: int, text: str, logprob: float | None, logits: Tensor, total: Tensor | None
    ) -> Token:
        """A token and what might have stood in its place, by logits (1, V) and, where that is asked, their
        normalizer."""
        number = self.ticket.request.logprobs
        alternatives: tuple[tuple[int, float], ...] = ()
        if number and total is not None:
            best, ids = highest(logits, number)
            alternatives = tuple(zip(ids[0].tolist(), (best - total)[0].tolist(), strict=True))
        tokenizer = self.served.pretrained.tokenizer
        spelt = tokenizer.token_bytes(id) if id < tokenizer.vocabulary else b""
        return Token(id, text, spelt, logprob, alternatives)

    def _recall(self) -> None:
        """Begin with what is known of the prompt; its last token is read in any case."""
        usable = self._keys[: (len(self._fit.ids) - 1) // CHUNK]
        known = self._prefixes.longest(usable) if self._fit.source is None and self.served.cost.grows else []
        if known:
            self.place = self.cached = CHUNK * len(known)
            self.state = CacheState.of_columns(known, self.model.ahead + self._capacity(self.place))

    def _capacity(self, tokens: int) -> int:
        """Tokens to make room for when so many are held: whole blocks, and never more than there will be."""
        most = len(self._fit.ids) + max(self.room, 1) - 1
        return min(most, -(-tokens // CHUNK) * CHUNK) if self.served.cost.grows else most

    def _tell_prompt(self, hidden: Tensor, start: int) -> None:
        """Keep how likely each token of the prompt was, by what was read (n, D) from `start` on, and tell it."""
        ids, tokenizer = self._fit.ids, self.served.pretrained.tokenizer
        if not start:
            self._told.append(Token(ids[0], self._decoder.push(ids[0]), tokenizer.token_bytes(ids[0]), None))
        logits = self.model.logits(hidden).float()
        totals = normalizer(logits)
        for place, id in enumerate(ids[start + 1 : start + len(hidden) + 1]):
            one, total = logits[[place]], totals[[place]]
            text = self._decoder.push(id)
            if start + place + 2 == len(ids):
                text += self._decoder.finish()
            self._told.append(self._token(id, text, float(one[0, id] - total), one, total))
        if not self.reading:
            self.ticket.tell(Read(tuple(self._told)))


def fits(request: Request, served: Served) -> Fitted:
    """A request's prompt as the model reads it, and the tokens it may write. Nothing is cut: see Engine.submit."""
    pretrained = served.pretrained
    ends = pretrained.tokenizer.ends if request.ends is None else request.ends
    [fit] = fitted(
        [Prompt(request.ids, request.source)],
        tokens=max(1, request.spec.tokens),
        context=pretrained.spec.context,
        ends=tuple(ends),
        sources=pretrained.longest if pretrained.reads_source else None,
    )
    return fit


def cost_of(request: Request, served: Served) -> int:
    """Bytes of its state when it is longest."""
    fit = fits(request, served)
    return served.cost.of(len(fit.ids) + fit.room - 1, len(fit.source or ()))
