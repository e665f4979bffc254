"""Pairs of answers of which one is preferred: `chosen` and `rejected`, as texts, as messages or as whole chats.

    {"prompt": "How?", "chosen": "So.", "rejected": "No."}
    {"prompt": [{"role": "user", …}], "chosen": [{"role": "assistant", …}], "rejected": [{"role": "assistant", …}]}
    {"conversations": [{"from": "human", …}], "chosen": {"from": "gpt", …}, "rejected": {"from": "gpt", …}}
    {"chosen": "\\n\\nHuman: How?\\n\\nAssistant: So.", "rejected": "\\n\\nHuman: How?\\n\\nAssistant: No."}
    {"prompt": "How?", "completion": "So.", "label": true}

The last has one answer and a thumb, up or down: it is chosen, or rejected, beside none.

What both begin with alike is what was asked. Other names of columns: `columns = { prompt = "question", chosen = "a" }`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from textmill.text.chats import CHOSEN, MESSAGES, REJECTED, Message, taken_apart
from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats import chat
from textmill.text.sources.formats.records import metadata_of, unread, utf8, value_of
from textmill.text.sources.formats.stream import Fields, SetAside

_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
_GOOD = {"true": True, "1": True, "yes": True, "up": True, "good": True}
_GOOD |= {"false": False, "0": False, "no": False, "down": False, "bad": False, "-1": False}
_PROMPTS = ("prompt", "question", "instruction", *("messages", "conversations", "conversation"))


def documents(record: Any, location: str, fields: Fields) -> Iterator[Document | Rejected]:
    """The two answers of a record, and what was asked."""
    try:
        if not isinstance(record, dict):
            raise SetAside("is not a record", "a JSON object was expected")
        sections, taken = _sections(record, fields)
        tools, key = chat.tools_of(record, fields)
    except SetAside as error:
        yield unread(location, error.reason, error.detail)
        return
    texts, around = taken_apart(sections, tools)
    yield collected(texts, location, metadata_of(record, fields, {*taken, key}) | around)


def _sections(record: Mapping[str, Any], fields: Fields) -> tuple[dict[str, list[Message]], set[str]]:
    """The messages that were asked, chosen and rejected, and the columns they are of."""
    columns = {name: fields.column(name, name) for name in (CHOSEN, REJECTED)}
    if not any(value_of(record, column) is not None for column in columns.values()):
        thumb = _thumb(record, fields)
        if thumb is not None:
            return thumb
    ends = {}
    for name, column in columns.items():
        if (value := value_of(record, column)) is None:
            there = ", ".join(map(str, list(record)[:12])) or "nothing"
            raise SetAside(
                f"has no {name} answer", f'it has {there}; name it, such as columns = {{ {name} = "a" }}'
            )
        ends[name] = _answer(value)
    prompt, taken = _prompt(record, fields)
    chosen, rejected = ends[CHOSEN], ends[REJECTED]
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    # A chat with its prompt may stand beside that prompt once more (TRL).
    asked = chosen[:shared] if prompt == chosen[: len(prompt)] else [*prompt, *chosen[:shared]]
    ends = {CHOSEN: chosen[shared:], REJECTED: rejected[shared:]}
    for name, messages in ends.items():
        if not any(message.content.strip() or message.more for message in messages):
            raise SetAside(f"has an empty {name} answer")
    if ends[CHOSEN] == ends[REJECTED]:
        raise SetAside("has the same chosen and rejected answer", "chosen and rejected are the same")
    return {MESSAGES: asked} | ends, {*taken, *columns.values()}


def _thumb(record: Mapping[str, Any], fields: Fields) -> tuple[dict[str, list[Message]], set[str]] | None:
    """The messages of a record of one answer, as chosen or as rejected; None: it is none."""
    completion, label = fields.column("completion", "completion"), fields.column("label", "label")
    value, thumb = value_of(record, completion), value_of(record, label)
    if value is None or thumb is None:
        return None
    good = _GOOD.get(str(thumb).strip().lower())
    if good is None:
        raise SetAside("has a label that is neither good nor bad", f"{thumb!r}; true and false are known")
    answer = _answer(value)
    if not any(message.content.strip() or message.more for message in answer):
        raise SetAside("has an empty answer")
    asked, taken = _prompt(record, fields)
    if answer[: len(asked)] == asked:
        answer = answer[len(asked) :]
    return {MESSAGES: asked, CHOSEN if good else REJECTED: answer}, {*taken, completion, label}


def _prompt(record: Mapping[str, Any], fields: Fields) -> tuple[list[Message], set[str]]:
    for name in (fields.column("prompt", ""), *_PROMPTS):
        value = value_of(record, name) if name else None
        if value is None:
            continue
        asked = [Message("user", utf8(value))] if isinstance(value, str) else chat.messages(value)
        system = value_of(record, fields.column("system", "system"))
        if isinstance(system, str) and system.strip():
            asked.insert(0, Message("system", utf8(system)))
        return [message for message in asked if message.content.strip() or message.more], {name, "system"}
    return [], set()


def _answer(value: Any) -> list[Message]:
    """The messages of an answer: of a text the whole dialogue, where it is written as one."""
    if isinstance(value, str):
        parts = _TURN.split(value)
        if len(parts) == 1 or parts[0].strip():
            return [Message("assistant", utf8(value))]
        roles = {"Human": "user", "Assistant": "assistant"}
        return [
            Message(roles[who], utf8(text.strip()))
            for who, text in zip(parts[1::2], parts[2::2], strict=True)
        ]
    return chat.messages(value if isinstance(value, list) else [value])
