"""What is known of the service itself: whether it is there, what it serves, what it counts, how it is described."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from textmill.serving.page import described
from textmill.serving.refusals import Refusal
from textmill.serving.service import Service, allowed, service_of

router = APIRouter(tags=["service"])


@router.get("/health")
async def health() -> dict[str, str]:
    """Whether there is a service: the one route without a key, which says nothing else."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(service: Service = Depends(service_of)) -> Any:
    """Whether requests are taken."""
    if service.draining:
        raise Refusal(503, "The service is ending.", code="draining", retry_after=5)
    return {"status": "ready", "models": list(service.models)}


@router.get("/v1/models")
async def models(
    service: Service = Depends(service_of),
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    after_id: Annotated[str | None, Query(max_length=200)] = None,
) -> dict[str, Any]:
    """The models that are served, as OpenAI's and Anthropic's clients read them; limit, after_id: a page of them."""
    names = list(service.models)
    if after_id is not None:
        names = names[names.index(service.model(after_id).name) + 1 :]
    some = [service.models[name].plain() for name in names[:limit]]
    first, last = (some[0]["id"], some[-1]["id"]) if some else (None, None)
    page = {"first_id": first, "last_id": last, "has_more": len(names) > limit}
    return {"object": "list", "data": some} | page


@router.get("/v1/models/{name:path}")
async def model(name: str, service: Service = Depends(service_of)) -> dict[str, Any]:
    """One of them."""
    return service.model(name).plain()


@router.get("/metrics", dependencies=[allowed("metrics")], response_class=Response)
def metrics(http: Request) -> Response:
    """What was counted, as Prometheus reads it."""
    return Response(http.app.state.figures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/openapi.json", response_class=JSONResponse)
def openapi(http: Request) -> JSONResponse:
    """The description of all routes, for programs."""
    return JSONResponse(http.app.openapi())


@router.get("/docs", response_class=HTMLResponse)
def docs(http: Request) -> HTMLResponse:
    """The same for people: a page that loads nothing."""
    headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(described(http.app.openapi()), headers=headers)
