"""/v1/documents and /v1/trace: a person's own documents, and where an answer's words come from.

Files are added only from folders that were named when the service was started: a key opens the store, not the disk.
"""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from textmill.base.errors import TextmillError
from textmill.inference.requests import Event, Finished
from textmill.serving.answering import Answer, refused
from textmill.serving.asking import Wanted, of_messages, requests
from textmill.serving.bodies import Body, Number, Text
from textmill.serving.bodies import Model as Name
from textmill.serving.predicting import check_task
from textmill.serving.refusals import Refusal
from textmill.serving.service import Model, Service, allowed, service_of

router = APIRouter(tags=["documents"])
_Path = Annotated[str, Field(min_length=1, max_length=4096)]
_Query = Annotated[str, Field(min_length=1, max_length=100_000)]


class AddBody(Body):
    """Files, folders and globs of this machine that are read into the store. embedder: a model that makes vectors."""

    paths: Annotated[list[_Path], Field(min_length=1, max_length=1024)]
    embedder: Name | None = None


class Chosen(Body):
    """Which documents are meant: those that fit all of it."""

    folder: _Path | None = None
    language: Annotated[str, Field(max_length=20)] | None = None
    since: Annotated[str, Field(max_length=40)] | None = None
    until: Annotated[str, Field(max_length=40)] | None = None
    metadata: dict[str, str] | None = None


class SearchBody(Body):
    """What is looked for."""

    query: _Query
    top: Annotated[int, Field(ge=1, le=1000)] = 5
    how: Literal["hybrid", "words", "vectors"] | None = None
    filter: Chosen | None = None
    embedder: Name | None = None


class AskBody(Body):
    """A question to the documents. model: one of the task `answer`, or one that chats."""

    model: Name
    question: _Query
    top: Annotated[int, Field(ge=1, le=1000)] = 20
    least: Annotated[Number, Field(ge=0, le=1)] | None = None
    filter: Chosen | None = None
    embedder: Name | None = None


class TraceBody(Body):
    """A text whose words are looked for in what a model was trained on."""

    model: Name
    text: Text
    shortest: Annotated[int, Field(ge=1, le=1000, description="tokens a span has at least")] | None = None
    documents: Annotated[int, Field(ge=0, le=1000, description="named for each span")] | None = None


_SCOPE = [allowed("documents")]


@router.post("/v1/documents", dependencies=_SCOPE)
async def add(body: AddBody, service: Service = Depends(service_of)) -> dict[str, Any]:
    """Read files into the store: those that are new or have changed."""
    for path in body.paths:
        _check_inside(service, path)
    embedder = _embedder(service, body.embedder)
    return await _with_store(service, lambda store: store.add(*body.paths).plain(), embedder, create=True)


@router.get("/v1/documents", dependencies=_SCOPE)
async def listing(service: Service = Depends(service_of)) -> dict[str, Any]:
    """The files of the store."""
    if not service.store.is_file():
        return {"files": []}
    return await _with_store(service, lambda store: {"files": [one.plain() for one in store.files()]})


@router.delete("/v1/documents", dependencies=_SCOPE)
async def remove(path: Annotated[_Path, Query()], service: Service = Depends(service_of)) -> dict[str, Any]:
    """Remove a file, or all of a folder, from the store, and overwrite what it held. The files themselves stay."""
    return await _with_store(service, lambda store: {"removed": store.remove(path)})


@router.post("/v1/documents/search", dependencies=_SCOPE)
async def search(body: SearchBody, service: Service = Depends(service_of)) -> dict[str, Any]:
    """Find what stands in the documents, with file and page."""
    chosen, embedder = _filter(body.filter), _embedder(service, body.embedder)
    return await _with_store(
        service,
        lambda store: store.search(body.query, body.top, how=body.how, chosen=chosen).plain(),
        embedder,
    )


@router.post("/v1/documents/ask", dependencies=_SCOPE)
async def ask(body: AskBody, http: Request, service: Service = Depends(service_of)) -> dict[str, Any]:
    """Answer from the documents, with file and page, or say that they do not say."""
    model = service.model(body.model)
    check_task(model, "answer", "chat", "generate")
    asking = _Asking(service, model, http.state.key.name)
    chosen, embedder = _filter(body.filter), _embedder(service, body.embedder)
    return await _with_store(
        service,
        lambda store: store.ask(
            body.question, asking, most=body.top, least=body.least, chosen=chosen
        ).plain(),
        embedder,
    )


@router.post("/v1/trace", dependencies=[allowed("trace")])
async def trace(body: TraceBody, service: Service = Depends(service_of)) -> dict[str, Any]:
    """The longest spans of a text that stand in what a model was trained on, and in which documents."""
    from textmill.stages.tracing.trace import trace as stage

    model = service.model(body.model)
    run = model.run
    if run is None:
        what = f"{model.name} belongs to no run of this workspace, so what it was trained on is not known."
        raise Refusal(400, what, code="not_possible", param="model")
    given = {"shortest": body.shortest, "documents": body.documents}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with _told():
        found = await service.aside(lambda: stage(service.workspace, str(run.path), body.text, **options))
    [traced] = found["texts"]
    return dict(traced)


class _Asking:
    """A served model as what the store asks, which answers through the engine as everybody else is answered."""

    def __init__(self, service: Service, model: Model, owner: str) -> None:
        self._service, self._model, self._owner = service, model, owner
        self.pretrained, self.tokenizer = model.pretrained, model.tokenizer
        self.spec, self.predictor, self.path = model.spec, model.predictor, model.path

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> Answer:
        """The answer to a conversation. Called in a thread of the service, which waits."""
        read = of_messages(self._model, messages)
        heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        [request] = requests(self._model, [read], Wanted(), self._owner)
        self._service.engine.submit(request, heard.put)
        answer = Answer()
        while answer.finished is None:
            answer.take(heard.get())
        if isinstance(answer.finished, Finished) and answer.finished.reason == "failed":
            raise TextmillError(answer.finished.message, where=self._model.name)
        return answer


async def _with_store(
    service: Service, work: Callable[[Any], Any], embedder: Any = None, *, create: bool = False
) -> Any:
    """What work on the store gives: by one thread at a time, since it is one file."""
    from textmill.stages.use.documents import Documents

    def act() -> Any:
        with (
            service.storing,
            Documents(service.store, embedder=embedder, create=create) as store,
        ):
            return work(store)

    with _told():
        return await service.aside(act)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """A mistake of the client's is told as one."""
    try:
        yield
    except TextmillError as error:
        raise refused(error) from error


def _check_inside(service: Service, path: str) -> None:
    """Raises Refusal for a path outside of the folders whose files may be added."""
    whole = Path(os.path.realpath(os.path.expanduser(path)))
    inside = any(whole == folder or folder in whole.parents for folder in service.folders)
    if not inside or ".." in Path(path).parts:
        there = ", ".join(map(str, service.folders)) or "none (textmill serve --documents FOLDER names one)"
        what = f"{path[:200]} is in none of the folders whose files may be added: {there}."
        raise Refusal(403, what, code="path_not_allowed", param="paths")


def _embedder(service: Service, name: str | None) -> Any:
    if name is None:
        return None
    model = service.model(name)
    check_task(model, "embed")
    return model


def _filter(chosen: Chosen | None) -> Any:
    from textmill.retrieval.store import Filter

    return None if chosen is None else Filter(**chosen.model_dump())
