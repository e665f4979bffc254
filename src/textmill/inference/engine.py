"""Many requests to several models at once, each answered as if it were alone.

    engine = Engine({"mill": pretrained}, Limits())
    ticket = engine.submit(Request(model="mill", ids=ids, spec=spec), listener)   # from any thread, returns at once
    ticket.cancel()

One thread computes. Each of its turns

    1. ends the rows of those who went away,
    2. admits who waits, in order, as long as there are rows and bytes for all they may come to hold,
    3. reads one chunk of one prompt, the prompts taking turns,
    4. reads the last token of every row, all rows over one base in one step, and tells each its next one.

Where a chunk takes much longer than a step, further steps are made between its blocks: whoever is being answered waits
at most about three times as long for a token as usual, while others' prompts are read.

Listeners are called in that thread, and must not wait for anything. Tasks that write nothing, or whole answers, have a
thread and a queue of their own (`run`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from textmill.base.errors import RecipeError, TextmillError
from textmill.decoding.decode import searches
from textmill.decoding.prompt import ending
from textmill.inference.constraints import Grammars, Matcher
from textmill.inference.prefixes import Prefixes
from textmill.inference.requests import (
    Constraint,
    Limits,
    Overloaded,
    Reason,
    Request,
    TooLong,
    UnknownModel,
    Unwanted,
)
from textmill.inference.rows import Listener, Row, Ticket, cost_of
from textmill.inference.served import Company, Given, Known, Served, serve
from textmill.inference.shelf import Group, Shelf
from textmill.models import adapters
from textmill.models.pretrained import Pretrained
from textmill.nn import mode

if TYPE_CHECKING:
    from textmill.tasks.prediction import Prediction, Refused
    from textmill.tasks.task import Options, Record

T = TypeVar("T")
_SPEED = 0.9  # share of the speed known before, in that after a turn
_WAIT = 1.5  # times as long as their last step took: rows that are written wait no longer for a chunk that is read


class Engine:
    """Models, and who waits for their answers."""

    def __init__(
        self,
        models: Mapping[str, Pretrained] | Sequence[Group],
        limits: Limits | None = None,
        *,
        weights: str = "fp32",
        known: Known = lambda about, facts, find: find(),
    ) -> None:
        """models: by name, which are left as they are; or groups, which are read here, and again when they are asked
        after having been let go. Models that share a base (adapters) share its laid out matrices. weights: arithmetic
        of the matrices, fp32, bf16 or int8. known: remembers what was found out about models and this machine.

        Raises TextmillError where this machine has no such arithmetic, and what reading raises."""
        self._limits = Limits() if limits is None else limits

        def lay_out(given: Mapping[str, Given]) -> dict[str, Served]:
            spend = not isinstance(models, Mapping)
            return serve(given, weights, self._limits.rows, spend=spend, known=known)

        self._shelf = Shelf(lay_out, self._limits.idle_seconds, self._wake)
        self._prefixes, self._grammars = Prefixes(self._limits.prefix_bytes), Grammars()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Ticket, Future[Any] | None]] = deque()
        self._rows: list[tuple[Row, int]] = []  # and the bytes that were taken for each
        self._closing = self._telling = False
        self._read = self._written = self._steps = 0
        self._asked = 0  # tasks that are done, or wait
        self._speed = 0.0  # tokens a second
        # When the last step ended, and how long it took: seconds of the thread.
        self._stepped = self._step = 0.0
        if isinstance(models, Mapping):
            ids = {name: adapters.weights_id(one.model) for name, one in models.items()}
            self._shelf.keep({name: Given(one, ids[name]) for name, one in models.items()})
        else:
            for group in models:
                self._shelf.add(group)
        self._tasks = ThreadPoolExecutor(1, "tasks")
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def served(self) -> Mapping[str, Served]:
        """The models by name, as they are now: in memory, or not."""
        return self._shelf.served

    def submit(self, request: Request, listener: Listener) -> Ticket:
        """Take a request; `listener` hears of each token, and last of all of its end.

        Raises UnknownModel, TooLong, Overloaded, and TextmillError for what cannot be done.
        """
        self._check(request)
        grammar = None
        if request.constraint is not None:
            grammar = self.compiled(request.model, request.constraint, request.ends)
            grammar.add_done_callback(lambda done: self._wake())
        ticket = Ticket(request, listener)
        with self._changed:
            self.check_room(request)
            self._waiting.append((ticket, grammar))
            self._changed.notify_all()
        return ticket

    def check_room(self, request: Request) -> None:
        """Raises Overloaded for what would be refused now: asked before work is spent on it that takes a while."""
        with self._changed:
            over = self._waiting_tokens() + _tokens(request) - self._limits.waiting_tokens
            if self._closing or (self._waiting and over > 0):
                raise Overloaded(self._until_room(over))

    def compiled(
        self, model: str, constraint: Constraint, ends: tuple[int, ...] | None = None
    ) -> Future[Any]:
        """Done when a constraint is ready; its exception is a RecipeError where it cannot be followed. What was ready
        once costs nothing afterwards, so whoever wants to know before submitting waits for this first."""
        tokenizer = self._of(model).pretrained.tokenizer
        return self._grammars.compiled(tokenizer, ending(ends or ()) or tokenizer.ends, constraint)

    def run(
        self,
        model: str,
        records: Sequence[Record],
        options: Options | None = None,
        *,
        gone: Callable[[], bool] = lambda: False,
    ) -> Future[list[Prediction | Refused]]:
        """What a model says of records, by its task, read in batches of like length: one call after the other."""
        from textmill.inference.predictor import (
            Predictor,  # all tasks: who starts an engine need not wait for them
        )

        Predictor(self._of(model).pretrained, options)  # raises for what it cannot be asked

        def said(pretrained: Pretrained) -> list[Prediction | Refused]:
            found = []
            for one in Predictor(pretrained, options).predict(records):
                mode.current()  # of models that never ask for it
                found.append(one)
            return found

        return self.ask(model, said, gone=gone)

    def ask(
        self, model: str, work: Callable[[Pretrained], T], *, gone: Callable[[], bool] = lambda: False
    ) -> Future[T]:
        """What work gives that asks a model itself, in the queue of tasks. gone: whether nobody waits for it any more,
        asked before each pass of the model; the exception is Unwanted then."""
        self._of(model)

        def check() -> None:
            if gone():
                raise Unwanted

        def done() -> T:
            check()
            with self._shelf.using(model) as served, mode.computing(check=check):
                return work(served.pretrained)

        with self._changed:
            self._asked += 1
        future = self._tasks.submit(done)
        future.add_done_callback(self._answered)
        return future

    def _answered(self, done: Future[Any]) -> None:
        with self._changed:
            self._asked -= 1

    def figures(self) -> dict[str, float]:
        """How much is going on, and what was done."""
        with self._changed:
            return {
                "rows": len(self._rows),
                "waiting": len(self._waiting),
                "waiting_tokens": self._waiting_tokens(),
                "cache_bytes": sum(size for _, size in self._rows),
                "prefix_bytes": self._prefixes.bytes,
                "prefix_hits": self._prefixes.hits,
                "prefix_misses": self._prefixes.misses,
                "tokens_read": self._read,
                "tokens_written": self._written,
                "steps": self._steps,
                "tasks": self._asked,
                **self._shelf.figures(),
            }

    def drain(self, seconds: float) -> bool:
        """Take nothing more, and wait for what was taken; whether all of it was finished in so many seconds."""
        with self._changed:
            self._closing = True
            return self._changed.wait_for(lambda: not (self._waiting or self._rows or self._telling), seconds)

    def close(self) -> None:
        """End everything."""
        with self._changed:
            self._closing = True
            for ticket in [one for one, _ in self._waiting] + [row.ticket for row, _ in self._rows]:
                ticket.cancel()
            self._changed.notify_all()
        self._thread.join()
        self._grammars.close()
        self._tasks.shutdown(cancel_futures=True)
        self._shelf.close()

    def _of(self, name: str) -> Served:
        if name not in self.served:
            raise UnknownModel(name, tuple(self.served))
        return self.served[name]

    def _check(self, request: Request) -> None:
        """Raise for what cannot be done."""
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
        if request.source is not None and len(request.source) > pretrained.longest:
            raise TooLong(len(request.source), pretrained.longest)
        if len(request.ids) > pretrained.spec.context:
            raise TooLong(len(request.ids), pretrained.spec.context)
        rows = pretrained.model.vocabulary
        beyond = [id for id in (*request.ids, *(request.source or ()), *request.bias) if not 0 <= id < rows]
        if beyond:
            raise RecipeError(f"the vocabulary has {rows} ids, and no {beyond[0]}", where=request.model)
        if request.logprobs is not None and not 0 <= request.logprobs <= self._limits.alternatives:
            raise RecipeError(
                f"{request.logprobs} is out of range: 0 to {self._limits.alternatives}", where="logprobs"
            )
        forced = spec.forced_first_token is not None or spec.forced_last_tokens
        if request.constraint is not None and (spec.stop or forced):
            raise RecipeError(
                "an answer with a constraint ends where that is complete",
                where=request.constraint.kind,
                advice="leave out stop strings and forced tokens",
            )
        if cost_of(request, served) > self._limits.cache_bytes:
            raise TextmillError(
                "takes more memory than answers may have here", where=request.model, advice="ask for less"
            )

    def _waiting_tokens(self) -> int:
        return sum(_tokens(ticket.request) for ticket, _ in self._waiting)

    def _until_room(self, tokens: int) -> float:
        """Seconds until so many of the tokens that wait will have been admitted: that many are to be read and written,
        and before the first of them what the shortest row still has to."""
        first = min((row.left for row, _ in self._rows), default=0)
        return max(1.0, (max(0, tokens) + first) / self._speed) if self._speed else 1.0

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # In the engine's thread.

    def _work(self) -> None:
        with torch.inference_mode():
            while True:
                with self._changed:
                    if not self._rows and not self._ready():
                        if self._closing and not self._waiting:
                            return
                        self._changed.wait(self._seconds_left())
                try:
                    self._turn()
                except Exception as error:  # nobody may be left waiting for a thread that has ended
                    self._fail_all(_said(error))

    def _ready(self) -> bool:
        """Whether there is something to do for those who wait: to end, or to admit."""
        return any(ticket.gone for ticket, _ in self._waiting) or any(map(self._admissible, self._waiting))

    def _admissible(self, waiting: tuple[Ticket, Future[Any] | None]) -> bool:
        """Whether all is there that an answer wants; its model begins to be read where it is not."""
        ticket, grammar = waiting
        there = self._shelf.there(ticket.request.model)
        return there and (grammar is None or grammar.done())

    def _seconds_left(self) -> float | None:
        """Until something is to be done that nobody calls for; None: nothing is."""
        now = time.monotonic()
        deadlines = [one.request.deadline for one, _ in self._waiting]
        seconds = [max(0.0, deadline - now) for deadline in deadlines if deadline is not None]
        seconds += [left for left in (self._shelf.seconds_left(),) if left is not None]
        return min(seconds, default=None)

    def _turn(self) -> None:
        begun, before = time.monotonic(), self._read + self._written
        self._end_those_gone()
        self._let_go()
        self._admit()
        self._read_one()
        self._write_all()
        done = self._read + self._written - before
        if done:
            speed = done / max(1e-6, time.monotonic() - begun)
            self._speed = _SPEED * self._speed + (1 - _SPEED) * speed if self._speed else speed

    def _end_those_gone(self) -> None:
        for row in [row for row, _ in self._rows if row.ticket.gone]:
            self._end(row, "cancelled")
        with self._changed:
            gone = [one for one in self._waiting if one[0].gone]
            for one in gone:
                self._waiting.remove(one)
            self._telling = bool(gone)
        for ticket, _ in gone:
            ticket.finish("cancelled")
        self._told()

    def _let_go(self) -> None:
        """Let go of models that nobody has asked for in a while; of prompts that were read, once none is left."""
        with self._changed:
            busy = {row.ticket.request.model for row, _ in self._rows}
            busy |= {ticket.request.model for ticket, _ in self._waiting}
        if self._shelf.let_go(busy) and not any(served.there for served in self.served.values()):
            self._prefixes.clear()

    def _admit(self) -> None:
        """Rows for those who wait, first come first served; who waits for a grammar is passed by."""
        while True:
            with self._changed:
                chosen = next(filter(self._admissible, self._waiting), None)
                if chosen is None or len(self._rows) >= self._limits.rows:
                    return
                ticket, grammar = chosen
                served = self.served[ticket.request.model]
                size = cost_of(ticket.request, served)
                if sum(taken for _, taken in self._rows) + size > self._limits.cache_bytes:
                    return
            try:
                matcher = None if grammar is None else Matcher(grammar.result().deep_copy())
                row = Row(ticket, self._shelf.take(served.name), self._prefixes, matcher)
            except Exception as error:
                row = None
                ticket.finish("failed", message=_said(error))
            with self._changed:  # a row counts from the moment it no longer waits
                self._waiting.remove(chosen)
                if row is not None:
                    self._rows.append((row, size))
                self._changed.notify_all()

    def _read_one(self) -> None:
        """A chunk of the prompt whose turn it is."""
        place = next((place for place, (row, _) in enumerate(self._rows) if row.reading), None)
        if place is None:
            return
        with self._changed:
            row, size = self._rows.pop(place)
            self._rows.append((row, size))
        try:
            with mode.computing(between=self._meanwhile):
                self._read += row.read()
            self._written += row.written
        except Exception as error:
            self._end(row, "failed", _said(error))
            return
        if row.done is not None:
            self._end(row, row.done)

    def _meanwhile(self) -> None:
        """Between two blocks of a model that reads a chunk: a step of all rows that have waited long for their next."""
        if time.thread_time() - self._stepped > _WAIT * self._step:
            self._write_all()

    def _write_all(self) -> None:
        """A step of all rows that are written."""
        begun = time.thread_time()
        for company in dict.fromkeys(one.company for one in tuple(self.served.values())):
            if company is not None:
                self._write(company)
        self._stepped = time.thread_time()
        self._step = self._stepped - begun

    def _write(self, company: Company) -> None:
        """A step of all rows of some models that are written."""
        ready = [row for row, _ in self._rows if not (row.reading or row.next < 0 or row.ticket.gone)]
        of_each = [[row for row in ready if row.served.name == name] for name in company.names]
        rows = [row for some in of_each for row in some]
        if not rows:
            return
        try:
            for row in rows:
                row.make_room(1)
            tokens = torch.tensor([row.next for row in rows])
            states = [row.state for row in rows if row.state is not None]
            logits, states = company.step([len(some) for some in of_each], tokens, states)
        except Exception as error:  # none of them can go on: their states may be half written
            for row in rows:
                self._end(row, "failed", _said(error))
            return
        self._steps += 1
        for row, one, state in zip(rows, logits.split(1), states, strict=True):
            row.state = state
            try:
                row.take(one)
                self._written += 1
            except Exception as error:
                self._end(row, "failed", _said(error))
                continue
            if row.done is not None:
                self._end(row, row.done)

    def _fail_all(self, message: str) -> None:
        for row in [row for row, _ in self._rows]:
            self._end(row, "failed", message)
        with self._changed:
            waiting, self._waiting = list(self._waiting), deque()
        for ticket, _ in waiting:
            ticket.finish("failed", message=message)
        self._told()

    def _end(self, row: Row, reason: Reason, message: str = "") -> None:
        """Take a row out, and say so: its bytes are free by then."""
        with self._changed:
            self._rows = [one for one in self._rows if one[0] is not row]
            self._telling = True
        row.state = None
        row.ticket.finish(reason, row.written, row.cached, message)
        self._told()

    def _told(self) -> None:
        with self._changed:
            self._telling = False
            self._changed.notify_all()


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, TextmillError) else f"{type(error).__name__}: {error}"


def _tokens(request: Request) -> int:
    return len(request.ids) + len(request.source or ()) + request.spec.tokens
