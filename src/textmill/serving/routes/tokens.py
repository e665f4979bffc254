"""/tokenize, /detokenize and /apply-template: what a model reads of a text or a conversation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field

from textmill.serving.asking import of_messages
from textmill.serving.bodies import MOST, Body, Model, Text
from textmill.serving.conversation import Message, Tool, offer, plainly
from textmill.serving.refusals import Refusal
from textmill.serving.service import Service, allowed, service_of

router = APIRouter(tags=["text"], dependencies=[allowed("text")])


class TokenizeBody(Body):
    """A text to be cut. add_special: with what the model expects before it; with_pieces: each token as text, too."""

    model: Model
    content: Text
    add_special: bool = False
    with_pieces: bool = False


class DetokenizeBody(Body):
    """Ids that are put together."""

    model: Model
    tokens: Annotated[list[int], Field(max_length=1 << 20)]


class TemplateBody(Body):
    """A conversation, as the model's chat template would write it."""

    model: Model
    messages: Annotated[list[Message], Field(min_length=1, max_length=4096)]
    tools: Annotated[list[Tool], Field(max_length=MOST)] | None = None


@router.post("/tokenize")
def tokenize(body: TokenizeBody, service: Service = Depends(service_of)) -> dict[str, Any]:
    """The ids of a text."""
    tokenizer = service.model(body.model).tokenizer
    before = list(tokenizer.prefix) if body.add_special else []
    ids = before + tokenizer.encode(body.content).tolist()
    if not body.with_pieces:
        return {"tokens": ids}
    pieces = [tokenizer.token_bytes(token) for token in ids]
    return {
        "tokens": [
            {"id": token, "piece": piece.decode("utf-8", "replace"), "bytes": list(piece)}
            for token, piece in zip(ids, pieces, strict=True)
        ]
    }


@router.post("/detokenize")
def detokenize(body: DetokenizeBody, service: Service = Depends(service_of)) -> dict[str, Any]:
    """The text of ids."""
    tokenizer = service.model(body.model).tokenizer
    if not all(0 <= token < tokenizer.vocabulary for token in body.tokens):
        raise Refusal(
            400, f"The model has {tokenizer.vocabulary} tokens.", code="invalid_token", param="tokens"
        )
    return {"content": tokenizer.decode(body.tokens)}


@router.post("/apply-template")
def apply_template(body: TemplateBody, service: Service = Depends(service_of)) -> dict[str, Any]:
    """The prompt of a conversation, and its ids. Its text shows special tokens by their names."""
    model = service.model(body.model)
    tools = offer(body.tools, None)
    read = of_messages(model, plainly(body.messages), None if tools is None else tools.plain())
    names = {number: name for name, number in model.tokenizer.special.items()}
    text, run = "", []
    for token in [*read.prompt.ids, -1]:
        if token not in names and token >= 0:
            run.append(token)
            continue
        text += model.tokenizer.decode(run) + names.get(token, "")
        run = []
    return {"prompt": text, "tokens": list(read.prompt.ids)}
