"""What the engine writes becomes an answer: whole, or as a stream of events. Who goes away is written for no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request as HttpRequest
from starlette.responses import Response

from textmill.base.errors import TextmillError
from textmill.inference.engine import Ticket
from textmill.inference.requests import (
    Event,
    Finished,
    Overloaded,
    Request,
    Token,
    TooLong,
    UnknownModel,
    Usage,
)
from textmill.inference.requests import Read as ReadPrompt
from textmill.serving.patience import Gone
from textmill.serving.refusals import Refusal, style_of, too_long
from textmill.serving.service import Service


@dataclass
class Answer:
    """One answer so far. read: the tokens of its prompt, where they were asked for."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    read: tuple[Token, ...] = ()
    finished: Finished | None = None

    def take(self, event: Event) -> None:
        """Add what the engine says."""
        if isinstance(event, Token):
            self.tokens.append(event)
            self.text += event.text
        elif isinstance(event, ReadPrompt):
            self.read = event.tokens
        else:
            self.finished = event


class Writing:
    """Requests under way. `async for number, event in writing` until all have finished; `cancel` ends them."""

    def __init__(self, service: Service, requests: Sequence[Request], http: HttpRequest) -> None:
        self.service, self.requests, self.http = service, requests, http
        self._queue: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._tickets: list[Ticket] = []

    async def begin(self) -> Writing:
        """Hand them to the engine. Raises Refusal for what it does not take; then none of them is written."""
        try:
            for number, request in enumerate(self.requests):
                if request.constraint is not None:  # a grammar is compiled, which takes a while
                    engine = self.service.engine
                    engine.check_room(request)
                    await asyncio.wrap_future(
                        engine.compiled(request.model, request.constraint, request.ends)
                    )
                self._submit(number, request)
        except BaseException as error:
            self.cancel()
            if isinstance(error, TextmillError):
                raise refused(error) from error
            raise
        return self

    def _submit(self, number: int, request: Request) -> None:
        def listener(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._queue.put_nowait, (number, event))

        self._tickets.append(self.service.engine.submit(request, listener))

    def cancel(self) -> None:
        """End them; those that have finished already do not mind."""
        for ticket in self._tickets:
            ticket.cancel()

    async def __aiter__(self) -> AsyncIterator[tuple[int, Event]]:
        left = len(self._tickets)
        while left:
            number, event = await self._queue.get()
            if isinstance(event, Finished):
                left -= 1
                self.note(event.usage)
                if event.reason == "failed":
                    raise Refusal(500, f"The model failed: {event.message}", code="model_failed")
            yield number, event

    def note(self, usage: Usage) -> None:
        """For the access log: how much was read and written."""
        note = self.http.state.note
        note["model"] = self.requests[0].model
        for name in ("prompt", "cached", "written"):
            note[f"{name}_tokens"] = note.get(f"{name}_tokens", 0) + getattr(usage, name)

    async def answers(self) -> list[Answer]:
        """All of them, whole. Raises Gone when the client has gone away, and they are ended then."""
        answers = [Answer() for _ in self.requests]
        with _cancelled_when_gone(self, self.http.receive):
            async for number, event in self:
                answers[number].take(event)
        if any(one.finished is not None and one.finished.reason == "cancelled" for one in answers):
            raise Gone
        return answers


def refused(error: TextmillError) -> Refusal:
    """What the engine does not take, as a client is told."""
    if isinstance(error, Overloaded):
        what = "More is being asked than can be answered: ask again later."
        return Refusal(429, what, code="overloaded", retry_after=error.retry_after)
    if isinstance(error, TooLong):
        return too_long(error.length, error.longest)
    if isinstance(error, UnknownModel):
        return Refusal(
            404, f"There is no model {error.name[:100]!r} here.", code="model_not_found", param="model"
        )
    return Refusal(400, str(error), code="not_possible")


def total(answers: Sequence[Answer], n: int = 1) -> Usage:
    """Tokens of all answers together; a prompt that has `n` answers counts once."""
    usages = [one.finished.usage for one in answers if one.finished is not None]
    firsts = usages[::n]
    return Usage(
        sum(one.prompt for one in firsts),
        sum(one.cached for one in firsts),
        sum(one.written for one in usages),
    )


@contextlib.contextmanager
def _cancelled_when_gone(writing: Writing, receive: Any) -> Any:
    """Inside, the writing is cancelled as soon as the client has gone; and in any case when the block ends."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        writing.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        writing.cancel()


class EventStream(Response):
    """Server-sent events, made while the engine writes. An error after the first event is an event, too."""

    media_type = "text/event-stream"

    def __init__(
        self, writing: Writing, events: AsyncIterator[str], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(headers=dict(headers or {}))
        del self.headers["content-length"]
        self._writing, self._events = writing, events

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with _cancelled_when_gone(self._writing, receive):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            try:
                async for event in self._events:
                    await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
            except Refusal as refusal:
                body = refusal.body(style_of(scope["path"]))
                data = event_of(body, "error" if style_of(scope["path"]) == "anthropic" else None)
                await send({"type": "http.response.body", "body": data.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def event_of(data: Any, name: str | None = None) -> str:
    """An event of a stream."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n" if name is None else f"event: {name}\ndata: {text}\n\n"
