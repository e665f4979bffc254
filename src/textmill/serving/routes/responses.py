"""/v1/responses: OpenAI's newer shape of the same. Nothing is stored, so a conversation is sent whole each time."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from textmill.inference.requests import Constraint, Token, Usage
from textmill.serving.answering import Answer, EventStream, Writing, event_of
from textmill.serving.asking import Wanted, of_messages, requests
from textmill.serving.bodies import MOST, Body, Content, Number, Text, Unheeded, check_only, plain
from textmill.serving.bodies import Model as Name
from textmill.serving.conversation import Message, grammar_of, offered, plainly
from textmill.serving.refusals import Refusal
from textmill.serving.sampling import ALTERNATIVES, alternatives, spelt, told
from textmill.serving.service import Model, Service, allowed, service_of
from textmill.serving.tools import Pieces, arguments
from textmill.tokenization.chat.tools import Call

router = APIRouter(tags=["text"], dependencies=[allowed("text")])
_FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
_LOGPROBS = "message.output_text.logprobs"
_SERIAL = "reasoning.encrypted_content"  # there is none, and it would decide nothing


class Item(Body):
    """A message, a call of a function, or what it gave."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"] = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Content | None = None
    call_id: Annotated[str, Field(max_length=200)] | None = None
    name: _FunctionName | None = None
    arguments: Text | None = None
    output: Content | None = None
    id: Unheeded
    status: Unheeded
    summary: Unheeded
    encrypted_content: Unheeded
    phase: Unheeded
    annotations: Unheeded


class FunctionTool(Body):
    """A function that is offered."""

    type: Literal["function"]
    name: _FunctionName
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: Unheeded


class Chosen(Body):
    """The one function that is to be called."""

    type: Literal["function"]
    name: _FunctionName


class Format(Body):
    """What an answer must be."""

    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str, Field(max_length=200)] | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    description: Unheeded
    strict: Unheeded


class TextSetting(Body):
    """How the text of an answer is."""

    format: Format | None = None
    verbosity: Unheeded


class Reasoning(Body):
    """How much is thought: as much as the model does by itself."""

    effort: str | None = None
    summary: Unheeded


class StreamSetting(Body):
    """What a stream tells besides."""

    include_obfuscation: Unheeded


class ResponseBody(Body):
    """What was said so far, and how it is to be answered."""

    model: Name
    input: Text | Annotated[list[Item], Field(min_length=1, max_length=4096)]
    instructions: Text | None = None
    max_output_tokens: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63, description="not OpenAI's")] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=ALTERNATIVES)] | None = None
    include: list[str] | None = None
    text: TextSetting | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=MOST)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Chosen | None = None
    parallel_tool_calls: bool = True
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    reasoning: Reasoning | None = None
    truncation: str | None = None
    background: bool = False
    previous_response_id: str | None = None
    conversation: Any = None
    stream: bool = False
    stream_options: StreamSetting | None = None
    metadata: dict[str, str] | None = None
    store: Unheeded
    user: Unheeded
    service_tier: Unheeded
    safety_identifier: Unheeded
    prompt_cache_key: Unheeded
    prompt_cache_retention: Unheeded
    prompt_cache_options: Unheeded


@router.post("/v1/responses", response_class=JSONResponse)
async def responses(body: ResponseBody, http: Request, service: Service = Depends(service_of)) -> Any:
    """Answer what was said."""
    model = service.model(body.model)
    for name in ("previous_response_id", "conversation"):
        if getattr(body, name) is not None:
            what = f"{name}: nothing is stored here, so send the whole conversation as input."
            raise Refusal(400, what, code="not_stored", param=name)
    check_only(body.truncation, ("disabled",), "truncation")
    check_only(body.background, (False,), "background")
    check_only(body.max_tool_calls, (), "max_tool_calls")
    check_only(None if body.reasoning is None else body.reasoning.effort, ("none",), "reasoning.effort")
    for one in body.include or ():
        check_only(one, (_LOGPROBS, _SERIAL), "include")
    functions = [tool.model_dump(exclude={"type", "strict"}, exclude_none=True) for tool in body.tools or ()]
    choice = body.tool_choice.name if isinstance(body.tool_choice, Chosen) else body.tool_choice
    tools = offered(functions, choice, body.parallel_tool_calls)
    constraint = grammar_of(tools, _constraint(body), "text.format")
    messages = plainly(_messages(body))
    read = await service.aside(lambda: of_messages(model, messages, None if tools is None else tools.plain()))
    logprobs = _LOGPROBS in (body.include or ())
    wanted = Wanted(
        changes={
            "temperature": body.temperature,
            "top_p": body.top_p,
            "seed": body.seed,
            "tokens": body.max_output_tokens,
        },
        logprobs=(body.top_logprobs or 0) if logprobs else None,
        constraint=constraint,
    )
    writing = await Writing(service, requests(model, [read], wanted, http.state.key.name), http).begin()
    shape = _Shape(model, http.state.id, body, tools is not None)
    events = _events(writing, shape)
    if body.stream:
        return EventStream(writing, _written(events), body.unheeded())
    [answer] = await writing.answers()
    last: dict[str, Any] = {}
    async for event in _events(_told(answer), shape):  # the same events, of which the last holds all of it
        last = event
    return JSONResponse(last["response"], headers=body.unheeded())


def _constraint(body: ResponseBody) -> Constraint | None:
    form = None if body.text is None else body.text.format
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return Constraint("json_schema", '{"type": "object"}')
    if form.schema_ is None:
        raise Refusal(400, "The schema is missing.", code="missing_value", param="text.format.schema")
    return Constraint("json_schema", json.dumps(form.schema_))


def _messages(body: ResponseBody) -> list[Message]:
    """The items of a conversation as messages: calls belong to the assistant's message before them."""
    made: list[dict[str, Any]] = []
    if body.instructions is not None:
        made.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        made.append({"role": "user", "content": body.input})
    for number, item in enumerate(body.input if isinstance(body.input, list) else ()):
        where = f"input[{number}]"
        if item.type == "message":
            if item.role is None or item.content is None:
                raise Refusal(400, "A message has a role and a content.", code="missing_value", param=where)
            made.append({"role": item.role, "content": plain(item.content)})
        elif item.type == "function_call":
            if item.call_id is None or item.name is None or item.arguments is None:
                what = "A call has a call_id, a name and arguments."
                raise Refusal(400, what, code="missing_value", param=where)
            if not made or made[-1]["role"] != "assistant":
                made.append({"role": "assistant", "content": ""})
            function = {"name": item.name, "arguments": item.arguments}
            made[-1].setdefault("tool_calls", []).append({"id": item.call_id, "function": function})
        elif item.type == "function_call_output":
            if item.call_id is None or item.output is None:
                what = "What a call gave has a call_id and an output."
                raise Refusal(400, what, code="missing_value", param=where)
            made.append({"role": "tool", "content": plain(item.output), "tool_call_id": item.call_id})
    if not made:
        raise Refusal(400, "There is no message.", code="missing_value", param="input")
    return [Message.model_validate(one) for one in made]


class _Shape:
    """How an answer of one request looks."""

    def __init__(self, model: Model, id: str, body: ResponseBody, calls: bool) -> None:
        self.model, self.body, self.calls = model, body, calls
        self.key, self.created = id.removeprefix("req_"), int(time.time())

    def pieces(self) -> Pieces:
        """What takes an answer of this model apart."""
        template = self.model.template
        return Pieces(self.calls, template is not None and "<think>" in template.source)

    def response(
        self, status: str, output: Sequence[dict[str, Any]] = (), usage: Usage | None = None
    ) -> dict[str, Any]:
        """The whole response, as far as it is known."""
        asked = self.body
        plainly = {"mode": "json"}
        tools = [tool.model_dump(**plainly) for tool in asked.tools or ()]
        choice = asked.tool_choice
        form = None if asked.text is None else asked.text.format
        text = {"type": "text"} if form is None else form.model_dump(by_alias=True, exclude_none=True)
        return {
            "id": f"resp_{self.key}",
            "object": "response",
            "created_at": self.created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "metadata": asked.metadata or {},
            "model": self.model.name,
            "output": list(output),
            "parallel_tool_calls": asked.parallel_tool_calls,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "system_fingerprint": self.model.fingerprint,
            "temperature": asked.temperature,
            "text": {"format": text},
            "tool_choice": choice.model_dump(**plainly) if isinstance(choice, Chosen) else choice or "auto",
            "tools": tools,
            "top_p": asked.top_p,
            "truncation": "disabled",
            "usage": None if usage is None else usage_of(usage),
        }

    def probabilities(self, token: Token) -> dict[str, Any]:
        """How likely a token was, and others in its place."""
        return {
            "token": spelt(self.model, token.id, token.bytes),
            "bytes": list(token.bytes),
            "logprob": told(token.logprob),
            "top_logprobs": [
                {"token": text, "bytes": list(data), "logprob": logprob}
                for _, data, text, logprob in alternatives(self.model, token)
            ],
        }


def usage_of(usage: Usage) -> dict[str, Any]:
    """Tokens, as this shape has them."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.written,
    }


async def _told(answer: Answer) -> AsyncIterator[tuple[int, Any]]:
    """A whole answer as the engine told it."""
    for token in answer.tokens:
        yield 0, token
    assert answer.finished is not None
    yield 0, answer.finished


async def _written(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    async for event in events:
        yield event_of(event, event["type"])


async def _events(heard: Any, shape: _Shape) -> AsyncIterator[dict[str, Any]]:
    """All events of a response, numbered; the last one holds all of it."""
    output, reader, answer = _Output(shape.key), shape.pieces(), Answer()
    asked = _LOGPROBS in (shape.body.include or ())
    yield output.event("created", response=shape.response("in_progress"))
    yield output.event("in_progress", response=shape.response("in_progress"))
    async for _, said in heard:
        answer.take(said)
        if asked and isinstance(said, Token):
            output.logprobs.append(shape.probabilities(said))
        found = reader.push(said.text) if isinstance(said, Token) else []
        found += reader.finish() if answer.finished is not None else []
        for piece in found:
            for event in output.call(piece) if isinstance(piece, Call) else output.write(*piece):
                yield event
    assert answer.finished is not None
    status = "incomplete" if answer.finished.reason == "length" else "completed"
    for event in [*([] if output.items else output.write("text", "")), *output.close(status)]:
        yield event
    yield output.event(status, response=shape.response(status, output.items, answer.finished.usage))


class _Output:
    """The items of a response as they grow, and the events that tell of it."""

    def __init__(self, key: str) -> None:
        self.items: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = []  # of tokens whose text has not been told yet
        self._key, self._number = key, 0
        self._open = False  # whether the last item may still grow

    def event(self, kind: str, **data: Any) -> dict[str, Any]:
        """The next event."""
        self._number += 1
        return {"type": f"response.{kind}", "sequence_number": self._number - 1} | data

    def write(self, kind: str, text: str) -> Iterator[dict[str, Any]]:
        """More of a message (`text`), or of what is thought before it (`reasoning`)."""
        type = "message" if kind == "text" else "reasoning"
        if not self._open or self.items[-1]["type"] != type:
            yield from self.close("completed")
            yield from self._begin(type)
        part = self.items[-1]["content"][0]
        part["text"] += text
        if type == "reasoning":
            yield self.event("reasoning_text.delta", **self._place(), delta=text)
            return
        logprobs, self.logprobs = self.logprobs, []
        part["logprobs"] += logprobs
        yield self.event("output_text.delta", **self._place(), delta=text, logprobs=logprobs)

    def call(self, call: Call) -> Iterator[dict[str, Any]]:
        """A call of a function, whole."""
        yield from self.close("completed")
        number, whole = len(self.items), arguments(call)
        ids = {"id": f"fc_{self._key}_{number}", "call_id": f"call_{self._key}_{number}"}
        item = {"type": "function_call", **ids, "name": call.name, "arguments": "", "status": "in_progress"}
        self.items.append(item)
        place = {"item_id": item["id"], "output_index": number}
        yield self.event("output_item.added", output_index=number, item=dict(item))
        yield self.event("function_call_arguments.delta", **place, delta=whole)
        item |= {"arguments": whole, "status": "completed"}
        yield self.event("function_call_arguments.done", **place, name=call.name, arguments=whole)
        yield self.event("output_item.done", output_index=number, item=dict(item))

    def close(self, status: str) -> Iterator[dict[str, Any]]:
        """End the item that grows, if one does."""
        if not self._open:
            return
        self._open, item = False, self.items[-1]
        item["status"] = status
        [part] = item["content"]
        kind = part["type"]
        told = {"logprobs": part["logprobs"]} if kind == "output_text" else {}
        yield self.event(f"{kind}.done", **self._place(), text=part["text"], **told)
        yield self.event("content_part.done", **self._place(), part=dict(part))
        yield self.event("output_item.done", output_index=len(self.items) - 1, item=dict(item))

    def _begin(self, type: str) -> Iterator[dict[str, Any]]:
        self._open, number = True, len(self.items)
        if type == "reasoning":
            head: dict[str, Any] = {"id": f"rs_{self._key}_{number}", "type": type, "summary": []}
            part: dict[str, Any] = {"type": "reasoning_text", "text": ""}
        else:
            head = {"id": f"msg_{self._key}_{number}", "type": type, "role": "assistant"}
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self.items.append(head | {"status": "in_progress", "content": [part]})
        yield self.event("output_item.added", output_index=number, item=self.items[-1] | {"content": []})
        yield self.event("content_part.added", **self._place(), part=dict(part))

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1, "content_index": 0}
