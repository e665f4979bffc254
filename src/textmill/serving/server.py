"""The service on a socket of this machine: uvicorn, with a deadline for headers, and an end that loses no answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from textmill.base.errors import TextmillError
from textmill.base.signals import handled
from textmill.serving.patience import Patience
from textmill.serving.service import Service

HOST = "127.0.0.1"
_HEADERS = 64 << 10  # bytes of a request's first line and headers
_CONNECTIONS = 512


def listen(port: int) -> socket.socket:
    """A socket on the loopback of this machine; port 0: any that is free. Raises TextmillError for one that is not."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
    except OSError as error:
        found.close()
        taken = error.errno == errno.EADDRINUSE
        raise TextmillError(
            "is used by another program" if taken else f"cannot be listened on ({error.strerror})",
            where=f"port {port}",
            advice="choose another one with --port, or 0 for any that is free",
        ) from error
    return found


class _Protocol(H11Protocol):
    """HTTP/1.1 that ends a connection whose headers do not come in time, and tells applications which one is theirs."""

    header_seconds = Patience.header_seconds

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.app_state = {**self.app_state, "connection": self}
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait_for_headers()
        else:
            self._have_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_headers()
        super().connection_lost(exc)

    def _wait_for_headers(self) -> None:
        if self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(self.header_seconds, self.transport.abort)

    def _have_headers(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Server(uvicorn.Server):
    """Runs the service until SIGTERM or Ctrl-C; then nothing new is taken, and what was taken is finished. The second
    signal ends it at once."""

    def __init__(
        self,
        app: Any,
        service: Service,
        started: Callable[[], object] = lambda: None,
        *,
        idle: float | None = None,
    ) -> None:
        """started: called once it listens. idle: seconds without a request after which it ends; None: never."""
        patience = service.patience
        protocol = type("Protocol", (_Protocol,), {"header_seconds": patience.header_seconds})
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(1, round(patience.drain_seconds)),
                limit_concurrency=_CONNECTIONS,
                h11_max_incomplete_event_size=_HEADERS,
            )
        )
        self._service, self._told, self._idle = service, started, idle
        self._asked, self._seen = time.monotonic(), 0
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # our own log says what happens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._told()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end, looked at ten times a second."""
        if self.server_state.tasks or self.server_state.total_requests != self._seen:
            self._asked, self._seen = time.monotonic(), self.server_state.total_requests
        if self._idle is not None and time.monotonic() - self._asked >= self._idle:
            return True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, and finish what was taken, within the patience of the service."""
        self._service.draining = True
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        """Signals end the service; unlike uvicorn's, they are not raised once more after a good end."""
        with handled(self.handle_exit, signal.SIGINT, signal.SIGTERM):
            yield

    def handle_exit(self, sig: int, frame: Any) -> None:
        """The first signal ends it well, the second at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
