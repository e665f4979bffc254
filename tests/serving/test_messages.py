"""Anthropic's own client, as it is installed, against the service."""

from __future__ import annotations

import anthropic
import pytest

from helpers.serving import KEY

ASK = {"model": "mill", "messages": [{"role": "user", "content": "Good morning"}]}


@pytest.fixture(scope="module")
def client(mill):
    return anthropic.Anthropic(base_url=mill.url, api_key=KEY, max_retries=0)


def test_a_message_whole_and_streamed_is_the_same(client):
    whole = client.messages.create(**ASK, max_tokens=9, system="Be brief.")
    [block] = whole.content
    assert (whole.role, block.type, whole.stop_reason) == ("assistant", "text", "max_tokens")
    assert whole.usage.output_tokens == 9
    with client.messages.stream(**ASK, max_tokens=9, system="Be brief.") as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()
    assert text == block.text
    assert (last.content[0].text, last.usage.output_tokens, last.stop_reason) == (text, 9, "max_tokens")
    counted = client.messages.count_tokens(**ASK, system="Be brief.")
    assert counted.input_tokens == whole.usage.input_tokens + whole.usage.cache_read_input_tokens


def test_a_stop_sequence_is_told(client):
    text = client.messages.create(**ASK, max_tokens=12).content[0].text
    stop = text[5:7]
    stopped = client.messages.create(**ASK, max_tokens=12, stop_sequences=["never this", stop])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", stop)
    assert stopped.content[0].text == text[: text.index(stop)]


def test_a_last_message_of_the_assistant_begins_the_answer(client):
    begun = {**ASK, "messages": [*ASK["messages"], {"role": "assistant", "content": "Good"}]}
    plain = client.messages.count_tokens(**ASK).input_tokens
    assert client.messages.count_tokens(**begun).input_tokens == plain + len("Good")  # this model reads bytes
    assert client.messages.create(**begun, max_tokens=4).content


def test_errors_are_anthropics(client, mill):
    with pytest.raises(anthropic.NotFoundError, match="There is no model 'other'"):
        client.messages.create(**ASK | {"model": "other"}, max_tokens=4)
    with pytest.raises(anthropic.BadRequestError, match="at most 1024 tokens"):
        client.messages.create(model="mill", messages=[{"role": "user", "content": "a" * 1100}], max_tokens=4)
    picture = {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/a.png"}}
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="mill", messages=[{"role": "user", "content": [picture]}], max_tokens=4)
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="wrong").messages.create(**ASK, max_tokens=4)
    status, _, told = mill.ask("POST", "/v1/messages", {**ASK, "max_tokens": 4, "surprise": 1})
    assert (status, told["type"], told["error"]["type"]) == (400, "error", "invalid_request_error")
    assert "surprise is not known here" in told["error"]["message"]
