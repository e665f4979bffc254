"""Conversations as records of a task, and scores of how they were answered; with a model: objectives/test_chat.py."""

from __future__ import annotations

import math

import pytest

from textmill.metrics.score import Bootstrap
from textmill.tasks.chat import CHAT, Said, conversation, figures, gold, metrics
from textmill.tasks.prediction import Refused
from textmill.text import chats
from textmill.text.chats import Message
from textmill.tokenization.chat.tools import Call, calls_in

CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}


def record(*turns: Message, tools=None) -> dict[str, str]:
    texts, around = chats.taken_apart({"messages": turns}, tools)
    return {**texts, **around}


def test_a_record_is_a_chat_or_a_question_and_its_answer():
    assert conversation({"text": "Hi", "target": "Ho"})[0][-1] == {"role": "assistant", "content": "Ho"}
    assert conversation({"text": "Hi"})[0] == [{"role": "user", "content": "Hi"}]
    assert isinstance(conversation({"text": " "}), Refused)
    talk = record(
        Message("user", "1 + 2?"),
        Message("assistant", "", more={"tool_calls": [CALL]}),
        Message("tool", "3"),
        Message("assistant", "It is 3."),
        Message("user", "Thanks"),
        tools=[{"name": "add"}],
    )
    messages, tools = conversation(talk)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1]["tool_calls"] == [CALL]
    assert tools == [{"name": "add"}]
    assert gold(talk) == "It is 3."
    assert gold({"text": "Hi"}) is None
    assert CHAT.asked == {"scored": True}


def test_scores_are_of_tokens_and_of_calls():
    said = [
        Said(math.log(2) * 4, 3, 4),
        Said(math.log(4) * 4, 1, 4, (True, True)),
        Refused("too long"),
        Said(0.0, 2, 2, (True, False)),
        Said(math.log(2) * 2, 0, 2, (False, False)),
    ]
    scores = metrics(said, [{}] * 5, Bootstrap(20))
    nats = math.log(2) * 14 / 12
    assert next(iter(scores)) == "nats per assistant token"
    assert scores["nats per assistant token"].value == pytest.approx(nats)
    assert scores["token accuracy"].value == pytest.approx(6 / 12)
    assert scores["valid calls"].value == pytest.approx(2 / 3)
    assert scores["right calls"].value == pytest.approx(1 / 3)
    assert figures(said, []).score(Bootstrap(20)).value == pytest.approx(nats)
    assert "valid calls" not in metrics(said[:1], [{}], Bootstrap(5))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('<tool_call>{"name": "a", "arguments": "{\\"x\\": 1}"}</tool_call>', ["a"]),
        ('Two: <tool_call>{"name": "a"}</tool_call>\n<tool_call>{"name": "b", "arguments": {}}', ["a", "b"]),
        ('[{"name": "a", "arguments": {}}, {"name": "b"}]', ["a", "b"]),
        ('{"type": "function", "function": {"name": "a", "arguments": {}}}', ["a"]),
        ('<tool_call>{"name": 3}</tool_call> <tool_call>{"name": "a", "arguments": [1]}</tool_call>', []),
        ("<tool_call>add(1)</tool_call>", []),
        ("I would add {1, 2}.", []),
    ],
)
def test_calls_are_read_in_the_forms_models_write(text, names):
    calls = calls_in(text)
    assert [call.name for call in calls] == names
    assert all(Call(**{"name": call.name, "arguments": call.arguments}) == call for call in calls)
