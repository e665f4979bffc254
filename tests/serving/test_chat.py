"""OpenAI's own client, as it is installed, against the service: chat and completions."""

from __future__ import annotations

import asyncio

import openai
import pytest

from helpers.serving import KEY
from textmill.interop.load import load

ASK = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Good morning"}]
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def client(mill):
    return openai.OpenAI(base_url=f"{mill.url}/v1", api_key=KEY, max_retries=0)


@pytest.fixture(scope="module")
def model(writer):
    """The model that is served, as it is read here."""
    return load(writer)


def test_an_answer_whole_and_streamed_is_the_same(client):
    asked = {"model": "mill", "messages": ASK, "max_completion_tokens": 9, "seed": 3}
    whole = client.chat.completions.create(**asked)
    [choice] = whole.choices
    assert (choice.message.role, choice.finish_reason) == ("assistant", "length")
    assert whole.usage.completion_tokens == 9
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 9
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == choice.message.content
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert {chunk.system_fingerprint for chunk in chunks} == {whole.system_fingerprint}


def test_the_same_request_has_the_same_answer_and_another_seed_another(client):
    def said(**changes):
        made = client.chat.completions.create(
            model="mill", messages=ASK, max_tokens=24, temperature=1.0, **changes
        )
        return [choice.message.content for choice in made.choices]

    assert said(seed=5) == said(seed=5) != said(seed=6)
    assert said(seed=-5) == said(seed=-5)


def test_the_async_client_and_many_at_once(mill):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{mill.url}/v1", api_key=KEY, max_retries=0) as client:

            async def one(seed):
                made = await client.chat.completions.create(
                    model="mill", messages=ASK, max_tokens=8, seed=seed, stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in made])

            together = await asyncio.gather(*map(one, range(6)))
            return together, [await one(seed) for seed in range(6)]

    together, alone = asyncio.run(ask())
    assert together == alone
    assert mill.idle()


def test_completions_of_several_prompts_and_of_ids(client, model):
    made = client.completions.create(model="mill", prompt=["the mill", "water"], max_tokens=5, n=2)
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    alone = client.completions.create(model="mill", prompt="water", max_tokens=5, n=2)
    assert [choice.text for choice in made.choices[2:]] == [choice.text for choice in alone.choices]
    ids = [*model.tokenizer.prefix, *model.tokenizer.encode("water").tolist()]
    of_ids = client.completions.create(model="mill", prompt=ids, max_tokens=5, n=2)
    assert [choice.text for choice in of_ids.choices] == [choice.text for choice in alone.choices]
    streamed = client.completions.create(model="mill", prompt="water", max_tokens=5, echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "water" + alone.choices[0].text


def test_a_stop_string_ends_an_answer(client):
    asked = {"model": "mill", "prompt": "a", "max_tokens": 12, "temperature": 0}
    text = client.completions.create(**asked).choices[0].text
    made = client.completions.create(**asked, stop=[text[4:6]]).choices[0]
    assert (made.text, made.finish_reason) == (text[: text.index(text[4:6])], "stop")


REFUSED = {
    "an unknown field": ({"surprise": 1}, "surprise"),
    "an unknown field of a message": (
        {"messages": [{"role": "user", "content": "a", "shout": True}]},
        "messages.0.shout",
    ),
    "a picture": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/"}}],
                }
            ]
        },
        "messages.0.content.0.type",
    ),
    "sound": ({"modalities": ["text", "audio"]}, "modalities"),
    "a number as text": ({"temperature": "1"}, "temperature"),
    "a temperature under nothing": ({"temperature": -1}, "temperature"),
    "no tokens": ({"max_tokens": 0}, "max_tokens"),
    "two different lengths": ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
    "too many alternatives": ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    "alternatives of nothing": ({"top_logprobs": 2}, "top_logprobs"),
    "a bias for no token": ({"logit_bias": {"999999": 1}}, "logit_bias"),
    "a bias for a word": ({"logit_bias": {"word": 1}}, "logit_bias"),
    "no message": ({"messages": []}, "messages"),
    "a result of no call": (
        {"messages": [{"role": "tool", "tool_call_id": "a", "content": "b"}]},
        "messages[0].tool_call_id",
    ),
    "a choice of no function": ({"tool_choice": "required"}, "tool_choice"),
    "stream options without a stream": ({"stream_options": {"include_usage": True}}, "stream_options"),
    "how hard to think": ({"reasoning_effort": "high"}, "reasoning_effort"),
    "too long": ({"messages": [{"role": "user", "content": "a" * 1100}]}, "messages"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_and_names_its_field(mill, case):
    change, param = REFUSED[case]
    status, _, told = mill.ask("POST", CHAT, {"model": "mill", "messages": ASK} | change)
    assert status == 400
    assert told["error"]["type"] == "invalid_request_error"
    assert (told["error"]["param"] or "").startswith(param), told
    if case == "too long":
        assert told["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", '{"model": NaN}', "[" * 100_000, '"\\ud800"', "\xff"]
)
def test_a_body_that_is_none_is_refused(mill, body):
    status, _, told = mill.ask("POST", CHAT, body.encode("latin-1"), content_type="application/json")
    assert status == 400
    assert told["error"]["message"]


def test_what_decides_nothing_is_named(mill):
    body = {"model": "mill", "messages": ASK, "max_tokens": 1, "user": "me", "store": False, "top_k": None}
    status, headers, _ = mill.ask("POST", CHAT, body)
    assert (status, headers["x-textmill-unheeded"]) == (200, "store, user")


def test_a_base_url_with_a_part_too_few_or_too_many(mill):
    told = mill.ask("POST", "/chat/completions", {})[2]["error"]["message"]
    assert "base URL that ends with /v1" in told
    status, _, told = mill.ask("POST", "/v1/v1/messages", {})
    assert (status, "leave /v1 out" in told["error"]["message"]) == (404, True)
    assert "GET /docs" in mill.ask("GET", "/v1/nothing")[2]["error"]["message"]


def test_models_are_listed(client):
    [one] = client.models.list().data
    assert (one.id, one.owned_by, one.context_length) == ("mill", "textmill", 1024)
    assert client.models.retrieve("mill") == one
    with pytest.raises(openai.NotFoundError, match="There is no model 'other' here"):
        client.models.retrieve("other")
