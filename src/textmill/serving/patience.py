"""How much of a client's the service reads, and how long it waits for one that is slow, since uvicorn waits for ever.

body_bytes       most of a body                              else 413
body_seconds     until all of a body is there                else 408
header_seconds   until the headers of a request are there    else the connection ends (see server.py)
write_seconds    until a client has read what was sent       else the connection ends, and its request with it
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from textmill.serving.refusals import Refusal, send_refusal


@dataclass(frozen=True)
class Patience:
    """Bytes and seconds, as above; drain_seconds: how long accepted requests may take once the service is to end."""

    body_bytes: int = 8 << 20
    body_seconds: float = 30.0
    header_seconds: float = 10.0
    write_seconds: float = 30.0
    drain_seconds: float = 60.0


class Gone(Exception):
    """The client reads no more."""


@contextlib.contextmanager
def until_gone(receive: Any, end: Callable[[], object]) -> Iterator[None]:
    """Inside, `end` is called as soon as the client has gone; and in any case when the block ends."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        end()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        end()


@dataclass(frozen=True)
class Patient:
    """An ASGI application that reads and writes for another one, within these limits."""

    app: Any
    patience: Patience

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limits, read, whole, begun = self.patience, 0, False, False
        until = asyncio.get_running_loop().time() + limits.body_seconds

        async def reading() -> Any:
            nonlocal read, whole
            if whole:  # from here on it only says when the client has gone
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise Refusal(408, "The body did not come in time.", code="request_timeout") from error
            read += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if read > limits.body_bytes:
                raise self._too_large()
            return message

        async def writing(message: Any) -> None:
            nonlocal begun
            begun = True
            try:
                async with asyncio.timeout(limits.write_seconds):
                    await send(message)
            except TimeoutError as error:
                if (connection := scope["state"].get("connection")) is not None:
                    connection.transport.abort()  # what is sent already waits for nobody
                raise Gone from error

        length = dict(scope["headers"]).get(b"content-length", b"0")
        try:
            if not length.isdigit() or int(length[:20]) > limits.body_bytes:
                raise self._too_large()
            await self.app(scope, reading, writing)
        except Refusal as refusal:
            if not begun:
                await send_refusal(refusal, scope["path"], send, close=True)
        except Gone:
            pass

    def _too_large(self) -> Refusal:
        return Refusal(
            413, f"The body is longer than {self.patience.body_bytes} bytes.", code="body_too_large"
        )
