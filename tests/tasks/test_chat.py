"""Conversations as records of a task, and scores of how they were answered; with a model: objectives/test_chat.py."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from textmill.decoding.prompt import Prompt
from textmill.metrics.score import Bootstrap
from textmill.specs.generation import GenerationSpec
from textmill.tasks import chat, writing
from textmill.tasks.chat import CHAT, Called, Said, conversation, figures, gold, metrics
from textmill.tasks.prediction import Refused, Text
from textmill.tasks.task import Options
from textmill.text import chats
from textmill.text.chats import Message
from textmill.tokenization.chat.tools import Call, calls_in, fits

TOOLS = [
    "no tool at all",
    {"name": "now"},
    {
        "type": "function",
        "function": {
            "name": "pay",
            "parameters": {
                "type": "object",
                "properties": {
                    "sum": {"type": "number"},
                    "to": {"type": ["string", "null"]},
                    "how": {"enum": [1]},
                },
                "required": ["sum"],
            },
        },
    },
]
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
        Said(math.log(4) * 4, 1, 4, Called(valid=True, named=True, right=True)),
        Refused("too long"),
        Said(0.0, 2, 2, Called(valid=True, named=False, right=False)),
        Said(math.log(2) * 2, 0, 2, Called(valid=False, named=True, right=False)),
    ]
    scores = metrics(said, [{}] * 5, Bootstrap(20))
    nats = math.log(2) * 14 / 12
    assert next(iter(scores)) == "nats per assistant token"
    assert scores["nats per assistant token"].value == pytest.approx(nats)
    assert scores["token accuracy"].value == pytest.approx(6 / 12)
    assert scores["valid calls"].value == pytest.approx(2 / 3)
    assert scores["right tools"].value == pytest.approx(2 / 3)
    assert scores["right calls"].value == pytest.approx(1 / 3)
    assert figures(said, []).score(Bootstrap(20)).value == pytest.approx(nats)
    assert "valid calls" not in metrics(said[:1], [{}], Bootstrap(5))


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ('{"name": "pay", "arguments": {"sum": 1}}', Called(valid=True, named=True, right=True)),
        ('{"name": "pay", "arguments": {"sum": 2}}', Called(valid=True, named=True, right=False)),
        ('{"name": "pay", "arguments": {}}', Called(valid=False, named=True, right=False)),
        ('{"name": "now", "arguments": {}}', Called(valid=True, named=False, right=False)),
        ("I shall pay.", Called(valid=False, named=False, right=False)),
    ],
)
def test_what_is_written_where_a_tool_is_called_is_read_as_a_call(monkeypatch, written, called):
    monkeypatch.setattr(writing, "write", lambda _, asked, *more, **others: [Text(written)] * len(asked))
    monkeypatch.setattr(chat, "score_guesses", lambda *given: np.ones((3, 1)))
    monkeypatch.setattr(chat, "_batches", lambda *given: iter(()))
    model = SimpleNamespace(
        generation=GenerationSpec(), chat=None, tokenizer=SimpleNamespace(ends=()), model=None
    )
    asked = chat.Asked(Prompt([1]), row=object(), calls=(Call("pay", {"sum": 1}),), tools=TOOLS)
    [said] = CHAT.predict(model, [asked], Options(scored=True))
    assert said == Said(1, 1, 1, called)


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


@pytest.mark.parametrize(
    ("name", "arguments", "valid"),
    [
        ("pay", {"sum": 1.5, "to": None, "how": True}, True),
        ("pay", {"sum": 2, "to": "Ann"}, True),
        ("pay", {"to": "Ann"}, False),  # needs a sum
        ("pay", {"sum": "2"}, False),
        ("pay", {"sum": True}, False),  # which Python takes for a number
        ("pay", {"sum": 2, "from": "Ann"}, False),
        ("now", {}, True),
        ("now", {"zone": "UTC"}, False),
        ("sing", {}, False),
    ],
)
def test_a_call_is_valid_where_the_tool_takes_it(name, arguments, valid):
    call = Call(name, arguments)
    assert fits(call, TOOLS) == valid
    assert fits(call, None)
