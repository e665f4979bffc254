"""Every field that the official clients may send, as their own types list them, and what becomes of it here: it is
honoured, or refused with 400 and its name, or named in the header of what decides nothing. None is dropped in silence.

A new version of a client that knows another field fails this test until somebody has decided what becomes of it.
"""

from __future__ import annotations

import anthropic
import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from openai.types import completion_create_params as completions
from openai.types import decision_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses

from helpers.serving import KEY
from textmill.interop.huggingface import directory as huggingface
from textmill.models import build
from textmill.serving.bodies import HEADER
from textmill.specs.model import EncoderSpec
from textmill.specs.recipe import GenerationSpec, TokenizerSpec
from textmill.tokenization.training import train

ASK = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {}}
FUNCTION = {"name": "f", "parameters": SCHEMA}
FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
# Of each route: the clients' type of its body, the least of a body, and a value of each field by what becomes of it.
ROUTES = {
    "/v1/chat/completions": (
        chat.CompletionCreateParamsNonStreaming,
        {"model": "mill", "messages": ASK, "max_tokens": 2},
        {
            "honoured": {
                "model": "mill",
                "messages": ASK,
                "frequency_penalty": 0.5,
                "logit_bias": {"5": 1.0},
                "logprobs": True,
                "max_completion_tokens": 2,
                "max_tokens": 2,
                "modalities": ["text"],
                "n": 2,
                "parallel_tool_calls": False,
                "presence_penalty": 0.5,
                "reasoning_effort": "none",
                "response_format": FORM,
                "seed": 1,
                "stop": ["a"],
                "stream": False,
                "temperature": 0.5,
                "tool_choice": "none",
                "tools": [{"type": "function", "function": FUNCTION}],
                "top_p": 0.5,
            },
            "refused": {
                "audio": {"voice": "alloy", "format": "wav"},
                "function_call": "auto",
                "functions": [FUNCTION],
                "moderation": {"model": "omni-moderation-latest"},
                "prediction": {"type": "content", "content": "a"},
                "stream_options": {"include_usage": True},  # without a stream
                "top_logprobs": 2,  # without logprobs
                "web_search_options": {},
            },
            "unheeded": {
                "metadata": {"a": "b"},
                "prompt_cache_key": "a",
                "prompt_cache_options": {},
                "prompt_cache_retention": "24h",
                "safety_identifier": "a",
                "service_tier": "auto",
                "store": True,
                "user": "a",
                "verbosity": "low",
            },
        },
    ),
    "/v1/completions": (
        completions.CompletionCreateParamsNonStreaming,
        {"model": "mill", "prompt": "a", "max_tokens": 2},
        {
            "honoured": {
                "model": "mill",
                "prompt": ["a", "b"],
                "best_of": 1,
                "echo": True,
                "frequency_penalty": 0.5,
                "logit_bias": {"5": 1.0},
                "logprobs": 1,
                "max_tokens": 2,
                "n": 2,
                "presence_penalty": 0.5,
                "seed": 1,
                "stop": "a",
                "stream": False,
                "temperature": 0.5,
                "top_p": 0.5,
            },
            "refused": {"suffix": "b", "stream_options": {"include_usage": True}},
            "unheeded": {"user": "a"},
        },
    ),
    "/v1/responses": (
        responses.ResponseCreateParamsNonStreaming,
        {"model": "mill", "input": "a", "max_output_tokens": 2},
        {
            "honoured": {
                "model": "mill",
                "input": ASK,
                "background": False,
                "include": ["message.output_text.logprobs"],
                "instructions": "Be brief.",
                "max_output_tokens": 2,
                "metadata": {"a": "b"},  # comes back
                "parallel_tool_calls": False,
                "reasoning": {"effort": "none"},
                "stream": False,
                "temperature": 0.5,
                "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}},
                "tool_choice": "none",
                "tools": [{"type": "function", **FUNCTION}],
                "top_logprobs": 1,
                "top_p": 0.5,
                "truncation": "disabled",
            },
            "refused": {
                "access_programs": {},
                "background_options": {},
                "context_management": [],
                "conversation": "conv_1",
                "image": {},
                "max_tool_calls": 1,
                "moderation": {"model": "omni-moderation-latest"},
                "previous_response_id": "resp_1",
                "prompt": {"id": "pmpt_1"},
            },
            "unheeded": {
                "prompt_cache_key": "a",
                "prompt_cache_options": {},
                "prompt_cache_retention": "24h",
                "safety_identifier": "a",
                "service_tier": "auto",
                "store": True,
                "stream_options": {"include_obfuscation": True},
                "user": "a",
            },
        },
    ),
    "/v1/embeddings": (
        embedding_create_params.EmbeddingCreateParams,
        {"model": "vectors", "input": "a"},
        {
            "honoured": {
                "model": "vectors",
                "input": ["a", "b"],
                "encoding_format": "base64",
                "dimensions": 16,
            },
            "refused": {},
            "unheeded": {"user": "a"},
        },
    ),
    "/v1/decisions": (
        decision_create_params.DecisionCreateParams,
        {"model": "mill", "input": "a", "questions": [{"type": "predicate", "instructions": "b"}]},
        {
            "honoured": {
                "model": "mill",
                "input": "a",
                "questions": [{"type": "predicate", "instructions": "b"}],
            },
            "refused": {},
            "unheeded": {"prompt_cache_key": "a", "prompt_cache_options": {}, "safety_identifier": "a"},
        },
    ),
    "/v1/messages": (
        message_create_params.MessageCreateParamsNonStreaming,
        {"model": "mill", "messages": ASK, "max_tokens": 2},
        {
            "honoured": {
                "model": "mill",
                "messages": ASK,
                "max_tokens": 2,
                "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
                "stop_sequences": ["a"],
                "stream": False,
                "system": "Be brief.",
                "thinking": {"type": "disabled"},
                "tool_choice": {"type": "none"},
                "tools": [{"name": "f", "input_schema": SCHEMA}],
            },
            "refused": {
                "diagnostics": {},
                "speed": "fast",
                "user_profile_id": "a",
                "workspace_id": "a",
            },
            "unheeded": {
                "cache_control": {"type": "ephemeral"},
                "container": "a",
                "inference_geo": "us",
                "metadata": {"user_id": "a"},
                "service_tier": "auto",
            },
        },
    ),
    "/v1/messages/count_tokens": (
        message_count_tokens_params.MessageCountTokensParams,
        {"model": "mill", "messages": ASK},
        {
            "honoured": {
                "model": "mill",
                "messages": ASK,
                "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
                "system": "Be brief.",
                "thinking": {"type": "disabled"},
                "tool_choice": {"type": "none"},
                "tools": [{"name": "f", "input_schema": SCHEMA}],
            },
            "refused": {"speed": "fast", "user_profile_id": "a", "workspace_id": "a"},
            "unheeded": {"cache_control": {"type": "ephemeral"}},
        },
    ),
}
# Values that are something else than what the model does by itself, and so are refused where another one is honoured.
OTHERWISE = {
    ("/v1/chat/completions", "modalities"): ["text", "audio"],
    ("/v1/chat/completions", "reasoning_effort"): "high",
    ("/v1/chat/completions", "tools"): [{"type": "custom", "custom": {"name": "f"}}],
    ("/v1/completions", "best_of"): 3,
    ("/v1/responses", "background"): True,
    ("/v1/responses", "include"): ["file_search_call.results"],
    ("/v1/responses", "reasoning"): {"effort": "high"},
    ("/v1/responses", "tools"): [{"type": "web_search"}],
    ("/v1/responses", "truncation"): "auto",
    ("/v1/embeddings", "dimensions"): 8,
    ("/v1/messages", "thinking"): {"type": "enabled", "budget_tokens": 1024},
    ("/v1/messages", "output_config"): {"effort": "high"},
    ("/v1/messages", "tools"): [{"type": "web_search_20250305", "name": "web_search"}],
}
CASES = [
    (route, what, name)
    for route, (_, _, cases) in ROUTES.items()
    for what, given in cases.items()
    for name in given
]


@pytest.fixture(scope="module")
def running(begin, writer, tmp_path_factory):
    """A service of a model that writes and one that makes vectors."""
    place = tmp_path_factory.mktemp("vectors") / "vectors"
    tokenizer = train(TokenizerSpec(kind="bytes"), [])
    spec = EncoderSpec(d_model=16, layers=1, heads=2, d_ff=24, context=64)
    model = build.build(spec, tokenizer.vocabulary, seed=1)
    huggingface.write_directory(place, model, tokenizer, GenerationSpec(), {})
    return begin({"mill": str(writer), "vectors": str(place)})


@pytest.mark.parametrize("route", ROUTES)
def test_each_field_of_the_clients_is_decided_upon(route):
    kind, _, cases = ROUTES[route]
    decided = [name for given in cases.values() for name in given]
    assert len(set(decided)) == len(decided)
    assert kind.__required_keys__ | kind.__optional_keys__ == set(decided)


@pytest.mark.parametrize(("route", "what", "name"), CASES)
def test_what_becomes_of_a_field(running, route, what, name):
    _, least, cases = ROUTES[route]
    body = least | {name: cases[what][name]}
    if name == "max_completion_tokens":
        del body["max_tokens"]
    if name == "tool_choice":
        body["tools"] = cases["honoured"]["tools"]
    if name == "top_logprobs" and what == "honoured":
        body["include"] = cases["honoured"]["include"]
    status, headers, told = running.ask("POST", route, body)
    if what == "refused":
        assert status == 400, told
        assert name in told["error"]["message"]
    else:
        assert status == 200, told
        assert (name in headers.get(HEADER, "")) == (what == "unheeded") or name == "stream_options"
        assert (HEADER in headers) == (what == "unheeded")


def test_an_address_is_read_as_carefully(running):
    status, _, told = running.ask("GET", "/v1/models?colour=red")
    assert (status, told["error"]["param"]) == (400, "colour")
    least = ROUTES["/v1/messages"][1]
    client = anthropic.Anthropic(base_url=running.url, api_key=KEY, max_retries=0)
    assert client.beta.messages.create(**least).content  # which asks /v1/messages?beta=true
    assert [one.id for one in client.models.list(limit=1)] == ["mill", "vectors"]  # page by page


@pytest.mark.parametrize(("route", "name"), OTHERWISE)
def test_another_value_is_refused_where_it_would_change_the_answer(running, route, name):
    body = ROUTES[route][1] | {name: OTHERWISE[route, name]}
    status, _, told = running.ask("POST", route, body)
    assert status == 400, told
    assert name.split("_")[0] in told["error"]["message"] + str(told["error"].get("param"))
