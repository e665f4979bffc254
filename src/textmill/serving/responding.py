"""A response of OpenAI's newer shape: its items as they grow, and the events that tell of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from textmill.inference.requests import Token, Usage
from textmill.serving.answering import Answer
from textmill.serving.sampling import alternatives, spelt, told
from textmill.serving.service import Model
from textmill.serving.tools import Speech, arguments
from textmill.tokenization.chat.tools import Call


def usage_of(usage: Usage, thought: int = 0) -> dict[str, Any]:
    """Tokens, as this shape has them. thought: how many of those written were thought before an answer."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.written,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": usage.prompt + usage.written,
    }


async def told_again(answer: Answer) -> AsyncIterator[tuple[int, Any]]:
    """A whole answer as the engine told it."""
    for token in answer.tokens:
        yield 0, token
    assert answer.finished is not None
    yield 0, answer.finished


async def events_of(
    heard: Any, speech: Speech, head: Mapping[str, Any], logprobs: bool
) -> AsyncIterator[dict[str, Any]]:
    """All events of a response, numbered; the last one holds all of it. heard: what the engine says; head: what the
    response says of its request."""
    output, reader, answer = _Output(head["id"].removeprefix("resp_")), speech.pieces(), Answer()
    begun = _response(speech.model, head, int(time.time()))
    yield output.event("created", response=begun)
    yield output.event("in_progress", response=begun)
    async for _, said in heard:
        answer.take(said)
        if logprobs and isinstance(said, Token):
            output.logprobs.append(_probabilities(speech.model, said))
        found = reader.push(said.text) if isinstance(said, Token) else []
        found += reader.finish() if answer.finished is not None else []
        for piece in found:
            for event in output.call(piece) if isinstance(piece, Call) else output.write(*piece):
                yield event
    assert answer.finished is not None
    status = "incomplete" if answer.finished.reason == "length" else "completed"
    for event in [*([] if output.items else output.write("text", "")), *output.close(status)]:
        yield event
    usage = usage_of(answer.finished.usage, reader.thought)
    yield output.event(status, response=_ended(begun, status, output.items, usage))


def _response(model: Model, head: Mapping[str, Any], created: int) -> dict[str, Any]:
    """A response that has begun."""
    own = {
        "object": "response",
        "created_at": created,
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model.name,
        "output": [],
        "system_fingerprint": model.fingerprint,
        "usage": None,
    }
    return dict(head) | own


def _ended(
    begun: Mapping[str, Any], status: str, output: Sequence[dict[str, Any]], usage: dict[str, Any]
) -> dict[str, Any]:
    """The same, whole."""
    whole = {"status": status, "output": list(output), "usage": usage}
    if status == "incomplete":
        return dict(begun) | whole | {"incomplete_details": {"reason": "max_output_tokens"}}
    return dict(begun) | whole | {"completed_at": int(time.time())}


def _probabilities(model: Model, token: Token) -> dict[str, Any]:
    """How likely a token was, and others in its place."""
    return {
        "token": spelt(model, token.id, token.bytes),
        "bytes": list(token.bytes),
        "logprob": told(token.logprob),
        "top_logprobs": [
            {"token": text, "bytes": list(data), "logprob": logprob}
            for _, data, text, logprob in alternatives(model, token)
        ],
    }


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
