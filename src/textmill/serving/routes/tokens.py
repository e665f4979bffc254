"""/tokenize, /detokenize, /tokenizer_info and /apply-template: what a model reads of a text or a conversation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from textmill.serving.asking import of_messages
from textmill.serving.bodies import MOST, Body, Model, Text
from textmill.serving.conversation import Message, Tool, offer, plainly
from textmill.serving.refusals import Refusal
from textmill.serving.service import Model as Served
from textmill.serving.service import Service, allowed, service_of

router = APIRouter(tags=["text"], dependencies=[allowed("text")])


class TokenizeBody(Body):
    """A text to be cut. add_special: with what the model expects before it; with_pieces: each token as text, too.

    `prompt` and `add_special_tokens` are vLLM's names of the first two, by which evaluation tools ask. A prompt that is
    nothing but the name of a special token is that token.
    """

    model: Model | None = None
    content: Text | None = None
    prompt: Text | None = None
    add_special: bool = False
    add_special_tokens: bool = False
    with_pieces: bool = False


class DetokenizeBody(Body):
    """Ids that are put together."""

    model: Model | None = None
    tokens: Annotated[list[int], Field(max_length=1 << 20)]


class TemplateBody(Body):
    """A conversation, as the model's chat template would write it."""

    model: Model
    messages: Annotated[list[Message], Field(min_length=1, max_length=4096)]
    tools: Annotated[list[Tool], Field(max_length=MOST)] | None = None


@router.post("/tokenize")
def tokenize(body: TokenizeBody, service: Service = Depends(service_of)) -> dict[str, Any]:
    """The ids of a text."""
    model = _model(service, body.model)
    tokenizer = model.tokenizer
    if (body.content is None) == (body.prompt is None):
        raise Refusal(400, "Either content or prompt is the text.", code="missing_value", param="content")
    text = body.content if body.prompt is None else body.prompt
    before = list(tokenizer.prefix) if body.add_special or body.add_special_tokens else []
    if body.prompt is not None and body.prompt in tokenizer.special:
        ids = [tokenizer.special[body.prompt]]
    else:
        ids = before + tokenizer.encode(text or "").tolist()
    counted = {"count": len(ids), "max_model_len": model.pretrained.longest}
    if not body.with_pieces:
        return {"tokens": ids} | counted
    pieces = [tokenizer.token_bytes(token) for token in ids]
    tokens = [
        {"id": token, "piece": piece.decode("utf-8", "replace"), "bytes": list(piece)}
        for token, piece in zip(ids, pieces, strict=True)
    ]
    return {"tokens": tokens} | counted


@router.post("/detokenize")
def detokenize(body: DetokenizeBody, service: Service = Depends(service_of)) -> dict[str, Any]:
    """The text of ids; as `prompt`, too, which is vLLM's name of it."""
    tokenizer = _model(service, body.model).tokenizer
    if not all(0 <= token < tokenizer.vocabulary for token in body.tokens):
        raise Refusal(
            400, f"The model has {tokenizer.vocabulary} tokens.", code="invalid_token", param="tokens"
        )
    text = tokenizer.decode(body.tokens)
    return {"content": text, "prompt": text}


@router.get("/tokenizer_info")
def tokenizer_info(
    service: Service = Depends(service_of), model: Annotated[Model | None, Query()] = None
) -> dict[str, Any]:
    """What evaluation tools ask of a tokenizer (vLLM's route): its special tokens, and the chat template."""
    chosen = _model(service, model)
    tokenizer, template = chosen.tokenizer, chosen.template
    names = {"eos_token": None, "bos_token": None, "pad_token": None} | dict(tokenizer.names)
    ends = [name for name, token in tokenizer.special.items() if token == tokenizer.end]
    names["eos_token"] = names["eos_token"] or next(iter(ends), None)
    told = {"vocab_size": tokenizer.vocabulary, "model_max_length": chosen.pretrained.longest}
    return names | told | {"chat_template": None if template is None else template.source}


def _model(service: Service, name: str | None) -> Served:
    """The model of this name; without one, the only one that is served. Raises Refusal where there are several."""
    if name is None and len(service.models) > 1:
        what = f"Several models are served: name one of {', '.join(service.models)}."
        raise Refusal(400, what, code="missing_value", param="model")
    return service.model(next(iter(service.models)) if name is None else name)


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
