"""Chats are taken apart into texts and put together again as they were."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.specs.cleaning import PersonalDataStep, RepairStep
from textmill.text import chats
from textmill.text.chats import Message
from textmill.text.cleaning.steps import apply
from textmill.text.document import collected

MESSAGE = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.text(min_size=1).filter(str.strip),
    st.text().filter(lambda text: not text or text.strip()),
    st.sampled_from(
        [{}, {"name": "x"}, {"tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, "b"]}}}]}]
    ),
)
MESSAGES = st.lists(MESSAGE, max_size=5)


@settings(deadline=None)
@given(MESSAGES, MESSAGES, MESSAGES)
def test_what_is_taken_apart_comes_together_again(asked, chosen, rejected):
    sections = {chats.MESSAGES: asked, chats.CHOSEN: chosen, chats.REJECTED: rejected}
    texts, metadata = chats.taken_apart(sections, [{"name": "f"}])
    assert chats.put_together(texts, metadata) == sections
    assert chats.tools_of(metadata) == [{"name": "f"}]
    assert len(texts) == sum(1 + bool(message.reasoning) for some in sections.values() for message in some)


def test_cleaning_reaches_each_turn_and_never_the_json_around_it():
    call = {"tool_calls": [{"function": {"name": "f", "arguments": {"to": "jane@example.org", "n": 5}}}]}
    asked = [
        Message("user", "I am jane@example.org\x00"),
        Message("assistant", more=call),
        Message("tool", "ok"),
    ]
    texts, metadata = chats.taken_apart({chats.MESSAGES: asked})
    [item] = apply([collected(texts, "a", metadata)], (RepairStep(), PersonalDataStep()))
    assert item.texts == {"user 1": "I am [EMAIL]", "tool 3": "ok"}
    around = json.loads(item.metadata[chats.CHAT])["messages"]
    assert around[1]["tool_calls"][0]["function"]["arguments"] == {"to": "[EMAIL]", "n": 5}


def test_a_chat_is_read_as_text_turn_by_turn_and_of_two_ends_the_chosen_one():
    sections = {
        chats.MESSAGES: [Message("user", "Hello")],
        chats.CHOSEN: [Message("assistant", "Hi")],
        chats.REJECTED: [Message("assistant", "Go away")],
    }
    texts, metadata = chats.taken_apart(sections)
    assert collected(texts, "a", metadata).text == "user: Hello\n\nassistant: Hi"
