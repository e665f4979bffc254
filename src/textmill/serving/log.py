"""What is written down of requests, a line of JSON each, without a word of what they say; and what is counted.

    {"time": …, "id": …, "key": …, "method": …, "route": …, "status": …, "seconds": …, "model": …, tokens …}

`route` is the pattern of a route, never the address, which may hold somebody's words. Where it is asked for, the bodies
of requests are written, too.
"""

from __future__ import annotations

import datetime
import json
import secrets
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

_ALWAYS = (  # of every answer: nothing of it is kept by a browser, or taken for what it is not, or shown elsewhere
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)


@dataclass(eq=False)
class Figures:
    """What the service counts, as Prometheus reads it. engine: what the engine says of itself."""

    engine: Callable[[], Mapping[str, float]]
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.requests = Counter(
            "textmill_requests", "Requests by route and status", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "textmill_request_seconds",
            "Seconds from a request to the end of its answer",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.registry.register(self)  # type: ignore[arg-type]

    def collect(self) -> Any:
        """The engine's figures, as they are now."""
        for name, value in self.engine().items():
            yield GaugeMetricFamily(
                f"textmill_engine_{name}", f"Of the engine: {name.replace('_', ' ')}", value
            )

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)


@dataclass(frozen=True)
class Logged:
    """An ASGI application that writes down what becomes of another one's requests. texts: with their bodies."""

    app: Any
    write: Callable[[str], object]
    figures: Figures
    texts: bool = False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, body = time.perf_counter(), 0, b""
        scope.setdefault("state", {})
        note: dict[str, Any] = {}
        scope["state"] |= {"note": note, "id": f"req_{secrets.token_hex(12)}"}

        async def reading() -> Any:
            nonlocal body
            message = await receive()
            body += message.get("body", b"") if self.texts else b""
            return message

        async def writing(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = (b"x-request-id", scope["state"]["id"].encode())
                message = {**message, "headers": [*message["headers"], *_ALWAYS, named]}
            await send(message)

        try:
            await self.app(scope, reading, writing)
        except Exception as error:  # a mistake of ours: it is told without what the person wrote
            where = traceback.extract_tb(error.__traceback__)[-1]
            note["error"] = f"{type(error).__name__} at {where.filename.rpartition('/')[2]}:{where.lineno}"
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "")
            self.figures.requests.labels(route, str(status)).inc()
            self.figures.seconds.labels(route).observe(seconds)
            self.write(_line(scope, route, status, seconds, note, body))


def _line(
    scope: Mapping[str, Any],
    route: str,
    status: int,
    seconds: float,
    note: dict[str, Any],
    body: bytes,
) -> str:
    state = scope["state"]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "id": state["id"], "key": getattr(state.get("key"), "name", None)}
    line |= {"method": scope["method"][:10], "route": route, "status": status, "seconds": round(seconds, 4)}
    line |= note | ({"body": body.decode("utf-8", "replace")} if body else {})
    return json.dumps(line, ensure_ascii=False)
