"""/v1/chat/completions: conversations, as OpenAI's clients have them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from textmill.inference.requests import Request as EngineRequest
from textmill.inference.requests import Token, Usage
from textmill.serving.answering import Answer, EventStream, Writing, event_of, total
from textmill.serving.asking import Wanted, of_messages, requests
from textmill.serving.bodies import MOST, Unheeded, check_only
from textmill.serving.conversation import Message, Tool, ToolChoice, offer, plainly
from textmill.serving.refusals import Refusal
from textmill.serving.sampling import (
    ALTERNATIVES,
    ResponseFormat,
    Sampling,
    StreamOptions,
    alternatives,
    spelt,
    told,
)
from textmill.serving.service import Service, allowed, service_of
from textmill.serving.tools import Speech, arguments, taken_apart
from textmill.tokenization.chat.tools import Call

router = APIRouter(tags=["text"], dependencies=[allowed("text")])


class ChatBody(Sampling):
    """A conversation, and how it is to be answered."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=4096)]
    max_completion_tokens: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=1 << 31, description="the older name")] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=ALTERNATIVES)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=MOST)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    stream_options: StreamOptions | None = None
    modalities: list[str] | None = None
    reasoning_effort: str | None = None
    verbosity: Unheeded


@router.post("/v1/chat/completions", response_class=JSONResponse)
async def chat_completions(body: ChatBody, http: Request, service: Service = Depends(service_of)) -> Any:
    """Answer a conversation. Text alone is read; functions may be offered, and a schema followed."""
    model = service.model(body.model)
    check_only(None if body.modalities == ["text"] else body.modalities, (), "modalities")
    check_only(body.reasoning_effort, ("none",), "reasoning_effort")
    if body.top_logprobs is not None and not body.logprobs:
        raise Refusal(400, "top_logprobs wants logprobs, too.", code="invalid_value", param="top_logprobs")
    if body.stream_options is not None and not body.stream:
        raise Refusal(400, "stream_options wants stream, too.", code="invalid_value", param="stream_options")
    if body.max_tokens and body.max_completion_tokens and body.max_tokens != body.max_completion_tokens:
        raise Refusal(
            400, "max_tokens and max_completion_tokens differ.", code="invalid_value", param="max_tokens"
        )
    offered = offer(body.tools, body.tool_choice, parallel=body.parallel_tool_calls)
    content = None if body.response_format is None else body.response_format.constraint()
    speech, messages = Speech(model, offered, content), plainly(body.messages)
    asked = await service.aside(lambda: _asked(body, speech, messages, http.state.key.name))
    writing = await Writing(service, asked, http).begin()
    shape = _Shape(speech, http.state.id, body.logprobs)
    headers = body.unheeded()
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        return EventStream(writing, _events(writing, shape, body.n, usage), headers)
    answers = await writing.answers()
    choices = [shape.choice(number, answer) for number, answer in enumerate(answers)]
    usage = usage_of(total(answers, body.n), shape.thought)
    whole = shape.head("chat.completion") | {"choices": choices, "usage": usage}
    return JSONResponse(whole, headers=headers)


def _asked(
    body: ChatBody, speech: Speech, messages: Sequence[Mapping[str, Any]], owner: str
) -> list[EngineRequest]:
    """What the engine is asked."""
    tools = None if speech.offer is None else speech.offer.plain()
    wanted = Wanted(
        changes=body.changes(body.max_completion_tokens or body.max_tokens),
        n=body.n,
        bias=body.bias(),
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        constraint=speech.constraint(),
        spelt=speech.spelt(),
    )
    return requests(speech.model, [of_messages(speech.model, messages, tools)], wanted, owner)


def usage_of(usage: Usage, thought: int = 0) -> dict[str, Any]:
    """Tokens, as OpenAI's clients read them. thought: how many of those written were thought before an answer."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.written,
        "total_tokens": usage.prompt + usage.written,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


class _Shape:
    """How an answer of one request looks."""

    def __init__(self, speech: Speech, id: str, logprobs: bool) -> None:
        self.speech, self.model, self.logprobs = speech, speech.model, logprobs
        self.thought = 0  # tokens of all answers together
        self.id, self.created = f"chatcmpl-{id.removeprefix('req_')}", int(time.time())

    def head(self, kind: str) -> dict[str, Any]:
        """What every answer and event begins with."""
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model.name}
        return head | {"system_fingerprint": self.model.fingerprint}

    def choice(self, number: int, answer: Answer) -> dict[str, Any]:
        """A whole answer."""
        assert answer.finished is not None
        pieces = self.speech.pieces()
        said, thought, calls = taken_apart(pieces, (token.text for token in answer.tokens))
        self.thought += pieces.thought
        message: dict[str, Any] = {
            "role": "assistant",
            "content": said if said or not calls else None,
            "refusal": None,
        }
        message |= {"reasoning": thought, "reasoning_content": thought} if thought else {}
        message |= (
            {"tool_calls": [self.call(at, call, number) for at, call in enumerate(calls)]} if calls else {}
        )
        return {
            "index": number,
            "message": message,
            "logprobs": self.probabilities(answer.tokens) if self.logprobs else None,
            "finish_reason": finish_reason(answer.finished.reason, bool(calls)),
        }

    def call(self, at: int, call: Call, number: int) -> dict[str, Any]:
        """A call of a function."""
        function = {"name": call.name, "arguments": arguments(call)}
        return {"id": f"call_{self.id[9:]}_{number}_{at}", "type": "function", "function": function}

    def probabilities(self, tokens: list[Token]) -> dict[str, Any]:
        """How likely each token was, and others in its place."""
        content = [
            {
                "token": spelt(self.model, token.id, token.bytes),
                "bytes": list(token.bytes),
                "logprob": told(token.logprob),
                "top_logprobs": [
                    {"token": text, "bytes": list(data), "logprob": logprob}
                    for _, data, text, logprob in alternatives(self.model, token)
                ],
            }
            for token in tokens
        ]
        return {"content": content, "refusal": None}


def finish_reason(reason: str, called: bool = False) -> str:
    """Why an answer ended, in OpenAI's words."""
    if reason == "length":
        return "length"
    return "tool_calls" if called else "stop"


async def _events(writing: Writing, shape: _Shape, n: int, usage: bool) -> AsyncIterator[str]:
    """The answers of a request, in pieces as they come."""
    head = shape.head("chat.completion.chunk")
    readers = [shape.speech.pieces() for _ in range(n)]
    answers, calls = [Answer() for _ in range(n)], [0] * n

    def chunk(number: int, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> str:
        choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event_of(head | {"choices": [choice]} | ({"usage": None} if usage else {}))

    for number in range(n):
        yield chunk(number, {"role": "assistant", "content": "", "refusal": None})
    async for number, event in writing:
        answers[number].take(event)
        ended = answers[number].finished
        found = readers[number].push(event.text) if isinstance(event, Token) else []
        found += readers[number].finish() if ended is not None else []
        logprobs = shape.probabilities([event]) if shape.logprobs and isinstance(event, Token) else None
        for piece in found:
            if isinstance(piece, Call):
                at, calls[number] = calls[number], calls[number] + 1
                delta: dict[str, Any] = {"tool_calls": [{"index": at} | shape.call(at, piece, number)]}
            elif piece[0] == "reasoning":
                delta = {"reasoning": piece[1], "reasoning_content": piece[1]}
            else:
                delta = {"content": piece[1]}
            yield chunk(number, delta, logprobs=logprobs)
            logprobs = None
        if logprobs is not None:  # a token whose text is not certain yet
            yield chunk(number, {}, logprobs=logprobs)
        if ended is not None:
            yield chunk(number, {}, finish_reason(ended.reason, bool(calls[number])))
    if usage:
        thought = sum(reader.thought for reader in readers)
        yield event_of(head | {"choices": [], "usage": usage_of(total(answers, n), thought)})
    yield event_of("[DONE]")
