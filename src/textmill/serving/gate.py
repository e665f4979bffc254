"""Who gets in. A page of a stranger, open in the same person's browser, must not; nor anybody without a key.

Host            names this machine: a name that was made to point here (DNS rebinding) does not
Origin          is none, or our own; `null` is a stranger's. Sec-Fetch-Site likewise, which a page cannot write
content type    of what changes or asks something is JSON, which no form and no request without preflight sends
Upgrade         is refused: there are no WebSockets, which know no such rules
key             of every route but /health, in `Authorization: Bearer` or `x-api-key`, never in an address
"""

from __future__ import annotations

import json
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from textmill.serving.keys import Key, Keys
from textmill.serving.refusals import Refusal, send_refusal

OPEN = "/health"
_IN_BODY = "/translate"  # LibreTranslate's clients write their key into the body
_READING = ("GET", "HEAD")
_ALLOWED = (*_READING, "POST", "DELETE")
_OURS = ("same-origin", "none")  # none: a person typed the address


@dataclass(frozen=True)
class Gate:
    """An ASGI application that lets through to another one what may come in. port: where the service listens.

    body_bytes: most of a body that is read before its key is known.
    """

    app: Any
    keys: Keys
    port: int
    body_bytes: int = 1 << 20
    hosts: frozenset[str] = field(init=False)
    origins: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = ["127.0.0.1", "localhost", "[::1]"]
        hosts = {f"{name}:{self.port}" for name in names} | (set(names) if self.port == 80 else set())
        object.__setattr__(self, "hosts", frozenset(hosts))
        object.__setattr__(self, "origins", frozenset(f"http://{host}" for host in hosts))

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket, which uvicorn is told to know nothing of
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            headers = _headers(scope["headers"])
            self._check_page(scope["method"], headers)
            if scope["path"] != OPEN:
                key, receive = await self._key(scope, headers, receive)
                scope["state"]["key"] = key
        except Refusal as refusal:
            await send_refusal(refusal, scope["path"], send, close=scope["method"] not in _READING)
            return
        await self.app(scope, receive, send)

    def _check_page(self, method: str, headers: dict[str, str]) -> None:
        """Raises Refusal where a stranger's page may be behind a request."""
        if headers.get("host", "").lower() not in self.hosts:
            raise Refusal(403, "This Host is not served here.", code="host_not_allowed")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self.origins:
            raise Refusal(403, "Pages of this Origin may not use the service.", code="origin_not_allowed")
        if headers.get("sec-fetch-site", "none") not in _OURS:
            raise Refusal(403, "Pages of other sites may not use the service.", code="origin_not_allowed")
        if "upgrade" in headers:
            raise Refusal(400, "There are no other protocols here.", code="upgrade_not_supported")
        if method not in _ALLOWED:
            raise Refusal(405, f"{method[:20]} is not used here.", code="method_not_allowed")
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if has_body or method == "POST":
            kind, _, parameters = headers.get("content-type", "").lower().partition(";")
            charset = parameters.partition("charset=")[2].strip().strip('"')
            if kind.strip() != "application/json" or charset not in ("", "utf-8", "utf8"):
                raise Refusal(
                    415,
                    "A body must be JSON in UTF-8, and say so: Content-Type: application/json.",
                    code="unsupported_media_type",
                )
            if "content-encoding" in headers:
                raise Refusal(415, "A body must not be compressed.", code="unsupported_media_type")

    async def _key(self, scope: Any, headers: dict[str, str], receive: Any) -> tuple[Key, Any]:
        """Whose request it is. Raises Refusal where nobody says, or they have come too often."""
        given = headers.get("x-api-key", "")
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            given = token.strip()
        if not given and scope["path"] == _IN_BODY and scope["method"] == "POST":
            given, receive = await self._key_in_body(receive)
        key = self.keys.find(given) if given else None
        if key is None:
            what = (
                "This is no key of the service." if given else "A key is needed: Authorization: Bearer KEY."
            )
            raise Refusal(401, what, code="invalid_api_key")
        if (wait := key.rate.take()) > 0:
            what = f"This key may ask {key.per_minute} times a minute."
            raise Refusal(429, what, code="rate_limit_exceeded", retry_after=wait)
        return key, receive

    async def _key_in_body(self, receive: Any) -> tuple[str, Any]:
        """The key in a body, and how the body is read once more."""
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                break
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > self.body_bytes:
                raise Refusal(413, f"The body is longer than {self.body_bytes} bytes.", code="body_too_large")
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Any:
            return waiting.pop() if waiting else await receive()

        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return "", again
        given = found.get("api_key") if isinstance(found, dict) else None
        return given if isinstance(given, str) else "", again


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name. Raises Refusal where one that decides who comes in stands there twice."""
    headers: dict[str, str] = {}
    for raw, value in pairs:
        name = raw.decode("latin-1").lower()
        if name in headers and name in _ONCE:
            raise Refusal(400, f"The header {name} is given twice.", code="invalid_header")
        headers[name] = value.decode("latin-1")
    return headers


_ONCE = frozenset(
    {"host", "origin", "authorization", "x-api-key", "content-type", "content-length", "sec-fetch-site"}
)
