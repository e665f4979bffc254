"""Many requests to several models at once, each answered as if it were alone.

    engine = Engine({"mill": pretrained}, Limits())
    ticket = engine.submit(Request(model="mill", ids=ids, spec=spec), listener)   # from any thread, returns at once
    ticket.cancel()

One thread computes. Listeners are called in it, and must not wait for anything.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from textmill.base.errors import TextmillError
from textmill.decoding.decode import searches
from textmill.decoding.generate import generate
from textmill.decoding.prompt import Prompt
from textmill.decoding.stop_strings import TextStream
from textmill.decoding.stream import drawable
from textmill.inference.predictor import Predictor
from textmill.inference.requests import (
    Event,
    Finished,
    Limits,
    Overloaded,
    Reason,
    Request,
    Token,
    TooLong,
    UnknownModel,
    Usage,
)
from textmill.models import adapters
from textmill.models.model import Generator
from textmill.models.pretrained import Pretrained
from textmill.specs.model import longest_source
from textmill.tasks.prediction import Prediction, Refused
from textmill.tasks.task import Options, Record

Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Served:
    """A model that is served. fingerprint: of its weights as numbers; deterministic: whether it was seen, on this
    processor, that an answer is the same to the byte whatever else is answered."""

    name: str
    pretrained: Pretrained
    fingerprint: str
    deterministic: bool


class Ticket:
    """A request that was taken."""

    def __init__(self, request: Request, listener: Listener) -> None:
        self.request, self.listener, self.cancelled = request, listener, False

    def cancel(self) -> None:
        """End it. `Finished("cancelled")` follows within a step, unless it has finished by then."""
        self.cancelled = True


class Engine:
    """Models, and who waits for their answers."""

    def __init__(self, served: Mapping[str, Pretrained], limits: Limits | None = None) -> None:
        self._limits = Limits() if limits is None else limits
        self.served: Mapping[str, Served] = {
            name: Served(name, one, adapters.weights_id(one.model)[:16], True) for name, one in served.items()
        }
        self._waiting: deque[Ticket] = deque()
        self._writing: Ticket | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._written = 0
        self._tasks = ThreadPoolExecutor(1, "tasks")
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, listener: Listener) -> Ticket:
        """Take a request; `listener` hears of each token, and of its end.

        Raises UnknownModel, TooLong, Overloaded, and TextmillError for what cannot be done.
        """
        served = self._of(request.model)
        pretrained, spec = served.pretrained, request.spec
        if not pretrained.writes:
            raise TextmillError("writes no text", where=request.model)
        if (request.source is not None) != pretrained.reads_source:
            raise TextmillError(
                "reads a source and writes a target" if pretrained.reads_source else "reads no source",
                where=request.model,
            )
        if searches(spec):
            raise TextmillError(
                "answers are searched for, and only whole", advice="leave out beams, contrastive and mbr"
            )
        if request.constraint is not None or request.logprobs is not None or request.prompt_logprobs:
            raise TextmillError("is not yet done here", where="request")
        for ids, longest in (
            (request.ids, pretrained.spec.context),
            (request.source or (), longest_source(pretrained.spec)),
        ):
            if len(ids) > longest:
                raise TooLong(len(ids), longest)
        ticket = Ticket(request, listener)
        with self._changed:
            waiting = sum(_tokens(one.request) for one in self._waiting)
            if self._closing or (self._waiting and waiting + _tokens(request) > self._limits.waiting_tokens):
                raise Overloaded(1.0)
            self._waiting.append(ticket)
            self._changed.notify_all()
        return ticket

    def run(
        self, model: str, records: Sequence[Record], options: Options | None = None
    ) -> Future[list[Prediction | Refused]]:
        """What a model says of records, by its task: in a queue of its own, one call after the other."""
        predictor = Predictor(self._of(model).pretrained, options)
        return self._tasks.submit(lambda: list(predictor.predict(records)))

    def figures(self) -> dict[str, float]:
        """How much is going on, and what was done."""
        with self._changed:
            waiting = list(self._waiting)
            return {
                "rows": int(self._writing is not None),
                "waiting": len(waiting),
                "waiting_tokens": sum(_tokens(one.request) for one in waiting),
                "cache_bytes": 0,
                "prefix_bytes": 0,
                "prefix_hits": 0,
                "tokens_written": self._written,
            }

    def drain(self, seconds: float) -> bool:
        """Take nothing more, and wait for what was taken; whether all of it was finished in so many seconds."""
        until = time.monotonic() + seconds
        with self._changed:
            self._closing = True
            while self._waiting or self._writing is not None:
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    return False
        return True

    def close(self) -> None:
        """End everything."""
        with self._changed:
            self._closing = True
            for ticket in (*self._waiting, *([self._writing] if self._writing else [])):
                ticket.cancel()
            self._changed.notify_all()
        self._thread.join()
        self._tasks.shutdown(cancel_futures=True)

    def _of(self, name: str) -> Served:
        if name not in self.served:
            raise UnknownModel(name, tuple(self.served))
        return self.served[name]

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                self._writing = self._waiting.popleft()
            self._answer(self._writing)
            with self._changed:
                self._writing = None
                self._changed.notify_all()

    def _answer(self, ticket: Ticket) -> None:
        request, pretrained = ticket.request, self.served[ticket.request.model].pretrained
        model, tokenizer = pretrained.model, pretrained.tokenizer
        assert isinstance(model, Generator)
        ends = tokenizer.ends if request.ends is None else request.ends
        spec = drawable(request.spec, model, tokenizer)
        stream = TextStream(tokenizer.stream(), spec.stop, before=request.ids)
        certain, written, reason, message = "", 0, "length", ""

        def heard(row: int, sample: int, token: int) -> bool:
            nonlocal certain
            certain = stream.push(token)
            return stream.stopped

        try:
            prompt = Prompt(request.ids, request.source)
            pieces = generate(
                model, [prompt], replace(spec, tokens=max(1, spec.tokens)), ends=ends, heard=heard
            )
            for piece in pieces if spec.tokens else ():
                if ticket.cancelled or _late(request):
                    break
                text = "" if piece.finish == "end" else certain
                if piece.finish is not None:
                    text += stream.finish()
                written += 1
                self._written += 1
                ticket.listener(Token(piece.id, text, tokenizer.token_bytes(piece.id), piece.logprob))
                if piece.finish is not None:
                    reason = "stop" if stream.stopped else piece.finish
        except Exception as error:
            reason, message = "failed", str(error)
        if ticket.cancelled or _late(request):
            reason = "cancelled"
        usage = Usage(len(request.ids) + len(request.source or ()), 0, written)
        ticket.listener(Finished(_reason(reason), usage, message))


def _reason(reason: str) -> Reason:
    return reason  # type: ignore


def _late(request: Request) -> bool:
    return request.deadline is not None and time.monotonic() > request.deadline


def _tokens(request: Request) -> int:
    return len(request.ids) + len(request.source or ()) + request.spec.tokens
