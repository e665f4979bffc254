"""Messages and functions of a conversation in OpenAI's shape, and as a chat template takes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from textmill.serving.bodies import Body, Content, Text, Unheeded, plain
from textmill.serving.refusals import Refusal
from textmill.serving.tools import Offer

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]


class CalledFunction(Body):
    """A function that an assistant called."""

    name: _Name
    arguments: Text


class ToolCall(Body):
    """A call of an assistant's."""

    id: Annotated[str, Field(max_length=200)]
    type: Literal["function"] = "function"
    function: CalledFunction
    index: Unheeded


class Message(Body):
    """What somebody said. A developer's message is the system's."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: Annotated[str, Field(max_length=200)] | None = None
    refusal: Unheeded
    annotations: Unheeded
    audio: Unheeded
    reasoning: Unheeded  # what was thought before an answer is no part of a conversation that goes on
    reasoning_content: Unheeded


class Function(Body):
    """A function that may be called: its arguments are an object of this JSON Schema."""

    name: _Name
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: Unheeded  # arguments always follow the schema


class Tool(Body):
    """A function that is offered."""

    type: Literal["function"]
    function: Function


class Named(Body):
    """The name of a function."""

    name: _Name


class Chosen(Body):
    """The one function that is to be called."""

    type: Literal["function"]
    function: Named


ToolChoice = Literal["none", "auto", "required"] | Chosen


def plainly(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as a chat template takes them: system messages at the beginning are one, arguments are objects, and what
    a tool gave says which. Raises Refusal for a call that does not fit."""
    made: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        role = "system" if message.role == "developer" else message.role
        text = plain(message.content)
        if message.content is None and not (role == "assistant" and message.tool_calls):
            raise Refusal(400, "A message has a content.", code="missing_value", param=where)
        if role != "assistant" and message.tool_calls:
            raise Refusal(400, "Only an assistant calls functions.", code="invalid_value", param=where)
        if role == "system" and made and made[-1]["role"] == "system":
            made[-1]["content"] += f"\n\n{text}"
            continue
        one: dict[str, Any] = {"role": role, "content": text}
        if role == "tool":
            if message.tool_call_id not in names:
                what = "tool_call_id names no call of the messages before."
                raise Refusal(400, what, code="invalid_value", param=f"{where}.tool_call_id")
            one |= {"name": names[message.tool_call_id], "tool_call_id": message.tool_call_id}
        elif message.name is not None:
            one["name"] = message.name
        if message.tool_calls:
            one["tool_calls"] = [_call(call, where) for call in message.tool_calls]
            names |= {call.id: call.function.name for call in message.tool_calls}
        made.append(one)
    return made


def _call(call: ToolCall, where: str) -> dict[str, Any]:
    try:
        given = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError) as error:
        what = "The arguments of a call are JSON in a string."
        raise Refusal(400, what, code="invalid_value", param=f"{where}.tool_calls") from error
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": given},
    }


def offer(tools: Sequence[Tool] | None, choice: ToolChoice | None, *, parallel: bool = True) -> Offer | None:
    """The functions a model may call; None: none. Raises Refusal for a choice of one that is not offered."""
    functions = tuple(
        {
            key: value
            for key, value in tool.function.model_dump(exclude={"strict"}).items()
            if value is not None
        }
        for tool in tools or ()
    )
    return offered(
        functions, choice if choice is None or isinstance(choice, str) else choice.function.name, parallel
    )


def offered(functions: Sequence[dict[str, Any]], choice: str | None, parallel: bool) -> Offer | None:
    """The same of functions as they are. choice: none, auto, required, or a function's name."""
    names = [function["name"] for function in functions]
    if len(set(names)) < len(names):
        raise Refusal(400, "Two functions have the same name.", code="invalid_value", param="tools")
    if choice in (None, "auto", "none"):
        return Offer(tuple(functions), parallel=parallel) if names and choice != "none" else None
    if not names or (choice != "required" and choice not in names):
        raise Refusal(
            400, "tool_choice names no function of tools.", code="invalid_value", param="tool_choice"
        )
    if choice == "required":
        return Offer(tuple(functions), "required", None, parallel)
    return Offer(tuple(functions), "required", choice, False)
