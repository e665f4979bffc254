"""What is asked for besides text: log probabilities, schemas, functions, decisions; by OpenAI's own client."""

from __future__ import annotations

import dataclasses
import json
import math

import anthropic
import openai
import pytest
import torch

from helpers.chat_templates import CALLING, CALLING_CONTROL, tokenizer_with
from helpers.serving import KEY
from textmill.data.batch import Batch
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.huggingface.peft import directory as peft
from textmill.interop.load import load
from textmill.models import adapters, build
from textmill.models.pretrained import Adapter
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec
from textmill.specs.tuning import LoRATuning
from textmill.stages.use.model import LanguageModel
from textmill.tasks.likelihood import likelihoods

ASK = [{"role": "user", "content": "Good morning"}]
TALL = {
    "type": "object",
    "properties": {"tall": {"type": "boolean"}},
    "required": ["tall"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(mill):
    return openai.OpenAI(base_url=f"{mill.url}/v1", api_key=KEY, max_retries=0)


@pytest.fixture(scope="module")
def model(writer):
    """The model that is served, as it is read here."""
    return load(writer)


PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}, "tall": {"type": "boolean"}},
    "required": ["age", "tall"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "Look", "parameters": PERSON}}


def logprobs_of(model, ids):
    """(n, V) log probabilities after each id, by the training path."""
    rows = torch.tensor([ids])
    with torch.inference_mode():
        return model.model(Batch(rows, rows))[0].float().log_softmax(-1)


def test_echo_tells_how_likely_a_prompt_is(client, model):
    ids = model.tokenizer.encode("the mill turns").tolist()
    made = client.completions.create(model="mill", prompt=ids, max_tokens=0, echo=True, logprobs=2)
    [choice] = made.choices
    told = choice.logprobs
    expected = logprobs_of(model, ids)
    assert choice.text == "the mill turns" == "".join(told.tokens)
    assert told.token_logprobs[0] is None
    right = [expected[at, token].item() for at, token in enumerate(ids[1:])]
    assert told.token_logprobs[1:] == pytest.approx(right, abs=1e-4)
    best = [expected[at].max().item() for at in range(len(ids) - 1)]
    assert [max(top.values()) for top in told.top_logprobs[1:]] == pytest.approx(best, abs=1e-4)
    assert told.text_offset == list(range(len(ids)))
    assert made.usage.completion_tokens == 0


def test_what_evaluation_tools_ask_of_a_tokenizer(mill, model):
    """vLLM's routes, by which lm-evaluation-harness cuts texts as the model does: the only model needs no name."""
    told = mill.ask("GET", "/tokenizer_info")[2]
    end = model.tokenizer.special[told["eos_token"]]
    assert end == model.tokenizer.end
    body = {"prompt": "the mill", "add_special_tokens": False}
    ids = mill.ask("POST", "/tokenize", body)[2]["tokens"]
    assert ids == model.tokenizer.encode("the mill").tolist()
    assert mill.ask("POST", "/tokenize", body | {"prompt": told["eos_token"]})[2]["tokens"] == [end]
    assert mill.ask("POST", "/detokenize", {"tokens": ids})[2]["prompt"] == "the mill"
    assert mill.ask("POST", "/tokenize", body | {"content": "a"})[0] == 400


def test_log_probabilities_are_the_models_own(client, model):
    made = client.chat.completions.create(
        model="mill", messages=ASK, max_tokens=4, temperature=0, logprobs=True, top_logprobs=3
    )
    content = made.choices[0].logprobs.content
    assert len(content) == 4
    for token in content:
        assert token.logprob == token.top_logprobs[0].logprob  # greedy
        assert len(token.top_logprobs) == 3
        assert [top.logprob for top in token.top_logprobs] == sorted(
            (top.logprob for top in token.top_logprobs), reverse=True
        )
        assert token.logprob <= 0
    written = b"".join(bytes(token.bytes) for token in content).decode("utf-8", "replace")
    assert written == made.choices[0].message.content


def test_a_bias_is_added(client, model):
    [letter] = model.tokenizer.encode("q").tolist()
    made = client.completions.create(
        model="mill", prompt="a", max_tokens=3, temperature=0, logit_bias={str(letter): 100}
    )
    assert made.choices[0].text == "qqq"


def test_an_answer_follows_a_schema(client):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    made = client.chat.completions.create(model="mill", messages=ASK, max_tokens=100, response_format=form)
    assert made.choices[0].finish_reason == "stop"
    found = json.loads(made.choices[0].message.content)
    assert (type(found["age"]), type(found["tall"])) == (int, bool)


def test_a_function_is_called(client):
    asked = {
        "model": "mill",
        "messages": ASK,
        "tools": [TOOL],
        "max_tokens": 200,
        "parallel_tool_calls": False,
    }
    made = client.chat.completions.create(**asked, tool_choice="required").choices[0]
    assert made.finish_reason == "tool_calls"
    [call, *_] = made.message.tool_calls
    assert call.function.name == "look_up"
    assert set(json.loads(call.function.arguments)) == {"age", "tall"}
    chunks = client.chat.completions.create(**asked, tool_choice="required", stream=True)
    streamed = [one for chunk in chunks for one in chunk.choices[0].delta.tool_calls or ()]
    assert streamed[0].function.arguments == call.function.arguments
    talk = [
        *ASK,
        made.message.model_dump(exclude_none=True),
        *({"role": "tool", "tool_call_id": one.id, "content": "nobody"} for one in made.message.tool_calls),
    ]
    again = client.chat.completions.create(model="mill", messages=talk, tools=[TOOL], max_tokens=3)
    assert again.usage.prompt_tokens > len("nobody")
    assert client.chat.completions.create(**asked, tool_choice="none").choices[0].message.tool_calls is None


def test_a_response_calls_functions_and_follows_schemas(client):
    made = client.responses.create(
        model="mill",
        input="Hi",
        tools=[{"type": "function", "name": "look_up", "parameters": TALL}],
        tool_choice="required",
        max_output_tokens=100,
    )
    call = made.output[0]
    assert (call.type, call.name) == ("function_call", "look_up")
    assert set(json.loads(call.arguments)) == {"tall"}
    given = {"type": "function_call_output", "call_id": call.call_id, "output": "yes"}
    talk = [{"role": "user", "content": "Hi"}, call.model_dump(exclude_none=True), given]
    assert client.responses.create(model="mill", input=talk, max_output_tokens=2).output
    form = {"format": {"type": "json_schema", "name": "a", "schema": TALL, "strict": True}}
    made = client.responses.create(model="mill", input="Hi", text=form, max_output_tokens=60)
    assert type(json.loads(made.output_text)["tall"]) is bool


FORM = {"type": "json_schema", "json_schema": {"name": "tall", "schema": TALL, "strict": True}}


def checked(text, calls):
    """Whether it was a call; what was said follows the schema, and what was called was offered."""
    if not calls:
        assert type(json.loads(text)["tall"]) is bool
        return False
    assert not text
    [(name, given)] = calls
    assert name == "look_up"
    assert set(given) == {"age", "tall"}
    return True


def test_functions_and_a_schema_together(client, mill):
    """Whatever is written is a call of what was offered, or JSON of the schema: in all three shapes."""
    settings = {"model": "mill", "temperature": 1.0}
    seen = set()
    for seed in range(6):
        asked = {"messages": ASK, "tools": [TOOL], "response_format": FORM, "parallel_tool_calls": False}
        made = client.chat.completions.create(**settings, **asked, seed=seed, max_tokens=200).choices[0]
        calls = [
            (one.function.name, json.loads(one.function.arguments)) for one in made.message.tool_calls or ()
        ]
        seen.add(checked(made.message.content, calls))
        if seed == 0:
            with client.chat.completions.stream(**settings, **asked, seed=seed, max_tokens=200) as stream:
                last = stream.get_final_completion().choices[0].message
            assert (last.content or "") == (made.message.content or "")
            assert [one.function.arguments for one in last.tool_calls or ()] == [
                one.function.arguments for one in made.message.tool_calls or ()
            ]
        asked = {
            "tools": [{"type": "function", "name": "look_up", "parameters": PERSON}],
            "parallel_tool_calls": False,
        }
        form = {"format": {"type": "json_schema", "name": "a", "schema": TALL, "strict": True}}
        extra = {"seed": seed}
        told = client.responses.create(
            **settings, **asked, input="Hi", text=form, max_output_tokens=200, extra_body=extra
        )
        calls = [(one.name, json.loads(one.arguments)) for one in told.output if one.type == "function_call"]
        seen.add(checked(told.output_text, calls))
    assert seen == {True, False}
    anthropics = anthropic.Anthropic(base_url=mill.url, api_key=KEY, max_retries=0)
    told = anthropics.messages.create(
        model="mill", max_tokens=200, messages=ASK, output_config={"format": {"type": "json_schema", "schema": TALL}},
        tools=[{"name": "look_up", "input_schema": PERSON}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )  # fmt: skip
    calls = [(block.name, block.input) for block in told.content if block.type == "tool_use"]
    checked("".join(block.text for block in told.content if block.type == "text"), calls)


@pytest.mark.parametrize("name", ["tekken", "llama", "mistral"])
def test_a_model_calls_in_its_own_form(begin, tmp_path, name):
    """Also where what opens a call is a special token, which stands in no text."""
    place, tokenizer = tmp_path / "own", tokenizer_with(CALLING_CONTROL[name])
    spec = DecoderSpec(d_model=16, layers=1, heads=2, d_ff=32, context=2048)
    made = build.build(spec, tokenizer.vocabulary, seed=1)
    huggingface.write_directory(
        place, made, tokenizer, GenerationSpec(temperature=1.0), {}, template=CALLING[name]
    )
    running = begin({"own": str(place)})
    assert running.service.model("own").purpose == "chat"
    client = openai.OpenAI(base_url=f"{running.url}/v1", api_key=KEY, max_retries=0)
    asked = {"model": "own", "messages": ASK, "tools": [TOOL], "tool_choice": "required", "max_tokens": 200}
    [call, *_] = client.chat.completions.create(**asked).choices[0].message.tool_calls
    assert call.function.name == "look_up"
    assert set(json.loads(call.function.arguments)) == {"age", "tall"}
    chunks = client.chat.completions.create(**asked, stream=True)
    streamed = [one for chunk in chunks for one in chunk.choices[0].delta.tool_calls or ()]
    assert streamed[0].function.arguments == call.function.arguments
    talk = [
        *ASK,
        {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "nobody"},
    ]
    again = client.chat.completions.create(model="own", messages=talk, tools=[TOOL], max_tokens=3)
    assert again.usage.prompt_tokens > len("nobody")
    together = client.chat.completions.create(
        **asked | {"tool_choice": "auto", "response_format": FORM}
    ).choices[0]
    calls = [
        (one.function.name, json.loads(one.function.arguments)) for one in together.message.tool_calls or ()
    ]
    checked(together.message.content, calls[:1])


def test_tokens_of_a_thought_are_counted(begin, tmp_path):
    """Of a model whose prompt ends within a thought, and which never ends it, all of them are."""
    place, tokenizer = tmp_path / "thinker", tokenizer_with(CALLING_CONTROL["hermes"])
    spec = DecoderSpec(d_model=16, layers=1, heads=2, d_ff=32, context=256)
    made = build.build(spec, tokenizer.vocabulary, seed=1)
    begins = "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" + begins
    )
    huggingface.write_directory(place, made, tokenizer, GenerationSpec(), {}, template=template)
    running = begin({"thinker": str(place)})
    client = openai.OpenAI(base_url=f"{running.url}/v1", api_key=KEY, max_retries=0)
    asked = {"model": "thinker", "messages": ASK, "max_tokens": 7}
    made = client.chat.completions.create(**asked)
    assert made.choices[0].message.content == ""
    assert made.choices[0].message.reasoning
    assert made.usage.completion_tokens_details.reasoning_tokens == made.usage.completion_tokens == 7
    *_, last = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    assert last.usage.completion_tokens_details.reasoning_tokens == 7
    told = client.responses.create(model="thinker", input="Hi", max_output_tokens=7)
    assert told.usage.output_tokens_details.reasoning_tokens == 7
    anthropics = anthropic.Anthropic(base_url=running.url, api_key=KEY, max_retries=0)
    said = anthropics.messages.create(**asked)
    assert ([block.type for block in said.content], said.usage.output_tokens_details.thinking_tokens) == (
        ["thinking"],
        7,
    )


def test_decisions_are_likelihoods_of_answers(client, writer):
    questions = [
        {"type": "predicate", "instructions": "It is morning.", "name": "morning"},
        {
            "type": "choice",
            "instructions": "Which?",
            "choices": [{"value": "a"}, {"value": "bc"}, {"value": True}],
        },
        {"type": "score", "instructions": "How much?", "levels": [{"label": "low"}, {"label": "high"}]},
    ]
    made = client.decisions.create(model="mill", input="Good morning", questions=questions)
    predicate, choice, score = made.answers
    assert (predicate.name, 0 < predicate.probability < 1) == ("morning", True)
    assert [one.value for one in choice.probabilities] == ["a", "bc", True]
    assert sum(one.probability for one in choice.probabilities) == pytest.approx(1)
    assert choice.confidence == max(one.probability for one in choice.probabilities)
    assert score.score == pytest.approx(score.probabilities[1].probability)
    assert made.usage.input_tokens > 0
    again = client.decisions.create(model="mill", input="Good morning", questions=questions[2:])
    assert again.answers[0] == score  # a question does not depend on those beside it


def test_a_decision_of_a_model_without_a_template(begin, tmp_path, tokenizer):
    """The likelihoods are those that `textmill evaluate` scores choices by."""

    place = tmp_path / "plain"
    spec = DecoderSpec(d_model=16, layers=1, heads=2, d_ff=32, context=256)
    made = build.build(spec, tokenizer.vocabulary, seed=2)
    huggingface.write_directory(place, made, tokenizer, GenerationSpec(), {})
    running = begin({"plain": str(place)})
    model = running.service.model("plain")
    object.__setattr__(model, "template", None)  # as if nobody had said how it reads conversations
    question = {"type": "choice", "instructions": "Which?", "choices": [{"value": "a"}, {"value": "bc"}]}
    body = {"model": "plain", "input": "Good morning", "questions": [question]}
    status, _, told = running.ask("POST", "/v1/decisions", body)
    assert status == 200, told
    context = "Good morning\n\nWhich?\nAnswer with one of:\n- a\n- bc\n\nAnswer:"
    found = likelihoods(load(place), [(context, " a"), (context, " bc")])
    weights = [math.exp(one.value) for one in found]
    right = [weight / sum(weights) for weight in weights]
    assert [one["probability"] for one in told["answers"][0]["probabilities"]] == pytest.approx(
        right, abs=1e-4
    )


def test_several_answers_differ_and_the_first_is_that_alone(client):
    def said(**changes):
        made = client.chat.completions.create(
            model="mill", messages=ASK, max_tokens=24, temperature=1.0, seed=5, **changes
        )
        return [choice.message.content for choice in made.choices]

    several = said(n=3)
    assert several[0] == said()[0]
    assert len(set(several)) == 3


def test_an_adapter_is_a_model_of_its_own_beside_its_base(begin, writer, tmp_path, client):
    base, tuning = load(writer), LoRATuning(rank=2)
    model = adapters.adapt(base.model, tuning, seed=1)
    for tensor in adapters.tensors(model).values():
        tensor.data.normal_(std=0.5)
    beside = Adapter(tuning, base, str(writer), adapters.weights_id(base.model), "")
    peft.write_pretrained(tmp_path / "adapter", dataclasses.replace(base, model=model, adapter=beside))
    running = begin({"mill": str(writer)}, adapters={"letters": str(tmp_path / "adapter")})
    body = {"prompt": "the mill", "max_tokens": 12, "temperature": 0}
    said = {
        name: running.ask("POST", "/v1/completions", body | {"model": name})[2]["choices"][0]["text"]
        for name in ("mill", "letters")
    }
    assert said["mill"] == client.completions.create(model="mill", **body).choices[0].text
    python = LanguageModel(running.service.workspace, str(writer)).with_adapter(str(tmp_path / "adapter"))
    assert said["letters"] == python.generate("the mill", tokens=12, temperature=0)[0].text
    assert said["letters"] != said["mill"]
