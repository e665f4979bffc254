"""/v1/completions: texts that are gone on from, as OpenAI's older clients and outside evaluation tools ask for them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from textmill.inference.requests import Read, Token
from textmill.serving.answering import Answer, EventStream, Writing, event_of, total
from textmill.serving.asking import Wanted, of_prompt, requests
from textmill.serving.bodies import MOST, Text, check_only
from textmill.serving.refusals import Refusal
from textmill.serving.routes.chat import finish_reason, usage_of
from textmill.serving.sampling import (
    ALTERNATIVES,
    ResponseFormat,
    Sampling,
    StreamOptions,
    alternatives,
    spelt,
    told,
)
from textmill.serving.service import Model, Service, allowed, service_of

router = APIRouter(tags=["text"], dependencies=[allowed("text")])
_Ids = Annotated[list[int], Field(min_length=1, max_length=1 << 20)]
_Prompt = (
    Text
    | Annotated[list[Text], Field(min_length=1, max_length=MOST)]
    | _Ids
    | Annotated[list[_Ids], Field(min_length=1, max_length=MOST)]
)


class CompletionBody(Sampling):
    """Texts, or ids, and how they are gone on from. A model that reads a source answers them."""

    prompt: _Prompt
    max_tokens: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None
    echo: Annotated[bool, Field(description="the prompt is told, too; with max_tokens 0: it alone")] = False
    logprobs: Annotated[int, Field(ge=0, le=ALTERNATIVES)] | None = None
    best_of: Annotated[int, Field(ge=1, le=MOST)] | None = None
    suffix: str | None = None
    response_format: ResponseFormat | None = None
    stream_options: StreamOptions | None = None


@router.post("/v1/completions", response_class=JSONResponse)
async def completions(body: CompletionBody, http: Request, service: Service = Depends(service_of)) -> Any:
    """Go on from each prompt."""
    model = service.model(body.model)
    check_only(body.best_of, (body.n,), "best_of")
    check_only(body.suffix, ("",), "suffix")
    if body.stream_options is not None and not body.stream:
        raise Refusal(400, "stream_options wants stream, too.", code="invalid_value", param="stream_options")
    prompts: list[Any] = [body.prompt] if isinstance(body.prompt, str) else list(body.prompt)
    prompts = [prompts] if isinstance(prompts[0], int) else prompts
    if len(prompts) * body.n > MOST:
        what = f"prompt and n ask for more than {MOST} answers."
        raise Refusal(400, what, code="invalid_value", param="n")
    if body.echo and model.pretrained.reads_source:
        raise Refusal(
            400, "A model that reads a source goes on from no prompt.", code="unsupported_value", param="echo"
        )
    read = await service.aside(lambda: [of_prompt(model, prompt) for prompt in prompts])
    wanted = Wanted(
        changes=body.changes(body.max_tokens),
        n=body.n,
        bias=body.bias(),
        logprobs=body.logprobs,
        echo=body.echo and body.logprobs is not None,
        constraint=None if body.response_format is None else body.response_format.constraint(),
    )
    asked = requests(model, read, wanted, http.state.key.name)
    before = [_text_of(model, prompt) if body.echo else "" for prompt in prompts]
    shape = _Shape(
        model, http.state.id, body.logprobs is not None, [one for one in before for _ in range(body.n)]
    )
    writing = await Writing(service, asked, http).begin()
    headers = body.unheeded()
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        return EventStream(writing, _events(writing, shape, body.n, usage), headers)
    answers = await writing.answers()
    choices = [shape.choice(number, answer) for number, answer in enumerate(answers)]
    said = shape.head() | {"choices": choices, "usage": usage_of(total(answers, body.n))}
    return JSONResponse(said, headers=headers)


def _text_of(model: Model, prompt: str | list[int]) -> str:
    return prompt if isinstance(prompt, str) else model.tokenizer.decode(prompt)


class _Shape:
    """How an answer of one request looks. before: what each answer begins with: its prompt, or nothing."""

    def __init__(self, model: Model, id: str, logprobs: bool, before: list[str]) -> None:
        self.model, self.logprobs, self.before = model, logprobs, before
        self.id, self.created = f"cmpl-{id.removeprefix('req_')}", int(time.time())

    def head(self) -> dict[str, Any]:
        """What every answer and event begins with."""
        head = {"id": self.id, "object": "text_completion", "created": self.created}
        return head | {"model": self.model.name, "system_fingerprint": self.model.fingerprint}

    def choice(self, number: int, answer: Answer) -> dict[str, Any]:
        """A whole answer."""
        assert answer.finished is not None
        tokens = [*answer.read, *answer.tokens]
        return {
            "index": number,
            "text": self.before[number] + answer.text,
            "logprobs": self.probabilities(tokens) if self.logprobs else None,
            "finish_reason": finish_reason(answer.finished.reason),
        }

    def probabilities(self, tokens: Iterable[Token], offset: int = 0) -> dict[str, Any]:
        """How likely each token was, and others in its place. offset: characters before the first."""
        made: dict[str, list[Any]] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for token in tokens:
            name, logprob = self._name(token.id, token.bytes), told(token.logprob)
            others = {self._name(id, data): p for id, data, _, p in alternatives(self.model, token)}
            made["tokens"].append(name)
            made["token_logprobs"].append(logprob)
            made["top_logprobs"].append(None if logprob is None else {name: logprob} | others)
            made["text_offset"].append(offset)
            offset += len(token.bytes.decode("utf-8", "ignore"))
        return made

    def _name(self, token: int, data: bytes) -> str:
        """A token as text; one that is part of a character as `bytes:\\xe7`, so that no two have the same name."""
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
        return spelt(self.model, token, data)


async def _events(writing: Writing, shape: _Shape, n: int, usage: bool) -> AsyncIterator[str]:
    """The answers of a request, in pieces as they come."""
    answers = [Answer() for _ in shape.before]
    begun = [False] * len(answers)
    lengths = [len(before) for before in shape.before]

    def chunk(number: int, text: str, logprobs: Any = None, finish: str | None = None) -> str:
        choice = {"index": number, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return event_of(shape.head() | {"choices": [choice]} | ({"usage": None} if usage else {}))

    async for number, event in writing:
        answers[number].take(event)
        before = "" if begun[number] else shape.before[number]
        begun[number] = True
        if isinstance(event, Read):
            yield chunk(number, before, shape.probabilities(event.tokens))
            continue
        if before:
            yield chunk(number, before)
        if isinstance(event, Token):
            logprobs = shape.probabilities([event], lengths[number]) if shape.logprobs else None
            lengths[number] += len(event.text)
            if event.text or logprobs is not None:
                yield chunk(number, event.text, logprobs)
        else:
            yield chunk(number, "", None, finish_reason(event.reason))
    if usage:
        yield event_of(shape.head() | {"choices": [], "usage": usage_of(total(answers, n))})
    yield event_of("[DONE]")
