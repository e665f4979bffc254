"""/v1/messages and its count of tokens: conversations, as Anthropic's clients have them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from textmill.inference.requests import Constraint, Token, Usage
from textmill.serving.answering import Answer, EventStream, Writing, event_of
from textmill.serving.asking import Asked, Wanted, of_messages, requests
from textmill.serving.bodies import MOST, Body, Model, Number, Text, Unheeded, check_only
from textmill.serving.conversation import offered
from textmill.serving.refusals import Refusal
from textmill.serving.sampling import json_of
from textmill.serving.service import Model as Served
from textmill.serving.service import Service, allowed, service_of
from textmill.serving.tools import Offer, Piece, Speech
from textmill.tokenization.chat.tools import Call

router = APIRouter(tags=["text"], dependencies=[allowed("text")])
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
_Id = Annotated[str, Field(max_length=200)]


class TextBlock(Body):
    """A text."""

    type: Literal["text"]
    text: Text
    cache_control: Unheeded
    citations: Unheeded


class ToolUse(Body):
    """A function that the assistant called."""

    type: Literal["tool_use"]
    id: _Id
    name: _Name
    input: dict[str, Any]
    cache_control: Unheeded
    caller: Unheeded


class ToolResult(Body):
    """What a function gave."""

    type: Literal["tool_result"]
    tool_use_id: _Id
    content: Text | Annotated[list[TextBlock], Field(max_length=1024)] = ""
    is_error: bool = False
    cache_control: Unheeded


class Thinking(Body):
    """What the assistant thought before: no part of a conversation that goes on."""

    type: Literal["thinking", "redacted_thinking"]
    thinking: Unheeded
    signature: Unheeded
    data: Unheeded


_Block = Annotated[TextBlock | ToolUse | ToolResult | Thinking, Field(discriminator="type")]


class Turn(Body):
    """What one side said."""

    role: Literal["user", "assistant"]
    content: Text | Annotated[list[_Block], Field(max_length=1024)]


class FunctionTool(Body):
    """A function that is offered."""

    type: Literal["custom"] = "custom"
    name: _Name
    description: Text | None = None
    input_schema: dict[str, Any]
    cache_control: Unheeded
    strict: Unheeded
    eager_input_streaming: Unheeded


class Choice(Body):
    """Whether a function may, must or must not be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: _Name | None = None
    disable_parallel_tool_use: bool = False


class ThinkingSetting(Body):
    """How much is thought: as much as the model does by itself."""

    type: Literal["disabled", "adaptive"]
    display: Unheeded


class Format(Body):
    """A schema an answer must follow."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Body):
    """What an answer must be."""

    format: Format | None = None
    effort: str | None = None


class CountBody(Body):
    """A conversation whose tokens are counted."""

    model: Model
    messages: Annotated[list[Turn], Field(min_length=1, max_length=4096)]
    system: Text | Annotated[list[TextBlock], Field(max_length=1024)] | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=MOST)] | None = None
    tool_choice: Choice | None = None
    thinking: ThinkingSetting | None = None
    output_config: OutputConfig | None = None
    cache_control: Unheeded


class MessagesBody(CountBody):
    """A conversation, and how it is to be answered."""

    max_tokens: Annotated[int, Field(ge=0, lt=1 << 31)]
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    stop_sequences: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=16)] | None
    ) = None
    stream: bool = False
    metadata: Unheeded
    service_tier: Unheeded
    container: Unheeded
    inference_geo: Unheeded


@router.post("/v1/messages", response_class=JSONResponse)
async def messages(body: MessagesBody, http: Request, service: Service = Depends(service_of)) -> Any:
    """Answer a conversation. A last message of the assistant is how the answer begins."""
    model = service.model(body.model)
    speech = Speech(model, _tools(body), _format(body))
    read, constraint, spelt = await service.aside(
        lambda: (_read(model, body, speech.offer), speech.constraint(), speech.spelt())
    )
    wanted = Wanted(
        changes={
            "temperature": body.temperature,
            "top_p": body.top_p,
            "top_k": body.top_k,
            "stop": body.stop_sequences,
            "tokens": body.max_tokens,
        },
        constraint=constraint,
        spelt=spelt,
    )
    asked = requests(model, [read], wanted, http.state.key.name)
    writing = await Writing(service, asked, http).begin()
    shape = _Shape(speech, http.state.id, body.stop_sequences or [])
    if body.stream:
        return EventStream(writing, _events(writing, shape, len(read)), body.unheeded())
    [answer] = await writing.answers()
    pieces = speech.pieces()
    found = [piece for token in answer.tokens for piece in pieces.push(token.text)]
    content = shape.blocks([*found, *pieces.finish()])
    assert answer.finished is not None
    told = shape.message(content, usage_of(answer.finished.usage, pieces.thought)) | shape.ended(
        answer, content
    )
    return JSONResponse(told, headers=body.unheeded())


@router.post("/v1/messages/count_tokens", response_class=JSONResponse)
async def count_tokens(body: CountBody, service: Service = Depends(service_of)) -> Any:
    """How many tokens a conversation is."""
    model = service.model(body.model)
    tools = _tools(body)
    _format(body)
    read = await service.aside(lambda: _read(model, body, tools))
    return JSONResponse({"input_tokens": len(read)}, headers=body.unheeded())


def usage_of(usage: Usage, thought: int = 0) -> dict[str, Any]:
    """Tokens, as Anthropic's clients read them: those of a cache are counted apart. thought: of those written."""
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.written,
        "output_tokens_details": {"thinking_tokens": thought},
    }


def _tools(body: CountBody) -> Offer | None:
    """The functions that may be called."""
    functions = [
        {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}
        for tool in body.tools or ()
    ]
    chosen = body.tool_choice or Choice(type="auto")
    if (chosen.type == "tool") != (chosen.name is not None):
        raise Refusal(400, "tool_choice names a tool where its type is tool.", param="tool_choice")
    choice = chosen.name if chosen.type == "tool" else {"any": "required"}.get(chosen.type, chosen.type)
    return offered(functions, choice, not chosen.disable_parallel_tool_use)


def _format(body: CountBody) -> Constraint | None:
    """What an answer must be."""
    if body.output_config is None:
        return None
    check_only(body.output_config.effort, (), "output_config.effort")
    chosen = body.output_config.format
    return None if chosen is None else json_of(chosen.schema_)


def _read(model: Served, body: CountBody, tools: Offer | None) -> Asked:
    """The conversation as ids."""
    made: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    if body.system:
        made.append({"role": "system", "content": _text(body.system)})
    for number, turn in enumerate(body.messages):
        said = _text(turn.content)
        blocks = turn.content if isinstance(turn.content, list) else []
        results = [block for block in blocks if isinstance(block, ToolResult)]
        uses = [block for block in blocks if isinstance(block, ToolUse)]
        if (results and turn.role == "assistant") or (uses and turn.role == "user"):
            what = "Calls are the assistant's, and what they gave the user's."
            raise Refusal(400, what, param=f"messages.{number}")
        for result in results:
            if result.tool_use_id not in names:
                what = "tool_use_id names no call of the messages before."
                raise Refusal(400, what, param=f"messages.{number}")
            id, name = result.tool_use_id, names[result.tool_use_id]
            made.append({"role": "tool", "name": name, "tool_call_id": id, "content": _text(result.content)})
        if uses:
            names |= {use.id: use.name for use in uses}
            calls = [
                {
                    "id": use.id,
                    "type": "function",
                    "function": {"name": use.name, "arguments": use.input},
                }
                for use in uses
            ]
            made.append({"role": "assistant", "content": said, "tool_calls": calls})
        elif made and made[-1]["role"] == turn.role and "tool_calls" not in made[-1]:
            made[-1]["content"] += f"\n\n{said}"  # turns of one side that follow each other are one
        elif said or not results:
            made.append({"role": turn.role, "content": said})
    begun = None
    if made[-1]["role"] == "assistant":
        if "tool_calls" in made[-1]:
            raise Refusal(400, "What the last call gave is missing.", param="messages")
        begun = made.pop()["content"]
    return of_messages(model, made, None if tools is None else tools.plain(), begun=begun)


def _text(content: str | Sequence[Body]) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.text for block in content if isinstance(block, TextBlock))


class _Shape:
    """How an answer of one request looks."""

    def __init__(self, speech: Speech, id: str, stops: Sequence[str]) -> None:
        self.speech, self.model, self.stops = speech, speech.model, stops
        self.id = f"msg_{id.removeprefix('req_')}"
        self._number = 0

    def message(self, content: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        """An answer that has not ended yet."""
        head = {"id": self.id, "type": "message", "role": "assistant", "model": self.model.name}
        ending = {"stop_reason": None, "stop_sequence": None}
        return head | {"content": content} | ending | {"usage": usage}

    def ended(self, answer: Answer, content: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Why it ended."""
        assert answer.finished is not None
        reason = "max_tokens" if answer.finished.reason == "length" else "end_turn"
        if answer.finished.reason == "stop" and self.stops:
            reason = "stop_sequence"
        elif any(block["type"] == "tool_use" for block in content) and reason == "end_turn":
            reason = "tool_use"
        stopped = self._stopped(answer) if reason == "stop_sequence" else None
        return {"stop_reason": reason, "stop_sequence": stopped}

    def _stopped(self, answer: Answer) -> str | None:
        """The stop sequence that ended an answer: that which stands behind its text in what was written."""
        written = b"".join(token.bytes for token in answer.tokens).decode("utf-8", "replace")
        at = len(answer.text)
        found = [stop for stop in self.stops if written.startswith(stop, at)]
        return found[0] if found else next((stop for stop in self.stops if stop in written), None)

    def block(self, piece: Piece) -> dict[str, Any]:
        """A piece as a block of a message."""
        if isinstance(piece, Call):
            self._number += 1
            given = {"id": f"toolu_{self.id[4:]}_{self._number}", "name": piece.name}
            return {"type": "tool_use", **given, "input": dict(piece.arguments)}
        if piece[0] == "reasoning":
            return {"type": "thinking", "thinking": piece[1], "signature": ""}
        return {"type": "text", "text": piece[1]}

    def blocks(self, pieces: Sequence[Piece]) -> list[dict[str, Any]]:
        """The blocks of a whole answer: pieces of one kind that follow each other are one."""
        made: list[dict[str, Any]] = []
        for block in map(self.block, pieces):
            kind = block["type"]
            if made and kind == made[-1]["type"] and kind != "tool_use":
                made[-1][_FIELDS[kind]] += block[_FIELDS[kind]]
            else:
                made.append(block)
        return made


_FIELDS = {"text": "text", "thinking": "thinking"}  # which field of a block grows


async def _events(writing: Writing, shape: _Shape, read: int) -> AsyncIterator[str]:
    """The answer in pieces as they come."""
    reader, answer = shape.speech.pieces(), Answer()
    opened: list[dict[str, Any]] = []

    def event(kind: str, **data: Any) -> str:
        return event_of({"type": kind} | data, kind)

    yield event("message_start", message=shape.message([], usage_of(Usage(read, 0, 0))))
    async for _, heard in writing:
        answer.take(heard)
        found = reader.push(heard.text) if isinstance(heard, Token) else []
        found += reader.finish() if answer.finished is not None else []
        for block in map(shape.block, found):
            kind = block["type"]
            if not opened or opened[-1]["type"] != kind or kind == "tool_use":
                if opened:
                    yield event("content_block_stop", index=len(opened) - 1)
                opened.append(block)
                empty = {"input": {}} if kind == "tool_use" else {_FIELDS[kind]: ""}
                yield event("content_block_start", index=len(opened) - 1, content_block=block | empty)
            if kind == "tool_use":
                said = json.dumps(block["input"], ensure_ascii=False)
                delta = {"type": "input_json_delta", "partial_json": said}
            else:
                delta = {"type": f"{kind}_delta", _FIELDS[kind]: block[_FIELDS[kind]]}
            yield event("content_block_delta", index=len(opened) - 1, delta=delta)
    if opened:
        yield event("content_block_stop", index=len(opened) - 1)
    assert answer.finished is not None
    usage = usage_of(answer.finished.usage, reader.thought)
    yield event("message_delta", delta=shape.ended(answer, opened), usage=usage)
    yield event("message_stop")
