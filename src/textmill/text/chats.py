"""Chats within documents: each turn is a text of its own, and what stands around the turns is metadata.

    texts    {"user 1": "Hello", "assistant 2": "Hi", "assistant 3 reasoning": …}
    @chat    {"messages": [{"role": "user"}, {"role": "assistant"}, …], "tools": […]}    metadata, JSON: who says what,
             which tools are called, which may be

So whatever is done to texts is done to each turn, and never to the JSON around it. A pair of which one answer is
preferred is a chat with two ends, `chosen` and `rejected`, whose roles begin with that word: "chosen assistant 3".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

CHAT = "@chat"
MESSAGES, CHOSEN, REJECTED, TOOLS = "messages", "chosen", "rejected", "tools"
SECTIONS = (MESSAGES, CHOSEN, REJECTED)
_REASONING = "reasoning"


@dataclass(frozen=True)
class Message:
    """One turn. `more`: what else is said of it, such as `tool_calls`, `name` and `tool_call_id`, as JSON has it."""

    role: str
    content: str = ""
    reasoning: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


def taken_apart(
    sections: Mapping[str, Sequence[Message]], tools: Any = None
) -> tuple[dict[str, str], dict[str, str]]:
    """(texts by role, metadata) of a document of these messages, by section: `messages`, or also `chosen` and
    `rejected`, whose turns are numbered on from those of `messages`. tools: those that may be called, as JSON has them.
    """
    texts: dict[str, str] = {}
    around: dict[str, Any] = {section: [] for section in SECTIONS if section in sections}
    for section, listed in around.items():
        for key, message in zip(_keys(sections, section), sections[section], strict=True):
            for role, text in ((key, message.content), (f"{key} {_REASONING}", message.reasoning)):
                if text.strip():
                    texts[role] = text
            listed.append({"role": message.role, **message.more})
    if tools:
        around[TOOLS] = tools
    return texts, {CHAT: json.dumps(around, ensure_ascii=False)}


def put_together(texts: Mapping[str, str], metadata: Mapping[str, str]) -> dict[str, list[Message]]:
    """The messages of a document's sections; none of one that is no chat."""
    around = json.loads(metadata.get(CHAT, "{}"))
    sections = {
        section: [_message(one) for one in around[section]] for section in SECTIONS if section in around
    }
    return {
        section: [
            replace(message, content=texts.get(key, ""), reasoning=texts.get(f"{key} {_REASONING}", ""))
            for key, message in zip(_keys(sections, section), messages, strict=True)
        ]
        for section, messages in sections.items()
    }


def plain(message: Message) -> dict[str, Any]:
    """A turn as chat templates and interfaces have it."""
    reasoning = {"reasoning_content": message.reasoning} if message.reasoning else {}
    return {"role": message.role, "content": message.content, **reasoning, **message.more}


def tools_of(metadata: Mapping[str, str]) -> Any:
    """The tools that may be called in a chat, as JSON has them; None where none may."""
    return json.loads(metadata.get(CHAT, "{}")).get(TOOLS)


def _message(around: Mapping[str, Any]) -> Message:
    return Message(around["role"], more={name: value for name, value in around.items() if name != "role"})


def _keys(sections: Mapping[str, Sequence[Message]], section: str) -> list[str]:
    """The roles of the texts of a section's messages."""
    before = 0 if section == MESSAGES else len(sections.get(MESSAGES, ()))
    prefix = "" if section == MESSAGES else f"{section} "
    return [
        f"{prefix}{message.role} {number}" for number, message in enumerate(sections[section], before + 1)
    ]


def is_chat(metadata: Mapping[str, str]) -> bool:
    """Whether a document with this metadata is a chat, or two ends of one."""
    return CHAT in metadata


def rendered(texts: Mapping[str, str], metadata: Mapping[str, str]) -> str:
    """A chat as plain text, each turn behind its role; of two ends the one that was chosen.

    >>> rendered(*taken_apart({"messages": [Message("user", "Hello"), Message("assistant", "Hi")]}))
    'user: Hello\\n\\nassistant: Hi'
    """
    sections = put_together(texts, metadata)
    turns = [*sections.get(MESSAGES, ()), *sections.get(CHOSEN, ())]
    return "\n\n".join([": ".join((turn.role, "\n".join(_said(turn)))) for turn in turns])


def _said(message: Message) -> Iterator[str]:
    if message.content:
        yield message.content
    for call in message.more.get("tool_calls", ()):
        yield json.dumps(call.get("function", call), ensure_ascii=False)
