"""Chats and preferences, in the forms they are kept in."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.records import kept, read, skipped
from textmill.text import chats
from textmill.text.chats import Message


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def messages(item, section=chats.MESSAGES):
    return chats.put_together(item.texts, item.metadata).get(section, [])


def said(item, section=chats.MESSAGES):
    return [(message.role, message.content) for message in messages(item, section)]


HELLO = [("system", "Be kind."), ("user", "Hello"), ("assistant", "Hi")]


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": role, "content": text} for role, text in HELLO]},
        {"messages": [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in HELLO]},
        {
            "system": "Be kind.",
            "conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}],
        },
        {"instruction": "Hello", "input": "", "output": "Hi", "system": "Be kind."},
        [{"role": role, "content": text} for role, text in HELLO],
    ],
)
def test_each_form_gives_the_same_chat(tmp_path, record):
    item, _ = read(tmp_path, {"a.jsonl": lines(record, {"instruction": "a", "output": "b"})}, format="chat")
    assert said(item) == HELLO
    assert dict(item.texts) == {"system 1": "Be kind.", "user 2": "Hello", "assistant 3": "Hi"}
    assert item.source == "a.jsonl:line 1"


def test_alpaca_with_input_and_turns_before(tmp_path):
    record = {
        "instruction": "Add",
        "input": "1, 2",
        "output": "3",
        "history": [["Hello", "Hi"]],
        "topic": "sums",
    }
    [item] = read(tmp_path, {"a.jsonl": lines(record)}, format="chat")
    assert said(item) == [("user", "Hello"), ("assistant", "Hi"), ("user", "Add\n\n1, 2"), ("assistant", "3")]
    assert item.metadata["topic"] == "sums"
    [item] = read(
        tmp_path, {"b.jsonl": lines({"ask": "a", "say": "b"})},
        format="chat", columns={"instruction": "ask", "output": "say"},
    )  # fmt: skip
    assert said(item) == [("user", "a"), ("assistant", "b")]


def test_tools_that_are_called_and_may_be(tmp_path):
    call = {"name": "add", "arguments": {"numbers": [1, 2]}}
    openai = {
        "messages": [
            {"role": "user", "content": "1 + 2?"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "function": {"name": "add", "arguments": json.dumps(call["arguments"])}}
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
            {"role": "assistant", "content": "It is 3.", "reasoning_content": "The tool said so."},
        ],
        "tools": [{"type": "function", "function": {"name": "add"}}],
    }  # fmt: skip
    sharegpt = {
        "conversations": [
            {"from": "human", "value": "1 + 2?"},
            {"from": "function_call", "value": json.dumps(call)},
            {"from": "observation", "value": "3"},
            {"from": "gpt", "value": "It is 3."},
        ],
        "tools": json.dumps(openai["tools"]),
    }
    first, second = read(tmp_path, {"a.jsonl": lines(openai, sharegpt)}, format="chat")
    for item in (first, second):
        assert said(item) == [("user", "1 + 2?"), ("assistant", ""), ("tool", "3"), ("assistant", "It is 3.")]
        assert messages(item)[1].more["tool_calls"][0]["function"] == call
        assert chats.tools_of(item.metadata) == openai["tools"]
    assert messages(first)[2].more == {"tool_call_id": "c1"}
    assert first.texts["assistant 4 reasoning"] == "The tool said so."


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"text": "a"}, "holds no chat"),
        ({"messages": []}, "is not a list of messages"),
        ({"messages": [{"role": "user", "content": "a"}]}, "holds no answer"),
        ({"messages": [{"content": "a"}]}, "has a message without a role"),
        ({"messages": [{"role": "narrator", "content": "a"}]}, "has a message of an unknown role"),
        ({"messages": [{"role": "user"}]}, "has a message without content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "has a message that is not text",
        ),
        ({"messages": ["a"]}, "has a message that is not an object"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
            "has a tool call without a name",
        ),
        ({"instruction": "a"}, "has no output"),
        ({"instruction": "a", "output": " "}, "has an empty turn"),
        (5, "is not a record"),
    ],
)
def test_what_is_no_chat_costs_its_record_alone(tmp_path, record, reason):
    items = read(tmp_path, {"a.jsonl": lines({"instruction": "a", "output": "b"}, record)}, format="chat")
    assert len(kept(items)) == 1
    assert skipped(items) == [("a.jsonl:line 2", reason)]


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "How?", "chosen": "So.", "rejected": "No."},
        {"prompt": [{"role": "user", "content": "How?"}], "chosen": [{"role": "assistant", "content": "So."}],
         "rejected": [{"role": "assistant", "content": "No."}]},
        {"chosen": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}],
         "rejected": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "No."}]},
        {"prompt": "How?", "chosen": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}],
         "rejected": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "No."}]},
        {"conversations": [{"from": "human", "value": "How?"}], "chosen": {"from": "gpt", "value": "So."},
         "rejected": {"from": "gpt", "value": "No."}},
        {"chosen": "\n\nHuman: How?\n\nAssistant: So.", "rejected": "\n\nHuman: How?\n\nAssistant: No."},
    ],
)  # fmt: skip
def test_each_form_of_a_preference_gives_the_same(tmp_path, record):
    [item] = read(tmp_path, {"a.jsonl": lines(record)}, format="preference")
    assert said(item) == [("user", "How?")]
    assert said(item, chats.CHOSEN) == [("assistant", "So.")]
    assert said(item, chats.REJECTED) == [("assistant", "No.")]
    assert item.text == "user: How?\n\nassistant: So."


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"chosen": "a"}, "has no rejected answer"),
        ({"chosen": "a", "rejected": " "}, "has an empty rejected answer"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "has the same chosen and rejected answer"),
        ({"chosen": 5, "rejected": "a"}, "has a message that is not an object"),
    ],
)
def test_what_is_no_preference_costs_its_record_alone(tmp_path, record, reason):
    good = {"chosen": "a", "rejected": "b"}
    items = read(tmp_path, {"a.jsonl": lines(record, good)}, format="preference")
    assert skipped(items) == [("a.jsonl:line 1", reason)]
    assert len(kept(items)) == 1


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    str.strip
)
TURN = st.tuples(st.sampled_from(["user", "assistant", "system", "tool"]), TEXT)
BROKEN = st.sampled_from([{"role": "user"}, {"content": "a"}, 3, {"role": "x", "content": "a"}])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.lists(TURN, min_size=1, max_size=4), st.none() | BROKEN), min_size=1, max_size=5)
)
def test_what_is_written_is_read_and_each_broken_chat_counts_once(tmp_path, written):
    records = []
    for turns, broken in written:
        listed = [{"role": role, "content": text} for role, text in turns]
        records.append({"messages": [*listed, broken] if broken is not None else listed})
    items = read(tmp_path, {"a.json": json.dumps(records)}, format="chat")
    right = [
        turns for turns, broken in written if broken is None and any(role == "assistant" for role, _ in turns)
    ]
    assert len(items) == len(written)
    assert [messages(item) for item in kept(items)] == [[Message(*turn) for turn in turns] for turns in right]
