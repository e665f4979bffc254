"""Chats, in the forms they are kept in: messages, ShareGPT, Alpaca.

    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi", "tool_calls": [...]}]}
    {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}], "system": "…"}
    {"instruction": "Translate", "input": "Hello", "output": "你好", "system": "…", "history": [["…", "…"]]}

The first is OpenAI's, whose content may also be a list of parts; the second ShareGPT's, with LLaMA-Factory's roles for
tools; the third Stanford Alpaca's. A list of messages alone, one a line, is a chat too. Columns of other names are told
by `columns = { messages = "turns" }`, or `instruction`, `input`, `output`, `system`, `tools`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from textmill.text.chats import MESSAGES, Message, taken_apart
from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats.records import metadata_of, unread, utf8, value_of
from textmill.text.sources.formats.stream import Fields, SetAside

# What others call those who speak, and what is kept as it is written.
_ROLES = {
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "observation": "tool",
    "function": "tool",
    "ipython": "tool",
}
_KNOWN = ("system", "developer", "user", "assistant", "tool")
_CALL = "function_call"  # who speaks where a turn is the call of a tool
_LISTS = ("messages", "conversations", "conversation")
_BESIDE = ("tool_calls", "tool_call_id", "name", "weight")  # kept of a message beside what it says
_REASONING = ("reasoning_content", "reasoning", "thinking")


def documents(record: Any, location: str, fields: Fields) -> Iterator[Document | Rejected]:
    """The chat of a record."""
    try:
        if isinstance(record, list):
            record = {MESSAGES: record}
        if not isinstance(record, dict):
            raise SetAside("is not a record", "a JSON object was expected")
        messages, taken = messages_of(record, fields)
        if not any(message.role == "assistant" for message in messages):
            raise SetAside("holds no answer", "no message is the assistant's")
        tools, key = tools_of(record, fields)
    except SetAside as error:
        yield unread(location, error.reason, error.detail)
        return
    texts, around = taken_apart({MESSAGES: messages}, tools)
    if not texts:
        yield unread(location, "holds no text")
        return
    yield collected(texts, location, metadata_of(record, fields, {*taken, key}) | around)


def messages_of(record: Mapping[str, Any], fields: Fields) -> tuple[list[Message], set[str]]:
    """The messages of a record, and the columns they are of. Raises SetAside where it has none, or wrong ones."""
    for name in (fields.column(MESSAGES, ""), *_LISTS):
        if name and (value := value_of(record, name)) is not None:
            system = value_of(record, fields.column("system", "system"))
            listed = messages(_parsed(value))
            if isinstance(system, str) and system.strip() and (not listed or listed[0].role != "system"):
                listed.insert(0, Message("system", utf8(system)))
            return listed, {name, "system"}
    if value_of(record, fields.column("instruction", "instruction")) is not None:
        return _alpaca(record, fields)
    there = ", ".join(map(str, list(record)[:12])) or "nothing"
    raise SetAside(
        "holds no chat", f'it has {there}; name what holds it, such as columns = {{ messages = "turns" }}'
    )


def messages(value: Any) -> list[Message]:
    """Messages of a list of them. Raises SetAside for anything else."""
    if not isinstance(value, list) or not value:
        raise SetAside("is not a list of messages", "one object per turn was expected")
    return [message(one, number) for number, one in enumerate(value, 1)]


def message(value: Any, number: int = 1) -> Message:
    """A message of an object, in either form. Raises SetAside for anything else, with its number."""
    if not isinstance(value, dict):
        raise SetAside("has a message that is not an object", f"message {number}")
    said_by = value.get("role", value.get("from"))
    content = value.get("content", value.get("value"))
    if not isinstance(said_by, str) or not said_by.strip():
        raise SetAside("has a message without a role", f"message {number}")
    said_by = said_by.strip().lower()
    if said_by == _CALL:
        return Message("assistant", more={"tool_calls": _calls(content, number)})
    role = _ROLES.get(said_by, said_by)
    if role not in _KNOWN:
        raise SetAside("has a message of an unknown role", f"message {number}: {said_by!r}")
    more = {name: value[name] for name in _BESIDE if value.get(name) is not None}
    if isinstance(value.get(_CALL), dict):  # OpenAI's older form
        more["tool_calls"] = [{"type": "function", "function": value[_CALL]}]
    if "tool_calls" in more:
        more["tool_calls"] = [_call(call, number) for call in _list(more["tool_calls"], number)]
    if content is None and "tool_calls" not in more:
        raise SetAside("has a message without content", f"message {number}")
    reasoning = next((value[name] for name in _REASONING if isinstance(value.get(name), str)), "")
    return Message(role, utf8(_content(content, number)), utf8(reasoning), more)


def _content(value: Any, number: int) -> str:
    """What a message says: text, or the texts of its parts. Raises SetAside for pictures and sounds."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    parts = []
    for part in value:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            kind = part.get("type", "a part") if isinstance(part, dict) else "a part"
            raise SetAside("has a message that is not text", f"message {number}: {kind}")
        parts.append(text)
    return "\n".join(parts)


def _list(value: Any, number: int) -> list[Any]:
    value = _parsed(value)
    if not isinstance(value, list):
        raise SetAside("has a malformed tool call", f"message {number}")
    return value


def _calls(content: Any, number: int) -> list[dict[str, Any]]:
    """The calls of tools that a turn of their own says, as JSON in a text."""
    value = _parsed(content)
    return [_call(call, number) for call in (value if isinstance(value, list) else [value])]


def _call(value: Any, number: int) -> dict[str, Any]:
    """A call of a tool: {"type": "function", "function": {"name": …, "arguments": {…}}}, arguments as an object where
    they are the JSON of one."""
    if not isinstance(value, dict):
        raise SetAside("has a malformed tool call", f"message {number}")
    around = value if isinstance(value.get("function"), dict) else {"type": "function", "function": value}
    function = around["function"]
    if not isinstance(function.get("name"), str):
        raise SetAside("has a tool call without a name", f"message {number}")
    if "arguments" in function:
        function = {**function, "arguments": _parsed(function["arguments"])}
    return {**around, "function": function}


def _parsed(value: Any) -> Any:
    """JSON that was written into a text, as its value; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def tools_of(record: Mapping[str, Any], fields: Fields) -> tuple[Any, str]:
    """The tools that may be called, and their column."""
    name = fields.column("tools", "tools" if "tools" in record else "functions")
    return _parsed(value_of(record, name)) or None, name


def _alpaca(record: Mapping[str, Any], fields: Fields) -> tuple[list[Message], set[str]]:
    """Instruction and input, behind an empty line, ask; output answers. Turns of before are `history`."""
    names = {
        name: fields.column(name, name) for name in ("system", "instruction", "input", "output", "history")
    }
    values = {name: value_of(record, column) for name, column in names.items()}
    for name in ("instruction", "output"):
        if not isinstance(values[name], str):
            raise SetAside(f"has no {name}", "an instruction and an output were expected")
    before = [] if not isinstance(values["system"], str) else [("system", values["system"])]
    history = values["history"] if isinstance(values["history"], list) else []
    for turn in history:
        if not isinstance(turn, list) or len(turn) != 2 or not all(isinstance(text, str) for text in turn):
            raise SetAside("has a malformed history", "pairs of texts were expected")
        before += [("user", turn[0]), ("assistant", turn[1])]
    asked = [text.strip() for name in ("instruction", "input") if isinstance(text := values[name], str)]
    turns = [*before, ("user", "\n\n".join(filter(None, asked))), ("assistant", values["output"])]
    empty = next((role for role, text in turns[len(before) :] if not text.strip()), "")
    if empty:
        raise SetAside("has an empty turn", f"of the {empty}")
    return [Message(role, utf8(text)) for role, text in turns if text.strip()], set(names.values())
