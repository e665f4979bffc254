"""The service as one ASGI application: log, gate and patience around the routes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from textmill import __version__
from textmill.serving.gate import OPEN, Gate
from textmill.serving.keys import Keys
from textmill.serving.log import Figures, Logged
from textmill.serving.patience import Gone, Patient
from textmill.serving.refusals import Refusal, style_of
from textmill.serving.routes import (
    chat,
    completions,
    decisions,
    documents,
    health,
    messages,
    responses,
    tasks,
    tokens,
    vectors,
)
from textmill.serving.service import Service

_ABOUT = (
    "A private service of one's own models, in the shapes that existing clients speak. Every route but /health wants a "
    "key: Authorization: Bearer KEY, or x-api-key. A field that decides the answer is honoured, or the request is "
    "refused; the header x-textmill-unheeded names fields that were given and decide nothing."
)
_PASSED = {"beta"}  # what Anthropic's client puts into the address of its newer methods decides nothing
_FAMILIES = (chat, completions, responses, messages, decisions, vectors, tasks, documents, tokens, health)


def application(
    service: Service,
    keys: Keys,
    port: int,
    *,
    log: Callable[[str], object] = print,
    texts: bool = False,
) -> Any:
    """What uvicorn runs. port: where it listens; log: takes each line of the access log; texts: with bodies."""
    app = FastAPI(
        title="Textmill",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.openapi = functools.partial(_description, app)  # type: ignore[method-assign]
    app.state.service = service
    app.state.figures = Figures(service.engine.figures)
    for family in _FAMILIES:
        app.include_router(family.router, responses=_ERRORS, dependencies=[Depends(_check_query)])
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Gone, _gone)
    app.add_exception_handler(Exception, _mistaken)
    patient = Patient(Gate(app, keys, port), service.patience)
    return Logged(patient, log, app.state.figures, texts)


def _check_query(http: Request) -> None:
    """Raises Refusal for a question in an address that its route does not know: none is dropped silently."""
    known = {field.alias for field in http.scope["route"].dependant.query_params}
    if unknown := sorted(set(http.query_params) - known - _PASSED):
        what = (
            f"{unknown[0][:100]} is not known in this address, and nothing is dropped silently: leave it out."
        )
        raise Refusal(400, what, code="invalid_value", param=unknown[0][:100])


def _description(app: FastAPI) -> dict[str, Any]:
    """What the routes take and give, in OpenAPI's words. A body that is wrong is answered 400 here, never 422."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        parts = made["components"]
        for name in ("HTTPValidationError", "ValidationError"):
            parts["schemas"].pop(name, None)
        for route in (route for methods in made["paths"].values() for route in methods.values()):
            route["responses"].pop("422", None)
        parts["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
        made["security"] = [{"bearer": []}, {"header": []}]
        made["paths"][OPEN]["get"]["security"] = []
        app.openapi_schema = made
    return app.openapi_schema


_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "What is asked cannot be done; `error` says why"},
    401: {"description": "No key, or one that is none"},
    403: {"description": "The key may not do this, or a stranger's page asks"},
    429: {"description": "Too much at once, or too often: Retry-After says when to come again"},
}


def _refused(http: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not isinstance(
        error, Refusal
    ):  # of the framework: an address or a method there is not, a body it cannot read
        what = {404: _no_route(http), 405: "The route knows no such method."}
        error = Refusal(error.status_code, what.get(error.status_code, str(error.detail)))
    return JSONResponse(error.body(style_of(http.url.path)), error.status_code, dict(error.headers or {}))


def _no_route(http: Request) -> str:
    """That there is no such route; and which one may be meant, where a base URL has one /v1 too few or too many."""
    path = http.url.path
    known = {getattr(route, "path", "") for family in _FAMILIES for route in family.router.routes}
    if f"/v1{path}" in known:
        return f"There is no {path}, but /v1{path}: a client of OpenAI's wants a base URL that ends with /v1."
    if path.startswith("/v1/v1/") and path[3:] in known:
        return f"There is no {path}, but {path[3:]}: leave /v1 out of the base URL."
    return "There is no such route: GET /docs lists them."


def _invalid(http: Request, error: Exception) -> Response:
    """A body that is not as it must be: the first thing that is wrong with it, and where. Of a field that may be one
    thing or another, what is told is how it differs from that which it is nearest to."""
    assert isinstance(error, RequestValidationError)
    first = max(error.errors(), key=lambda one: len(one["loc"]))
    place = [str(part) for part in first["loc"][1:] if not _is_branch(part)]
    param = ".".join(place) or None
    if first["type"] == "json_invalid":
        what, param = f"The body is not JSON: {first['ctx']['error']}.", None
    elif first["type"] == "extra_forbidden":
        what = f"{param} is not known here, and nothing is dropped silently: leave it out."
    else:
        what = f"{param or 'The body'}: {first['msg'].lower()}."
    refusal = Refusal(400, what, code="invalid_value", param=param)
    return JSONResponse(refusal.body(style_of(http.url.path)), 400)


def _is_branch(part: object) -> bool:
    """Whether a part of a place names an alternative of a type, and no field."""
    kinds = ("str", "int", "bool")
    return isinstance(part, str) and ("[" in part or part.endswith(kinds) or part[:1].isupper())


def _gone(http: Request, error: Exception) -> Response:
    return Response(status_code=499)


def _mistaken(http: Request, error: Exception) -> Response:
    """A mistake of ours, which the log tells the place of."""
    refusal = Refusal(500, "The service made a mistake. Its log says where.", code="internal_error")
    return JSONResponse(refusal.body(style_of(http.url.path)), 500)
