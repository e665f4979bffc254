"""OpenAI's own client against the newer routes: responses and decisions."""

from __future__ import annotations

import openai
import pytest

from helpers.serving import KEY

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
