"""Tools in a conversation: how they are offered and called where a template has no place for them, and what was called.

Many templates write roles and contents alone. A call would then be nothing at all, so what the template does not write
is written into the contents, in the form that Hermes and Qwen made common:

    the system message   lists the tools, and says how one is called
    the assistant        <tool_call>{"name": …, "arguments": {…}}</tool_call>, behind what it says
    what a tool gave     <tool_response>…</tool_response>, as the user's, where the template knows no other role

A template that has a place of its own is given calls and tools as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textmill.tokenization.chat.template import ChatTemplate

Message = Mapping[str, Any]
_OFFERED = (
    "You may call functions. Here are their signatures:\n<tools>\n{}\n</tools>\n"
    "To call one, write a JSON object with its name and arguments:\n"
    '<tool_call>\n{{"name": "NAME", "arguments": {{"ARGUMENT": "VALUE"}}}}\n</tool_call>'
)
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.DOTALL)
_TAKEN = re.compile("[A-Za-z0-9]{9}")
_DECODER = json.JSONDecoder()
# JSON Schema's types, of arguments.
_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def spelt_out(
    template: ChatTemplate, messages: Sequence[Message], tools: Any = None
) -> tuple[list[Message], Any]:
    """The messages and tools as this template can write all of them; nothing but calls' ids is changed where it can."""
    made = list(messages)
    if tools and not template.offers_tools:
        offered = _OFFERED.format("\n".join(map(_json, tools if isinstance(tools, list) else [tools])))
        first = made[0] if made and made[0]["role"] == "system" else None
        if template.system:
            said = f"{_text(first)}\n\n{offered}" if first is not None else offered
            made = [{"role": "system", "content": said}, *made[first is not None :]]
        else:
            place = next((at for at, message in enumerate(made) if message["role"] == "user"), None)
            if place is not None:
                made[place] = {**made[place], "content": f"{offered}\n\n{_text(made[place])}"}
        tools = None
    if any("tool_calls" in message for message in made):
        if template.writes_calls:
            made = _with_ids(made)
        else:
            made = [_with_calls(message) if "tool_calls" in message else message for message in made]
    if any(message["role"] == "tool" for message in made) and not template.knows_tools:
        made = [_as_users(message) if message["role"] == "tool" else message for message in made]
    return made, tools


def _with_ids(messages: Sequence[Message]) -> list[Message]:
    """The same, where each call has an id as every template takes it: nine letters and digits (Mistral's want them)."""
    made: list[Message] = []
    waiting: list[str] = []  # ids of calls whose results have not come yet
    for number, message in enumerate(messages):
        if message.get("tool_calls"):
            calls = [
                {**call, "id": _nine(call.get("id") or f"{number} {at}")}
                for at, call in enumerate(message["tool_calls"])
            ]
            waiting = [call["id"] for call in calls]
            made.append({**message, "tool_calls": calls})
        elif message["role"] == "tool":
            given = message.get("tool_call_id")
            id = _nine(given) if given else next(iter(waiting), None)
            waiting = [one for one in waiting if one != id]
            made.append(message if id is None else {**message, "tool_call_id": id})
        else:
            made.append(message)
    return made


def _nine(id: str) -> str:
    if _TAKEN.fullmatch(id):
        return id
    return hashlib.blake2b(id.encode("utf-8", "replace"), digest_size=5).hexdigest()[:9]


def _with_calls(message: Message) -> Message:
    calls = [_json(call.get("function", call)) for call in message["tool_calls"]]
    written = [f"<tool_call>\n{call}\n</tool_call>" for call in calls]
    said = "\n".join(filter(None, (_text(message), *written)))
    return {key: value for key, value in message.items() if key != "tool_calls"} | {"content": said}


def _as_users(message: Message) -> Message:
    return {"role": "user", "content": f"<tool_response>\n{_text(message)}\n</tool_response>"}


def _text(message: Message) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Call:
    """A function that was called. arguments: an object, as JSON has it."""

    name: str
    arguments: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """As a message holds it."""
        return {"type": "function", "function": {"name": self.name, "arguments": dict(self.arguments)}}


def fits(call: Call, tools: Any) -> bool:
    """Whether a call is one of a tool that is offered, with every argument that this needs, none that it does not know,
    and each of its JSON type. What is inside of lists and objects is not looked at. tools: None where none is named.

    >>> tools = [{"name": "add", "parameters": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}}]
    >>> [fits(Call("add", given), tools) for given in ({"a": 1}, {"a": "1"}, {}, {"a": 1, "b": 2})]
    [True, False, False, False]
    """
    if tools is None:
        return True
    listed = [one for one in (tools if isinstance(tools, list) else [tools]) if isinstance(one, dict)]
    named = (function for one in listed if isinstance(function := one.get("function", one), dict))
    tool = next((one for one in named if one.get("name") == call.name), None)
    if tool is None:
        return False
    schema = tool.get("parameters")
    schema = schema if isinstance(schema, dict) else {}
    known, needed = schema.get("properties") or {}, schema.get("required") or ()
    return all(name in call.arguments for name in needed) and all(
        name in known and _of_kind(value, known[name]) for name, value in call.arguments.items()
    )


def _of_kind(value: Any, schema: Any) -> bool:
    """Whether a value is of a type that a schema names, or of any where it names none that JSON Schema has."""
    named = schema.get("type") if isinstance(schema, dict) else None
    listed = named if isinstance(named, list) else [named]
    kinds = [kind for kind in listed if isinstance(kind, str) and kind in _KINDS]
    return not kinds or any(
        isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
        for kind in kinds
    )


def calls_in(text: str) -> list[Call]:
    """The calls in what an assistant said, in their order: JSON in <tool_call>, or all of the text if it is JSON.

    What cannot be read as one is none.

    >>> calls_in('Let me see. <tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>')
    [Call(name='add', arguments={'a': 1})]
    >>> calls_in('{"name": "add", "parameters": {}}'), calls_in("It is 3.")
    ([Call(name='add', arguments={})], [])
    """
    found: list[Call] = []
    for part in _CALL.findall(text) or ([text.strip()] if text.strip()[:1] in ("{", "[") else []):
        try:
            value, _ = _DECODER.raw_decode(part)
        except (ValueError, RecursionError):
            continue
        for one in value if isinstance(value, list) else [value]:
            if (call := _call(one)) is not None:
                found.append(call)
    return found


def _call(value: Any) -> Call | None:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    return Call(value["name"], arguments) if isinstance(arguments, dict) else None
