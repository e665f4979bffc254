"""What is refused, and how each client wants to be told: OpenAI's, Anthropic's or LibreTranslate's error body."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from starlette.exceptions import HTTPException

Style = Literal["openai", "anthropic", "libretranslate"]
_KINDS = {  # status: the type of an error in OpenAI's and in Anthropic's words
    400: ("invalid_request_error", "invalid_request_error"),
    401: ("authentication_error", "authentication_error"),
    403: ("permission_error", "permission_error"),
    404: ("not_found_error", "not_found_error"),
    405: ("invalid_request_error", "invalid_request_error"),
    408: ("timeout_error", "timeout_error"),
    413: ("invalid_request_error", "request_too_large"),
    415: ("invalid_request_error", "invalid_request_error"),
    429: ("rate_limit_error", "rate_limit_error"),
    503: ("overloaded_error", "overloaded_error"),
}


class Refusal(HTTPException):
    """A request that is not carried out, and why. param: the field that is wrong; code: a word for programs.

    An HTTPException, since FastAPI makes another error of whatever else is raised while a body is read.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        if status in (408, 413):  # the rest of the body is not read
            headers["connection"] = "close"
        if retry_after is not None:  # in whole seconds
            headers["retry-after"] = str(max(1, math.ceil(retry_after)))
        message = message.encode("utf-8", "replace").decode()
        super().__init__(status, message, headers)
        self.message, self.code, self.param = message, code, param

    def body(self, style: Style) -> dict[str, Any]:
        """The error as a client of this style reads it."""
        openai, anthropic = _KINDS.get(self.status_code, ("server_error", "api_error"))
        if style == "libretranslate":
            return {"error": self.message}
        if style == "anthropic":
            return {"type": "error", "error": {"type": anthropic, "message": self.message}}
        error = {"message": self.message, "type": openai, "param": self.param, "code": self.code}
        return {"error": error}


def style_of(path: str) -> Style:
    """How the clients of a path want to be told."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return "anthropic"
    return "libretranslate" if path in ("/translate", "/languages") else "openai"


def too_long(length: int, longest: int, param: str = "messages") -> Refusal:
    """A prompt that the model cannot read: it is never cut."""
    return Refusal(
        400,
        f"This model reads at most {longest} tokens, and the prompt has {length}: shorten it.",
        code="context_length_exceeded",
        param=param,
    )


async def send_refusal(
    refusal: Refusal, path: str, send: Any, more: Mapping[str, str] | None = None, *, close: bool = False
) -> None:
    """Answer with a refusal. close: the connection ends with it, since the rest of the request is not read."""
    data = json.dumps(refusal.body(style_of(path)), ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(data))}
    headers |= dict(refusal.headers or {}) | dict(more or {}) | ({"connection": "close"} if close else {})
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status_code, "headers": pairs})
    await send({"type": "http.response.body", "body": data})
