"""OpenAI's own client against the newer routes: responses and decisions."""

from __future__ import annotations

import os
import time

import openai
import pytest

from helpers.serving import KEY
from textmill.base import files
from textmill.serving.kept import Kept
from textmill.serving.keys import Key, Keys

SCHEMA = {
    "type": "object",
    "properties": {"tall": {"type": "boolean"}},
    "required": ["tall"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "name": "look_up", "parameters": SCHEMA, "strict": True}


@pytest.fixture(scope="module")
def client(mill):
    return openai.OpenAI(base_url=f"{mill.url}/v1", api_key=KEY, max_retries=0)


def test_a_response_whole_and_streamed_is_the_same(client):
    asked = {"model": "mill", "input": "Good morning", "instructions": "Be brief.", "max_output_tokens": 9}
    whole = client.responses.create(**asked)
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert whole.usage.output_tokens == 9
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text
    assert events[-1].response.output[0].content == whole.output[0].content


def test_a_conversation_is_sent_whole(client):
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    asked = [*talk, {"role": "user", "content": [{"type": "input_text", "text": "Who?"}]}]
    whole = client.responses.create(model="mill", input=asked, max_output_tokens=2)
    assert whole.usage.input_tokens > len("HiHelloWho?")
    with pytest.raises(openai.BadRequestError, match="send the whole conversation"):
        client.responses.create(model="mill", input="Hi", previous_response_id=whole.id)


@pytest.fixture(scope="module")
def keeping(begin, writer, tmp_path_factory):
    """A service that keeps responses, with two keys, and the folder."""
    folder = tmp_path_factory.mktemp("kept") / "responses"
    made = begin({"mill": str(writer)}, Keys({"tests": KEY, "other": "tm-other"}), responses=folder)
    return made, folder


def client_of(running, key=KEY):
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key=key, max_retries=0)


def test_a_response_that_is_kept_is_gone_on_from(keeping):
    running, folder = keeping
    client = client_of(running)
    first = client.responses.create(model="mill", input="Hi", instructions="Be brief.", max_output_tokens=3)
    assert first.store is True
    asked = {"model": "mill", "input": "And?", "max_output_tokens": 3, "previous_response_id": first.id}
    second = client.responses.create(**asked)
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And?"},
    ]
    whole = client.responses.create(model="mill", input=talk, max_output_tokens=3, store=False)
    assert (whole.store, whole.usage.input_tokens) == (False, second.usage.input_tokens)
    assert whole.output_text == second.output_text
    assert second.previous_response_id == first.id
    events = list(client.responses.create(**asked, stream=True))
    streamed = events[-1].response
    assert streamed.output_text == second.output_text
    for one in (first, second, streamed):
        assert client.responses.retrieve(one.id) == one
    items = list(client.responses.input_items.list(second.id, order="asc", limit=2))  # page by page
    assert [item.content[0].text for item in items] == ["Hi", first.output_text, "And?"]
    latest = client.responses.input_items.list(second.id).data[0]
    assert latest.content[0].text == "And?"
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert len(kept) == 3
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in kept} == {0o700}


def test_calls_and_thoughts_are_gone_on_from(keeping):
    client = client_of(keeping[0])
    called = client.responses.create(
        model="mill", input="Hi", tools=[TOOL], tool_choice="required", parallel_tool_calls=False,
        max_output_tokens=200,
    )  # fmt: skip
    [call] = called.output
    given = [{"type": "function_call_output", "call_id": call.call_id, "output": "yes"}]
    after = client.responses.create(
        model="mill", input=given, previous_response_id=called.id, max_output_tokens=3
    )
    assert [item.type for item in client.responses.input_items.list(after.id, order="asc").data] == [
        "message",
        "function_call",
        "function_call_output",
    ]
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
    made = client.responses.create(
        model="mill", input=[{"role": "user", "content": "Hi"}, thought], max_output_tokens=2
    )
    plain = client.responses.create(model="mill", input="Hi", max_output_tokens=2)
    assert made.usage.input_tokens == plain.usage.input_tokens


def test_a_response_is_of_one_key_and_can_be_deleted(keeping):
    running, folder = keeping
    client, stranger = client_of(running), client_of(running, "tm-other")
    made = client.responses.create(model="mill", input="Hi", max_output_tokens=2)
    with pytest.raises(openai.NotFoundError):
        stranger.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        stranger.responses.delete(made.id)
    with pytest.raises(openai.BadRequestError, match="no response"):
        stranger.responses.create(model="mill", input="Hi", previous_response_id=made.id)
    after = client.responses.create(
        model="mill", input="So?", previous_response_id=made.id, max_output_tokens=2
    )
    client.responses.delete(made.id)
    assert not [*folder.rglob(f"{made.id}.json")]
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    again = client.responses.create(
        model="mill", input="So?", previous_response_id=after.id, max_output_tokens=2
    )
    assert again.usage.input_tokens > after.usage.input_tokens
    for id in ("resp_../../x", "..%2f..%2fkeys", "resp_" + "0" * 24):
        assert running.ask("GET", f"/v1/responses/{id}")[0] == 404


def test_nothing_is_kept_unless_it_is_said_where(mill):
    status, headers, told = mill.ask(
        "POST", "/v1/responses", {"model": "mill", "input": "a", "store": True, "max_output_tokens": 1}
    )
    assert (status, told["store"], headers["x-textmill-unheeded"]) == (200, False, "store")
    for method, path in (("GET", "/v1/responses/resp_0"), ("DELETE", "/v1/responses/resp_0")):
        status, _, told = mill.ask(method, path)
        assert (status, told["error"]["code"]) == (400, "not_stored")


def test_what_is_kept_is_bounded_and_whole(tmp_path):
    mine, other = Key("me", "a" * 64), Key("you", "b" * 64)
    kept = Kept(tmp_path, most=3)
    for number in range(5):
        kept.put(mine, {"id": f"resp_{number}", "output": []}, [])
        written = time.time() - 100 + number
        os.utime(tmp_path / ("a" * 32) / f"resp_{number}.json", (written, written))
    kept.put(other, {"id": "resp_9", "output": []}, [])
    assert [kept.get(mine, f"resp_{number}") is not None for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert kept.get(mine, "resp_9") is None
    partial = tmp_path / ("a" * 32) / f"{files.TEMPORARY}resp_7.json-999999999"
    partial.write_text("{")
    old = tmp_path / ("a" * 32) / "resp_2.json"
    os.utime(old, (0, 0))
    again = Kept(tmp_path, most=3)  # what a killed service left half-made goes, and what is too old
    assert not partial.exists()
    assert not old.exists()
    assert again.get(mine, "resp_4")["response"]["id"] == "resp_4"
    small = Kept(tmp_path, most_bytes=1)
    small.put(mine, {"id": "resp_5", "output": []}, [])
    assert [one.name for one in (tmp_path / ("a" * 32)).glob("*.json")] == ["resp_5.json"]
