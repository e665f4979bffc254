"""The Model Context Protocol over stdio: an agent on this machine calls tools of ours by JSON-RPC 2.0, a line each.

https://modelcontextprotocol.io/specification/2025-06-18. Of the protocol this is the part about tools: a greeting that
agrees on a version, `ping`, `tools/list`, `tools/call`. What a tool gives is text and the same as plain data. An error
of a tool is told as its result, so that the model reads it; one of the protocol as an error of JSON-RPC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from textmill.base.errors import TextmillError

VERSIONS = ("2025-06-18", "2025-03-26", "2024-11-05")  # the newest first
_PARSE, _REQUEST, _METHOD, _PARAMETERS, _INTERNAL = -32700, -32600, -32601, -32602, -32603
_LONGEST = 1 << 20  # characters of a message


@dataclass(frozen=True)
class Tool:
    """Something an agent may call. arguments: its properties, as JSON Schema; act: gives plain data for them."""

    name: str
    description: str
    arguments: Mapping[str, Mapping[str, Any]]
    required: Sequence[str]
    act: Callable[..., Any]

    def plain(self) -> dict[str, Any]:
        """As `tools/list` tells of it."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": dict(self.arguments),
                "required": list(self.required),
                "additionalProperties": False,
            },
            "annotations": {"readOnlyHint": True, "openWorldHint": False},
        }


class Refused(Exception):
    """What JSON-RPC answers with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def serve(tools: Sequence[Tool], asked: Iterable[str], said: IO[str], *, version: str) -> int:
    """Answer each line of `asked` by one of `said`, until there is no more; how many were answered.

    version: of Textmill. Nothing but tools given here is ever called, and a tool only with what its schema names.
    """
    named, count = {tool.name: tool for tool in tools}, 0
    for line in asked:
        if answer := respond(named, line, version):
            said.write(json.dumps(answer) + "\n")
            said.flush()
            count += 1
    return count


def respond(tools: Mapping[str, Tool], line: str, version: str) -> dict[str, Any] | None:
    """The answer to a line; None where none is wanted."""
    if not line.strip():
        return None
    try:
        if len(line) > _LONGEST:
            raise Refused(_REQUEST, f"a message is at most {_LONGEST:,} characters long")
        try:
            request = json.loads(line)
        except ValueError as error:
            raise Refused(_PARSE, "is not JSON") from error
        if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
            raise Refused(_REQUEST, "is not a request of JSON-RPC 2.0")
    except Refused as error:
        return _error(None, error.code, str(error))
    number, method, given = request.get("id"), request.get("method"), request.get("params") or {}
    if (
        "id" not in request or "method" not in request
    ):  # a notification, or an answer to a question we never ask
        return None
    try:
        if not isinstance(given, dict):
            raise Refused(_PARAMETERS, "params are an object")
        return {"jsonrpc": "2.0", "id": number, "result": _result(tools, method, given, version)}
    except Refused as error:
        return _error(number, error.code, str(error))
    except Exception as error:  # a fault of ours ends one call, not the agent's whole session
        return _error(number, _INTERNAL, f"{type(error).__name__}: {error}")


def _result(tools: Mapping[str, Tool], method: object, given: dict[str, Any], version: str) -> dict[str, Any]:
    if method == "initialize":
        wanted = given.get("protocolVersion")
        return {
            "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": {"name": "textmill", "version": version},
        }
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": [tool.plain() for tool in tools.values()]}
    if method == "tools/call":
        tool = tools.get(str(given.get("name")))
        if tool is None:
            raise Refused(
                _PARAMETERS, f"there is no tool {given.get('name')!r}; there are {', '.join(tools)}"
            )
        return _called(tool, given.get("arguments") or {})
    raise Refused(_METHOD, f"there is no method {method!r}")


def _called(tool: Tool, given: Any) -> dict[str, Any]:
    """What a tool gives, or what is wrong with its arguments, as its result."""
    wrong = _wrong(tool, given)
    if wrong:
        return {"content": [{"type": "text", "text": wrong}], "isError": True}
    try:
        found = tool.act(**given)
    except TextmillError as error:
        return {"content": [{"type": "text", "text": str(error)}], "isError": True}
    text = json.dumps(found, ensure_ascii=False, indent=1)
    return {"content": [{"type": "text", "text": text}], "structuredContent": found, "isError": False}


_TYPES = {"string": str, "integer": int, "array": list}


def _wrong(tool: Tool, given: Any) -> str:
    """What is wrong with some arguments; nothing where nothing is."""
    if not isinstance(given, dict):
        return "arguments are an object"
    for name in tool.required:
        if name not in given:
            return f"{name} is missing"
    for name, value in given.items():
        if name not in tool.arguments:
            return f"{tool.name} has no argument {name!r}; it has {', '.join(tool.arguments)}"
        about = tool.arguments[name]
        if not isinstance(value, _TYPES[about["type"]]) or isinstance(value, bool):
            return f"{name} is of the type {about['type']}"
        if isinstance(value, str) and not value.strip():
            return f"{name} is empty"
        if value not in about.get("enum", [value]):
            return f"{name} is one of {', '.join(map(str, about['enum']))}"
        if isinstance(value, int) and not about.get("minimum", value) <= value <= about.get("maximum", value):
            return f"{name} is {about['minimum']} to {about['maximum']}"
    return ""


def _error(number: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}
