"""/v1/embeddings and /v1/rerank: texts as vectors, and documents by how well they answer a query."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from textmill.serving.asking import of_prompt
from textmill.serving.bodies import Body, Text, Unheeded, check_only
from textmill.serving.bodies import Model as Name
from textmill.serving.predicting import check_task, said, sentences
from textmill.serving.refusals import Refusal
from textmill.serving.service import Model, Service, allowed, service_of
from textmill.tasks.prediction import Label, Labels, Number

router = APIRouter(tags=["vectors"], dependencies=[allowed("vectors")])
_MOST = 2048  # texts of one request
_Ids = Annotated[list[int], Field(min_length=1, max_length=1 << 20)]


class EmbeddingBody(Body):
    """Texts, or ids of their tokens, that become vectors."""

    model: Name
    input: (
        Annotated[str, Field(min_length=1, max_length=4_000_000)]
        | Annotated[list[Text], Field(min_length=1, max_length=_MOST)]
        | _Ids
        | Annotated[list[_Ids], Field(min_length=1, max_length=_MOST)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: Unheeded


class RerankBody(Body):
    """A query, and documents to be put into an order."""

    model: Name
    query: Annotated[str, Field(min_length=1, max_length=4_000_000)]
    documents: Annotated[list[Text | dict[Literal["text"], Text]], Field(min_length=1, max_length=_MOST)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False


@router.post("/v1/embeddings", response_class=JSONResponse)
async def embeddings(body: EmbeddingBody, http: Request, service: Service = Depends(service_of)) -> Any:
    """The vectors of texts, each that of the text alone. A text longer than the model reads is refused."""
    model = service.model(body.model)
    check_task(model, "embed")
    texts: list[Any] = [body.input] if isinstance(body.input, str) else list(body.input)
    texts = [texts] if isinstance(texts[0], int) else texts
    texts = [one if isinstance(one, str) else _text(model, one) for one in texts]
    vectors, tokens = await _vectors(http, service, model, texts)
    check_only(body.dimensions, (vectors.shape[1],), "dimensions")
    data = [
        {"object": "embedding", "index": number, "embedding": _written(vector, body.encoding_format)}
        for number, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    told = {"object": "list", "data": data, "model": model.name, "usage": usage}
    return JSONResponse(told, headers=body.unheeded())


@router.post("/v1/rerank", response_class=JSONResponse)
async def rerank(body: RerankBody, http: Request, service: Service = Depends(service_of)) -> Any:
    """Documents by how well they answer a query, best first: by a model of pairs, or by how near their vectors lie."""
    model = service.model(body.model)
    check_task(model, "embed", "regress", "classify")
    texts = [one if isinstance(one, str) else one.get("text", "") for one in body.documents]
    if model.task.name == "embed":
        vectors, tokens = await _vectors(http, service, model, [body.query, *texts])
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        scores = (vectors[1:] @ vectors[0]).tolist()
    else:
        records = [{"text": body.query, "pair": text} for text in texts]
        scores = [_score(model, one) for one in await said(http, model, records)]
        tokens = sum(len(of_prompt(model, text).prompt.ids) for text in (body.query, *texts))
    order = sorted(range(len(texts)), key=lambda at: -scores[at])[: body.top_n]
    results = [
        {"index": at, "relevance_score": scores[at]}
        | ({"document": {"text": texts[at]}} if body.return_documents else {})
        for at in order
    ]
    return {
        "id": http.state.id,
        "model": model.name,
        "results": results,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


async def _vectors(http: Request, service: Service, model: Model, texts: list[str]) -> tuple[np.ndarray, int]:
    """(n, D) float32, and how many tokens were read."""
    made = await said(http, model, [{"text": text} for text in texts], sentences(model))
    cut = next((number for number, one in enumerate(made) if one.cut), None)
    if cut is not None:
        what = f"Input {cut} is longer than the model reads, by {made[cut].cut} tokens: shorten it."
        raise Refusal(400, what, code="context_length_exceeded", param="input")
    tokens = await service.aside(lambda: sum(map(len, model.tokenizer.encode_many(texts))))
    return np.array([one.values for one in made], dtype=np.float32), tokens


def _text(model: Model, ids: list[int]) -> str:
    if not all(0 <= token < model.tokenizer.vocabulary for token in ids):
        raise Refusal(400, "There is no such token.", code="invalid_token", param="input")
    return model.tokenizer.decode(ids)


def _written(vector: np.ndarray, form: str) -> Any:
    """A vector as a list of numbers, or as its float32 bytes, little-endian, in base64."""
    if form == "float":
        return vector.tolist()
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _score(model: Model, one: Any) -> float:
    """How well a pair fits: the number that is said of it, or the probability of its second label."""
    if isinstance(one, Number) and len(one.values) == 1:
        return float(one.values[0])
    labels = dict([(one.label, one.p), *one.others]) if isinstance(one, Label) else {}
    if isinstance(one, Labels) or len(labels) > 2:
        what = f"{model.name} says more of a pair than how well it fits."
        raise Refusal(400, what, code="wrong_task", param="model")
    last = max(labels)
    return float(labels[last])
