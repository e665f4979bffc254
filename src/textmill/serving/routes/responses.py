"""/v1/responses: OpenAI's newer shape of the same. Nothing is kept unless the service was told where; a conversation is
then gone on with by the name of its last response, else it is sent whole each time."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from textmill.base.errors import TextmillError
from textmill.inference.requests import Constraint
from textmill.inference.requests import Request as EngineRequest
from textmill.serving.answering import EventStream, Writing, event_of, refused
from textmill.serving.asking import Wanted, of_messages, requests
from textmill.serving.bodies import MOST, Body, Content, Number, Text, TextPart, Unheeded, check_only, plain
from textmill.serving.bodies import Model as Name
from textmill.serving.conversation import Message, offered, plainly
from textmill.serving.kept import Kept
from textmill.serving.refusals import Refusal
from textmill.serving.responding import events_of, told_again
from textmill.serving.sampling import ALTERNATIVES, json_of
from textmill.serving.service import Service, allowed, service_of
from textmill.serving.tools import Speech

router = APIRouter(tags=["text"], dependencies=[allowed("text")])
_FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
_Id = Annotated[str, Path(max_length=200)]
_IDS = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_LOGPROBS = "message.output_text.logprobs"
_SERIAL = "reasoning.encrypted_content"  # there is none, and it would decide nothing


class Thought(Body):
    """A part of what was thought before an answer."""

    type: Literal["reasoning_text"]
    text: Text


class Item(Body):
    """A message, a call of a function, or what it gave."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"] = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Content | Annotated[list[Thought], Field(max_length=1024)] | None = None
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
    previous_response_id: Annotated[str, Field(max_length=200)] | None = None
    conversation: Any = None
    stream: bool = False
    stream_options: StreamSetting | None = None
    metadata: dict[str, str] | None = None
    store: Annotated[bool, Field(description="left out: where the service keeps responses")] | None = None
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
    _check(body)
    said = [*await _before(body, http, service), *_items(body, http.state.id)]
    functions = [tool.model_dump(exclude={"type", "strict"}, exclude_none=True) for tool in body.tools or ()]
    choice = body.tool_choice.name if isinstance(body.tool_choice, Chosen) else body.tool_choice
    speech = Speech(model, offered(functions, choice, body.parallel_tool_calls), _constraint(body))
    messages = plainly(_messages(body.instructions, said))
    asked = await service.aside(lambda: _asked(body, speech, messages, http.state.key.name))
    writing = await Writing(service, asked, http).begin()
    kept = service.kept is not None and body.store is not False
    headers = body.unheeded(*(["store"] if body.store and not kept else []))
    heard: Any = writing
    if not body.stream:
        [answer] = await writing.answers()
        heard = told_again(answer)
    events = events_of(heard, speech, _head(body, http.state.id, kept), _LOGPROBS in (body.include or ()))
    if kept:
        events = _keeping(events, service, http, said)
    if body.stream:
        return EventStream(writing, _written(events), headers)
    last: dict[str, Any] = {}
    async for event in events:  # the same events, of which the last holds all of it
        last = event
    return JSONResponse(last["response"], headers=headers)


@router.get("/v1/responses/{id}", response_class=JSONResponse)
async def response(
    id: _Id,
    http: Request,
    service: Service = Depends(service_of),
    stream: bool = False,
    include: Annotated[list[str] | None, Query(alias="include[]")] = None,
) -> JSONResponse:
    """A response that is kept, with all that was asked for when it was made."""
    check_only(stream, (False,), "stream")
    for one in include or ():
        check_only(one, (_LOGPROBS, _SERIAL), "include")
    return JSONResponse((await _found(id, http, service))["response"])


@router.delete("/v1/responses/{id}")
async def forget(id: _Id, http: Request, service: Service = Depends(service_of)) -> dict[str, Any]:
    """Keep a response no longer. Responses that go on from it stay: each holds its whole conversation."""
    kept = _kept(service)
    if not await service.aside(lambda: kept.remove(http.state.key, id)):
        raise _unknown(id)
    return {"id": id, "object": "response", "deleted": True}


@router.get("/v1/responses/{id}/input_items", response_class=JSONResponse)
async def input_items(
    id: _Id,
    http: Request,
    service: Service = Depends(service_of),
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> JSONResponse:
    """What was said before a response that is kept, from the beginning of its conversation on."""
    items = (await _found(id, http, service))["items"]
    items = items if order == "asc" else items[::-1]
    names = [item["id"] for item in items]
    if after is not None and after not in names:
        raise Refusal(400, "after names no item of it.", code="invalid_value", param="after")
    start = 0 if after is None else names.index(after) + 1
    some = items[start : start + limit]
    first, last = (some[0]["id"], some[-1]["id"]) if some else (None, None)
    more = start + limit < len(items)
    told = {"object": "list", "data": some, "first_id": first, "last_id": last, "has_more": more}
    return JSONResponse(told)


def _kept(service: Service) -> Kept:
    """Where responses are kept. Raises Refusal where they are not."""
    if service.kept is None:
        what = "Nothing is kept here: `textmill serve --store-responses FOLDER` keeps responses."
        raise Refusal(400, what, code="not_stored")
    return service.kept


def _unknown(id: str) -> Refusal:
    return Refusal(404, f"No response {id!r} of this key is kept.", code="response_not_found")


async def _found(id: str, http: Request, service: Service) -> dict[str, Any]:
    """What is kept of a response. Raises Refusal where nothing is."""
    kept = _kept(service)
    found = await service.aside(lambda: _read(kept, http, id))
    if found is None:
        raise _unknown(id)
    return found


def _read(kept: Kept, http: Request, id: str) -> dict[str, Any] | None:
    try:
        return kept.get(http.state.key, id)
    except TextmillError as error:
        raise refused(error) from error


async def _before(body: ResponseBody, http: Request, service: Service) -> list[Item]:
    """What was said up to the response that this one goes on from, and in it. Raises Refusal where it is not kept."""
    id = body.previous_response_id
    if id is None:
        return []
    if service.kept is None:
        what = "previous_response_id: nothing is stored here, so send the whole conversation as input."
        raise Refusal(400, what, code="not_stored", param="previous_response_id")
    kept = service.kept
    found = await service.aside(lambda: _read(kept, http, id))
    if found is None:
        what = f"previous_response_id: no response {id!r} of this key is kept."
        raise Refusal(400, what, code="previous_response_not_found", param="previous_response_id")
    return [Item.model_validate(one) for one in (*found["items"], *found["response"]["output"])]


def _items(body: ResponseBody, id: str) -> list[Item]:
    """What is said now, each with an id of its own."""
    given = (
        [Item.model_validate({"role": "user", "content": body.input})]
        if isinstance(body.input, str)
        else body.input
    )
    key = id.removeprefix("req_")
    return [
        item.model_copy(update={"id": f"{_IDS[item.type]}_{key}_in{number}"})
        for number, item in enumerate(given)
    ]


def _plain(item: Item) -> dict[str, Any]:
    """An item as clients read it: a message's content is parts."""
    plain = {"type": item.type} | item.model_dump(mode="json", exclude_none=True)
    if item.type == "message" and isinstance(item.content, str):
        kind = "output_text" if item.role == "assistant" else "input_text"
        said = {"annotations": []} if kind == "output_text" else {}
        plain["content"] = [{"type": kind, "text": item.content, **said}]
    return plain if item.type == "reasoning" else plain | {"status": item.status or "completed"}


async def _keeping(
    events: AsyncIterator[dict[str, Any]], service: Service, http: Request, said: Sequence[Item]
) -> AsyncIterator[dict[str, Any]]:
    """The same events; the response is on the disk before the last one is told."""
    put = functools.partial(_kept(service).put, http.state.key)
    items = [_plain(item) for item in said]
    async for event in events:
        if event["type"] in ("response.completed", "response.incomplete"):
            try:
                await service.aside(functools.partial(put, event["response"], items))
            except (OSError, TextmillError) as error:
                raise Refusal(500, f"The response cannot be kept: {error}.", code="not_kept") from error
        yield event


def _check(body: ResponseBody) -> None:
    """Raises Refusal for what would have to change the answer, and cannot here."""
    if body.conversation is not None:
        what = (
            "conversation: none is kept here; previous_response_id goes on from a response, where those are."
        )
        raise Refusal(400, what, code="not_stored", param="conversation")
    check_only(body.truncation, ("disabled",), "truncation")
    check_only(body.background, (False,), "background")
    check_only(body.max_tool_calls, (), "max_tool_calls")
    check_only(None if body.reasoning is None else body.reasoning.effort, ("none",), "reasoning.effort")
    for one in body.include or ():
        check_only(one, (_LOGPROBS, _SERIAL), "include")


def _asked(
    body: ResponseBody, speech: Speech, messages: Sequence[Mapping[str, Any]], owner: str
) -> list[EngineRequest]:
    """What the engine is asked."""
    wanted = Wanted(
        changes={
            "temperature": body.temperature,
            "top_p": body.top_p,
            "seed": body.seed,
            "tokens": body.max_output_tokens,
        },
        logprobs=(body.top_logprobs or 0) if _LOGPROBS in (body.include or ()) else None,
        constraint=speech.constraint(),
        spelt=speech.spelt(),
    )
    tools = None if speech.offer is None else speech.offer.plain()
    return requests(speech.model, [of_messages(speech.model, messages, tools)], wanted, owner)


def _constraint(body: ResponseBody) -> Constraint | None:
    form = None if body.text is None else body.text.format
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return json_of({"type": "object"})
    if form.schema_ is None:
        raise Refusal(400, "The schema is missing.", code="missing_value", param="text.format.schema")
    return json_of(form.schema_)


def _spoken(content: Content | list[Thought], where: str) -> str:
    """What a message says. Raises Refusal for what is thought: that is an item of its own."""
    if isinstance(content, str):
        return content
    texts = [part.text for part in content if isinstance(part, TextPart)]
    if len(texts) < len(content):
        raise Refusal(400, "A message has parts of text alone.", code="invalid_value", param=where)
    return "".join(texts)


def _messages(instructions: str | None, items: Sequence[Item]) -> list[Message]:
    """The items of a conversation as messages: calls belong to the assistant's message before them. What was thought is
    no part of a conversation that goes on."""
    made: list[dict[str, Any]] = []
    if instructions is not None:
        made.append({"role": "system", "content": instructions})
    for number, item in enumerate(items):
        where = f"input[{number}]"
        if item.type == "message":
            if item.role is None or item.content is None:
                raise Refusal(400, "A message has a role and a content.", code="missing_value", param=where)
            made.append({"role": item.role, "content": _spoken(item.content, where)})
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


def _head(body: ResponseBody, id: str, kept: bool) -> dict[str, Any]:
    """What a response says of its request."""
    choice, form = body.tool_choice, None if body.text is None else body.text.format
    text = {"type": "text"} if form is None else form.model_dump(by_alias=True, exclude_none=True)
    return {
        "id": f"resp_{id.removeprefix('req_')}",
        "background": False,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls,
        "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "store": kept,
        "temperature": body.temperature,
        "text": {"format": text},
        "tool_choice": choice.model_dump(mode="json") if isinstance(choice, Chosen) else choice or "auto",
        "tools": [tool.model_dump(mode="json") for tool in body.tools or ()],
        "top_p": body.top_p,
        "truncation": "disabled",
    }


async def _written(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    async for event in events:
        yield event_of(event, event["type"])
